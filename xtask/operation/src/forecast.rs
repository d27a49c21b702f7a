//! What a plan will take, from the locks, the store and its history, before anything is fetched; and what is impossible.

use crate::Session;
use anyhow::Result;
use builder::{Node, Plan, Sight};
use input::{Input, Source, Unavailable};
use std::collections::{BTreeMap, BTreeSet};
use store::{Forecast, hinted};

/// A Debian package unpacks to at least so many times its size: those of our environments to 5.2 and 5.7 times.
const UNPACKED: u64 = 4;

/// What is known of a plan before it runs.
pub(crate) struct Ahead {
    pub forecast: Forecast,
    /// What there is to fetch, each file once.
    pub to_fetch: Vec<Input>,
    /// The nodes that will run, or whose keys are not known yet.
    runs: Vec<Node>,
}

impl Ahead {
    /// Looks at a plan, and at inputs that are needed beside it. Nothing is fetched or written.
    ///
    /// # Errors
    /// An environment or a lock can't be read.
    pub fn new(session: &Session<'_>, plan: &Plan, beside: &[Input]) -> Result<Self> {
        let Session { project, store, fetch, .. } = session;
        let (mut runs, mut needed, mut environments) = (Vec::new(), beside.to_vec(), BTreeSet::new());
        for (node, looked) in plan.nodes.iter().zip(builder::glance(project, store, plan)) {
            match looked {
                Ok(Sight::Built) => continue,
                Ok(Sight::Ready) => {}
                // What else is wrong with it is told when its turn comes.
                Ok(Sight::Unknown) | Err(_) => {
                    environments.insert(project.node(node)?.1.environment.clone());
                    needed.extend(project.inputs_of(node).into_iter().flatten().cloned());
                }
            }
            runs.push(node.clone());
        }
        // The tools of the sandbox, which other backends may do without; they are few.
        if !runs.is_empty() && project.environments()?.iter().any(|name| name == "sandbox") {
            environments.insert("sandbox".to_owned());
        }
        for name in environments {
            let (definition, lock) = project.environment(&name)?;
            if environment::assembled(store, &name, &definition, &lock)?.is_none() {
                needed.extend(lock.inputs);
            }
        }
        let needed: Vec<&Input> = needed.iter().collect();
        let to_fetch: Vec<Input> = input::to_fetch(store, &needed, fetch).into_iter().cloned().collect();
        let is_package = |input: &&Input| matches!(input.source, Source::Debian { .. });
        let bytes = input::bytes(&to_fetch);
        let packages = input::bytes(to_fetch.iter().filter(is_package));
        let times: Vec<u64> = runs.iter().filter_map(|node| builder::seconds(store, node)).collect();
        let forecast = Forecast {
            nodes: plan.nodes.len(),
            run: runs.len(),
            files: to_fetch.len(),
            bytes,
            disk: bytes.saturating_add(packages.saturating_mul(UNPACKED)),
            free: store.free_bytes()?,
            timed: times.len(),
            seconds: times.iter().sum::<u64>() / session.nodes.max(1) as u64,
        };
        Ok(Self { forecast, to_fetch, runs })
    }

    /// # Errors
    /// The disk has no place for what is fetched and unpacked.
    pub fn require_space(&self, session: &Session<'_>) -> Result<()> {
        let Forecast { files, bytes, disk, free, .. } = self.forecast;
        if session.fetch.offline || bytes == 0 || disk <= free {
            return Ok(());
        }
        let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        let message = format!(
            "the disk of the store at {} has {} MB free, and at least {} MB are needed: {files} to fetch, with their content",
            session.store.root().display(),
            free / 1_000_000,
            disk / 1_000_000
        );
        Err(hinted(
            message,
            "`cargo xtask store gc` frees what no release or lock needs, and `--store` chooses another disk",
        )
        .into())
    }

    /// What is out of reach of that which is to be fetched.
    ///
    /// # Errors
    /// If a mirror is neither an address nor a repository.
    pub fn unreachable(&self, session: &Session<'_>) -> Result<Vec<Unavailable>> {
        let inputs: Vec<&Input> = self.to_fetch.iter().collect();
        input::unreachable(session.store, &inputs, &session.fetch, session.progress)
    }

    /// The nodes of the plan that can't be built, and why: they, or what they depend on, will run and lack what is out of reach.
    ///
    /// # Errors
    /// As of [`Ahead::unreachable`].
    pub fn out_of_reach(&self, session: &Session<'_>, plan: &Plan) -> Result<BTreeMap<Node, Unavailable>> {
        let unreachable = self.unreachable(session)?;
        let mut away: BTreeMap<Node, Unavailable> = BTreeMap::new();
        for (node, dependencies) in plan.nodes.iter().zip(&plan.dependencies) {
            if !self.runs.contains(node) {
                continue;
            }
            let own = match session.project.inputs_of(node) {
                Ok(inputs) => Unavailable::first_of(&unreachable, &inputs).cloned(),
                Err(error) => store::find::<Unavailable>(&error).cloned(),
            };
            let others = || dependencies.iter().find_map(|&index| away.get(&plan.nodes[index]).cloned());
            if let Some(why) = own.or_else(others) {
                away.insert(node.clone(), why);
            }
        }
        Ok(away)
    }

    /// Whether a node that will run lacks an input that nobody could lock.
    pub fn lacks_inputs(&self, session: &Session<'_>) -> bool {
        self.runs.iter().any(|node| session.project.inputs_of(node).is_err())
    }
}

//! Runs a plan: every node is resolved once its dependencies are built, looked up by its key, and run if it is not there.

use crate::{
    aar, failure, history, ninja,
    node::Node,
    plan::Plan,
    policy,
    project::Project,
    resolve::{Depth, JOBS, Resolved, Resolver},
    wheel,
};
use anyhow::{Context, Result, anyhow, bail};
use artifact::Finding;
use environment::{Backend, Environment, Launch, Source};
use input::{FetchOptions, Unavailable};
use std::{
    collections::BTreeMap,
    fmt,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use store::{ActionResult, Digest, Done, Event, How, Lines, Obtained, Progress, Store, Tree, Unit};

/// How a plan is run.
pub struct Options {
    /// Processors that builds may use together; told to scripts as [`JOBS`], no part of any key.
    pub jobs: usize,
    /// Nodes at a time.
    pub nodes: usize,
    /// Go on with what does not depend on a failed node.
    pub keep_going: bool,
    /// How inputs and packages are fetched.
    pub fetch: FetchOptions,
    /// Inputs that are known to be out of reach.
    pub unreachable: Vec<Unavailable>,
}

/// A node that is built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The action, its key and its environment.
    pub resolved: Resolved,
    /// Output tree and log.
    pub result: ActionResult,
    /// The tree with the wheel that the outputs are packed as, for recipes with `[wheel]`.
    pub wheel: Option<Digest>,
    /// The tree of the AAR that the outputs are packed as and what is published with it, for recipes with `[aar]`.
    pub aar: Option<Digest>,
    /// Whether the result was there already.
    pub cached: bool,
    /// Who made the result, where that was not this store.
    pub imported: Option<String>,
    /// How long it took.
    pub time: Duration,
}

impl Built {
    /// What dependents and users get: the wheel, the AAR, or the outputs as they are.
    pub fn provides(&self) -> Digest {
        self.wheel.or(self.aar).unwrap_or(self.result.outputs)
    }

    /// How the result got there.
    pub fn how(&self) -> How<'_> {
        match (&self.imported, self.cached) {
            (Some(from), _) => How::Imported(from),
            (None, true) => How::Cached,
            (None, false) => How::Built,
        }
    }

    fn done<'a>(&'a self, log: Option<&'a Path>) -> Done<'a> {
        Done { how: self.how(), outputs: self.result.outputs, time: Some(self.time), log }
    }
}

/// A build that ran and failed.
#[derive(Debug)]
pub struct Broken {
    message: String,
    /// What to do, the likeliest first.
    pub hints: Vec<String>,
    /// What it said.
    pub log: PathBuf,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Broken {}

/// What became of a node.
#[derive(Debug)]
pub enum Outcome {
    /// It is built.
    Built(Box<Built>),
    /// It failed.
    Failed(anyhow::Error),
    /// It was not tried, since another failed.
    Skipped(Node),
}

struct State {
    outcomes: Vec<Option<Outcome>>,
    started: Vec<bool>,
    /// With whether all of it is here.
    environments: BTreeMap<String, (Environment, bool)>,
}

struct Executor<'a> {
    project: &'a Project,
    store: &'a Store,
    backend: &'a dyn Backend,
    plan: &'a Plan,
    options: &'a Options,
    progress: &'a dyn Progress,
    state: Mutex<State>,
    changed: Condvar,
}

/// Runs everything in the plan; outcomes stand in the plan's order. What runs, and what came of it, is an event of `progress`.
///
/// A node whose inputs nobody could lock, or that are known to be out of reach, has failed before anything is fetched.
pub fn execute(
    project: &Project,
    store: &Store,
    backend: &dyn Backend,
    plan: &Plan,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Outcome>> {
    let count = plan.nodes.len();
    let state = State {
        outcomes: (0..count).map(|_| None).collect(),
        started: vec![false; count],
        environments: BTreeMap::new(),
    };
    let state = lacking_inputs(project, plan, &options.unreachable, state, progress);
    let executor = Executor {
        project,
        store,
        backend,
        plan,
        options,
        progress,
        state: Mutex::new(state),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 0..options.nodes.clamp(1, count.max(1)) {
            scope.spawn(|| executor.work());
        }
    });
    let state = executor.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    state.outcomes.into_iter().map(|outcome| outcome.context("a node was never run")).collect()
}

/// Fails the nodes with inputs that are neither locked nor given, or out of reach.
fn lacking_inputs(
    project: &Project,
    plan: &Plan,
    unreachable: &[Unavailable],
    mut state: State,
    progress: &dyn Progress,
) -> State {
    let of_node = |node: &Node| -> Result<()> {
        let inputs = project.inputs_of(node)?;
        Unavailable::first_of(unreachable, &inputs).map_or(Ok(()), |away| Err(away.clone().into()))
    };
    for (index, node) in plan.nodes.iter().enumerate() {
        if let Err(error) = of_node(node) {
            let error = error.context(format!("`{node}` can't be built"));
            progress.event(
                &node.to_string(),
                Event::Failed { error: &error, log: None, script: None, running: &[] },
            );
            (state.started[index], state.outcomes[index]) = (true, Some(Outcome::Failed(error)));
        }
    }
    state
}

/// What a worker finds to do.
enum Next {
    Run(usize, Vec<(String, Digest)>),
    Wait,
    Done,
}

impl Executor<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut state = self.lock();
            let (index, dependencies) = loop {
                match self.next(&mut state) {
                    Next::Run(index, dependencies) => break (index, dependencies),
                    Next::Done => return,
                    Next::Wait => {
                        state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                    }
                }
            };
            state.started[index] = true;
            drop(state);
            // The other worker would wait for ever for what this one took.
            let build = AssertUnwindSafe(|| self.build(&self.plan.nodes[index], &dependencies));
            let outcome = match catch_unwind(build) {
                Ok(Ok(built)) => Outcome::Built(Box::new(built)),
                Ok(Err(error)) => Outcome::Failed(error),
                Err(_) => Outcome::Failed(anyhow!(
                    "internal error: a build thread panicked (see above); please report this"
                )),
            };
            self.tell(index, &outcome);
            self.lock().outcomes[index] = Some(outcome);
            self.changed.notify_all();
        }
    }

    /// Reports what came of a node at once: others may run for an hour.
    fn tell(&self, index: usize, outcome: &Outcome) {
        let name = |index: usize| self.plan.nodes[index].to_string();
        match outcome {
            Outcome::Built(built) => {
                let log = built.result.log.filter(|_| !built.cached);
                let log = log.and_then(|log| self.store.blob_path(&log, false).ok());
                self.progress.event(&name(index), Event::Done(built.done(log.as_deref())));
            }
            Outcome::Failed(error) => {
                let state = self.lock();
                let runs = |other: &usize| {
                    *other != index && state.started[*other] && state.outcomes[*other].is_none()
                };
                let running: Vec<String> = (0..state.started.len()).filter(runs).map(name).collect();
                drop(state);
                let script =
                    self.project.node(&self.plan.nodes[index]).ok().map(|(_, target)| target.script());
                let log = store::find::<Broken>(error).map(|broken| broken.log.as_path());
                self.progress.event(&name(index), Event::Failed { error, log, script, running: &running });
            }
            Outcome::Skipped(_) => {}
        }
    }

    fn next(&self, state: &mut State) -> Next {
        let failed = state.outcomes.iter().position(|outcome| matches!(outcome, Some(Outcome::Failed(_))));
        let mut waiting = false;
        for index in 0..self.plan.nodes.len() {
            if state.started[index] {
                waiting |= state.outcomes[index].is_none();
                continue;
            }
            if let (Some(failed), false) = (failed, self.options.keep_going) {
                state.started[index] = true;
                state.outcomes[index] = Some(Outcome::Skipped(self.plan.nodes[failed].clone()));
                continue;
            }
            let mut dependencies = Vec::new();
            let mut blocked = None;
            for &dependency in &self.plan.dependencies[index] {
                match &state.outcomes[dependency] {
                    Some(Outcome::Built(built)) => {
                        dependencies.push((self.plan.nodes[dependency].recipe.to_string(), built.provides()));
                    }
                    Some(Outcome::Failed(_)) => blocked = Some(self.plan.nodes[dependency].clone()),
                    Some(Outcome::Skipped(cause)) => blocked = Some(cause.clone()),
                    None => {}
                }
            }
            if let Some(cause) = blocked {
                state.started[index] = true;
                state.outcomes[index] = Some(Outcome::Skipped(cause));
            } else if dependencies.len() == self.plan.dependencies[index].len() {
                return Next::Run(index, dependencies);
            } else {
                waiting = true;
            }
        }
        self.changed.notify_all();
        if waiting { Next::Wait } else { Next::Done }
    }

    fn environment(&self, name: &str, depth: Depth) -> Result<(Environment, bool)> {
        if let Some(known) = self.lock().environments.get(name).filter(|known| known.1 || depth == Depth::Key)
        {
            return Ok(known.clone());
        }
        // Assembled under a lock of its own name, so that two nodes do not assemble the same one side by side.
        let _guard = self.store.lock_work(
            &format!("environment-{name}"),
            &format!("the environment `{name}`"),
            self.progress,
        )?;
        let (definition, lock) = self.project.environment(name)?;
        let promised = match depth {
            Depth::Key => environment::promised(self.store, name, &definition, &lock, self.progress)?,
            Depth::Whole => None,
        };
        let known = match promised {
            Some(known) => {
                if !known.1 {
                    // A release and `store export` say it, and may be made when nobody is asked.
                    self.store.bring_nar_hash(&known.0.root, self.progress)?;
                }
                known
            }
            None => {
                let fetch = &self.options.fetch;
                let assembled =
                    environment::assemble(self.store, name, &definition, &lock, fetch, self.progress)
                        .with_context(|| format!("cannot assemble environment `{name}`"))?;
                (assembled, true)
            }
        };
        self.lock().environments.insert(name.to_owned(), known.clone());
        Ok(known)
    }

    fn resolve(&self, node: &Node, dependencies: &[(String, Digest)], depth: Depth) -> Result<Resolved> {
        let (_, target) = self.project.node(node)?;
        let (environment, whole) = self.environment(&target.environment, depth)?;
        let resolver = Resolver {
            project: self.project,
            store: self.store,
            fetch: &self.options.fetch,
            progress: self.progress,
            depth,
        };
        let mut resolved = resolver.resolve(node, &environment, dependencies)?;
        resolved.whole &= whole;
        Ok(resolved)
    }

    fn build(&self, node: &Node, dependencies: &[(String, Digest)]) -> Result<Built> {
        let start = Instant::now();
        let mut resolved = self.resolve(node, dependencies, Depth::Key)?;
        let mut found = self.find(&resolved)?;
        if found.is_none() && !resolved.whole {
            // It has to run, or to be looked through: what is known by the word of others alone is made here.
            resolved = self.resolve(node, dependencies, Depth::Whole)?;
            found = self.find(&resolved)?;
        }
        let (found, findings, cached) = match found {
            Some((found, findings)) => (found, findings, true),
            None => {
                let result = self.run_once(&resolved)?;
                let found = Obtained { result, from: None };
                let findings = self.examine(&resolved, &found)?.unwrap_or_default();
                (found, findings, false)
            }
        };
        if !findings.is_empty() {
            let list: Vec<_> = findings.iter().map(|finding| format!("  {finding}")).collect();
            bail!("the outputs of `{node}` break their policy:\n{}", list.join("\n"));
        }
        match cached {
            true => history::found(self.store, node, &resolved.key)?,
            false => history::record(self.store, node, &resolved.key, start.elapsed())?,
        }
        let (result, imported) = (found.result, found.from);
        let wheel = wheel::pack(self.project, self.store, node, &result)?;
        let aar = aar::pack(self.project, self.store, node, &result)?;
        if self.store.gives() && imported.is_none() {
            self.give(&resolved, dependencies)?;
        }
        Ok(Built { resolved, result, wheel, aar, cached, imported, time: start.elapsed() })
    }

    /// The result that the store or a peer has, and what its policy finds. Nothing where one of both is not known without what is
    /// not here.
    fn find(&self, resolved: &Resolved) -> Result<Option<(Obtained, Vec<Finding>)>> {
        let node = resolved.node.to_string();
        let found = match self.store.recall(&resolved.action)? {
            Some(found) => found,
            None => {
                let _guard = self.store.lock_work(&resolved.key.hex(), &node, self.progress)?;
                match self.store.obtain(&resolved.action, self.progress)? {
                    Some(found) => found,
                    None => return Ok(None),
                }
            }
        };
        Ok(self.examine(resolved, &found)?.map(|findings| (found, findings)))
    }

    /// What the policy of a node finds in a result; nothing where that needs what is not here.
    fn examine(&self, resolved: &Resolved, found: &Obtained) -> Result<Option<Vec<Finding>>> {
        let (_, target) = self.project.node(&resolved.node)?;
        let Some(name) = &target.policy else { return Ok(Some(Vec::new())) };
        let look = policy::Look { project: self.project, store: self.store, name, resolved };
        match look.known(found, self.progress)? {
            Some(findings) => Ok(Some(findings)),
            None if resolved.whole => look.check(&found.result.outputs).map(Some),
            None => Ok(None),
        }
    }

    /// Gives a result away, with all that another store asks for before it knows the key: what it is made of, and what its
    /// policy found.
    fn give(&self, resolved: &Resolved, dependencies: &[(String, Digest)]) -> Result<()> {
        let (_, target) = self.project.node(&resolved.node)?;
        let (definition, lock) = self.project.environment(&target.environment)?;
        environment::promised(self.store, &target.environment, &definition, &lock, self.progress)?;
        self.resolve(&resolved.node, dependencies, Depth::Key)?;
        self.store.use_nar_hash(&resolved.environment.root)?;
        if let Some(found) = self.store.recall(&resolved.action)? {
            self.examine(resolved, &found)?;
        }
        self.store.give_used(self.progress)
    }

    /// Runs an action, unless another process was faster.
    fn run_once(&self, resolved: &Resolved) -> Result<ActionResult> {
        let node = resolved.node.to_string();
        let _guard = self.store.lock_work(&resolved.key.hex(), &node, self.progress)?;
        match self.store.result(&resolved.key)? {
            Some(result) => Ok(result),
            None => self.run(resolved),
        }
    }

    fn run(&self, resolved: &Resolved) -> Result<ActionResult> {
        let node = &resolved.node;
        let key = resolved.action.write(self.store)?;
        self.progress.event(&node.to_string(), Event::Started);
        let meter = self.progress.begin(&node.to_string(), 0, Unit::Items);
        meter.message("preparing");
        let sources = Tree::read(self.store, &resolved.sources)?;
        let mut variables = resolved.action.variables.clone();
        variables.insert(JOBS.to_owned(), self.options.jobs.to_string());
        let launch = Launch {
            store: self.store,
            environment: &resolved.environment,
            arguments: &resolved.action.arguments,
            variables: &variables,
            source: Source::Tree(&sources),
            action: Some(&resolved.action),
            interactive: false,
            needs: self.project.recipe(&node.recipe)?.limits,
            progress: self.progress,
        };
        meter.message("running");
        let mut log = self.store.writer()?;
        let mut lines = Lines::default();
        let mut broken = None;
        let ended = self.backend.run(&launch, &mut |bytes| {
            if broken.is_none() {
                broken = log.write_all(bytes).err();
            }
            ninja::follow(&mut lines, bytes, meter.as_ref());
        })?;
        if let Some(error) = broken {
            return Err(error).context("cannot keep the log");
        }
        let log = log.finish(None)?;
        if !ended.exit.success() {
            return Err(self.failure(node, &log, &ended.exit.to_string())?.into());
        }
        meter.message("keeping the outputs");
        let outputs = ended.outputs;
        if outputs.is_empty() {
            return Err(self.failure(node, &log, "it wrote nothing to /build/out")?.into());
        }
        let result = ActionResult { outputs: outputs.write(self.store)?, log: Some(log) };
        self.store.put_result(&key, &result)?;
        Ok(result)
    }

    fn failure(&self, node: &Node, log: &Digest, what: &str) -> Result<Broken> {
        history::record_failure(self.store, node, log)?;
        let bytes = self.store.read(log)?;
        let log = self.store.blob_path(log, false)?;
        let message = format!(
            "`{node}` failed: {what}\n  log: {}\n{}",
            log.display(),
            failure::tail(&failure::decode(&bytes))
        );
        let causes = failure::explain_log(&bytes)?;
        let mut hints: Vec<String> = causes.into_iter().map(|cause| cause.explanation).collect();
        hints.push(format!("`cargo xtask environment shell {node}` opens the environment that it ran in"));
        Ok(Broken { message, hints, log })
    }
}

//! The nodes of a release as jobs of a CI service: one each, which takes what its dependencies' jobs hand on.

use crate::workflow::Data;
use anyhow::Result;
use builder::{Node, Plan, Project};
use release::Definition;
use std::collections::BTreeSet;
use store::Store;

/// A job that builds one node.
pub struct Job {
    /// What it builds.
    pub node: Node,
    /// `RECIPE-TARGET`, which every service takes for a name of a job and a file.
    pub name: String,
    /// `artifact`, `check`, or `intermediate` for what is only built on the way.
    pub kind: &'static str,
    /// The environment.
    pub environment: String,
    /// Names of all jobs that it needs the results of: its dependencies, theirs, and so on.
    pub needs: Vec<String>,
    /// How many jobs stand before it at most.
    pub level: usize,
    /// The hexadecimal SHA-256 of what it is made from ([`builder::fingerprint`]).
    pub key: String,
    /// How long it is expected to take.
    pub minutes: u64,
}

/// The jobs of a release, dependencies first.
pub struct Jobs {
    /// Its name.
    pub release: String,
    /// All of them.
    pub jobs: Vec<Job>,
}

impl Jobs {
    /// One job for each node that the release needs.
    ///
    /// # Errors
    /// When there is no such release, or a recipe, a file or a lock that it needs can't be read.
    pub fn new(project: &Project, release: &str) -> Result<Self> {
        let data = Data::find(&project.root)?;
        let definition = Definition::load(&project.root, release)?;
        let artifacts: BTreeSet<Node> = definition.artifacts(project)?.into_iter().collect();
        let checks: BTreeSet<Node> = definition.checks(project)?.into_iter().collect();
        let goals: Vec<Node> = artifacts.iter().chain(&checks).cloned().collect();
        let plan = Plan::new(project, &goals)?;
        let levels = plan.levels();
        let mut needs: Vec<BTreeSet<usize>> = Vec::new();
        for dependencies in &plan.dependencies {
            let below = dependencies.iter().flat_map(|&index| needs[index].iter().copied());
            needs.push(below.chain(dependencies.iter().copied()).collect());
        }
        let job = |(index, node): (usize, &Node)| {
            let (_, target) = project.node(node)?;
            Ok(Job {
                name: name(node),
                kind: match (artifacts.contains(node), checks.contains(node)) {
                    (true, _) => "artifact",
                    (_, true) => "check",
                    _ => "intermediate",
                },
                environment: target.environment.clone(),
                needs: needs[index].iter().map(|&index| name(&plan.nodes[index])).collect(),
                level: levels[index],
                key: builder::fingerprint(project, node)?.hex().to_owned(),
                minutes: data.as_ref().map_or(Data::MINUTES, |data| data.minutes(node)),
                node: node.clone(),
            })
        };
        let jobs = plan.nodes.iter().enumerate().map(job).collect::<Result<_>>()?;
        Ok(Self { release: release.to_owned(), jobs })
    }

    /// Takes what each took last with this store for what it will take.
    pub fn expect(&mut self, store: &Store) {
        for job in &mut self.jobs {
            if let Some(seconds) = builder::seconds(store, &job.node) {
                job.minutes = seconds.div_ceil(60).max(1);
            }
        }
    }
}

fn name(node: &Node) -> String {
    format!("{}-{}", node.recipe, node.target)
}

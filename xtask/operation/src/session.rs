//! What operations work on.

use anyhow::{Context, Result};
use builder::{Options, Outcome, Plan, Project};
use environment::{Backend, Ended, Launch};
use input::FetchOptions;
use std::{collections::BTreeSet, sync::OnceLock};
use store::{Digest, Progress, Store};

/// Opens the way to run actions, for a session's project and store.
pub type Opener<'a> = &'a (dyn Fn(&Session<'_>) -> Result<Box<dyn Backend>> + Sync);

/// A project, a store, and how things are fetched, run and reported.
pub struct Session<'a> {
    /// The repository.
    pub project: &'a Project,
    /// Where everything is kept.
    pub store: &'a Store,
    /// How inputs are fetched.
    pub fetch: FetchOptions,
    /// Processors that builds may use.
    pub jobs: usize,
    /// Nodes that run at a time. Two, where this machine runs them: configuration and linking leave most processors idle.
    pub nodes: usize,
    /// Told about what takes long.
    pub progress: &'a dyn Progress,
    open: Opener<'a>,
    backend: OnceLock<Box<dyn Backend>>,
}

impl<'a> Session<'a> {
    /// A session on all processors, whose backend is opened when something has to run.
    pub fn new(project: &'a Project, store: &'a Store, progress: &'a dyn Progress, open: Opener<'a>) -> Self {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            project,
            store,
            fetch: FetchOptions::default(),
            jobs,
            nodes: jobs.clamp(1, 2),
            progress,
            open,
            backend: OnceLock::new(),
        }
    }

    /// The same with these ways to fetch inputs.
    pub fn with_fetch(self, fetch: FetchOptions) -> Self {
        Self { fetch, ..self }
    }

    /// The same on this many processors.
    pub fn with_jobs(self, jobs: usize) -> Self {
        Self { jobs, nodes: jobs.clamp(1, 2), ..self }
    }

    /// The same with so many nodes at a time, where other machines run them.
    pub fn with_nodes(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }

    /// The same project with another store and other ways to fetch.
    pub fn in_store<'b>(&self, store: &'b Store, fetch: FetchOptions) -> Session<'b>
    where
        'a: 'b,
    {
        let session = Session::new(self.project, store, self.progress, self.open);
        session.with_fetch(fetch).with_jobs(self.jobs).with_nodes(self.nodes)
    }

    /// The way to run actions.
    ///
    /// # Errors
    /// This machine does not let it work.
    pub fn backend(&self) -> Result<&dyn Backend> {
        if self.backend.get().is_none() {
            // Another thread may have been faster; then its backend stays.
            let _ = self.backend.set((self.open)(self)?);
        }
        self.backend.get().map(Box::as_ref).context("the backend is open")
    }

    /// Runs a plan; outcomes stand in its order.
    ///
    /// # Errors
    /// The backend can't be opened. What fails in the plan is an outcome.
    pub fn execute(&self, plan: &Plan, keep_going: bool) -> Result<Vec<Outcome>> {
        if plan.nodes.is_empty() {
            return Ok(Vec::new());
        }
        if self.store.gives() {
            plan.nodes.iter().try_for_each(|node| self.project.check_may_leave(node))?;
        }
        let options = Options { jobs: self.jobs, nodes: self.nodes, keep_going, fetch: self.fetch.clone() };
        // Where results of others are known, nothing may have to run; else it is better told at once that nothing can.
        let late = Late(self);
        let backend: &dyn Backend = if self.store.knows_others() { &late } else { self.backend()? };
        let outcomes = builder::execute(self.project, self.store, backend, plan, &options, self.progress)?;
        if self.store.gives() {
            self.give_inputs(&outcomes)?;
        }
        Ok(outcomes)
    }

    /// Gives the locked inputs away that nodes were built from, as far as their licences let them be passed on.
    fn give_inputs(&self, outcomes: &[Outcome]) -> Result<()> {
        let mut environments = BTreeSet::from(["sandbox"]);
        let mut inputs = Vec::new();
        for outcome in outcomes {
            let Outcome::Built(built) = outcome else { continue };
            let resolved = &built.resolved;
            environments.insert(&resolved.environment.name);
            inputs.extend(resolved.inputs.iter().filter_map(|name| self.project.inputs.get(name)).cloned());
        }
        for name in environments {
            inputs.extend(self.project.environment(name)?.1.inputs);
        }
        inputs.retain(|input| input.source.may_be_passed_on());
        let blobs: BTreeSet<Digest> = inputs.iter().map(|input| input.digest).collect();
        self.store.give_blobs(&blobs.into_iter().collect::<Vec<_>>(), self.progress);
        Ok(())
    }
}

/// The backend of a session, opened when something has to run.
struct Late<'s, 'a>(&'s Session<'a>);

impl Backend for Late<'_, '_> {
    fn name(&self) -> &'static str {
        self.0.backend().map_or("unknown", Backend::name)
    }

    fn check(&self) -> Result<String> {
        self.0.backend()?.check()
    }

    fn run(&self, launch: &Launch<'_>, output: &mut dyn FnMut(&[u8])) -> Result<Ended> {
        self.0.backend()?.run(launch, output)
    }
}

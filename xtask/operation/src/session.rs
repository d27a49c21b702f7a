//! What operations work on.

use crate::{forecast::Ahead, parallel};
use anyhow::{Context, Result};
use builder::{Node, Options, Outcome, Plan, Project};
use environment::{Backend, Ended, Launch};
use input::{FetchOptions, Input, Unavailable};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};
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
    /// Nodes that run at a time. Where this machine runs them, by its processors and memory.
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
            nodes: parallel::nodes(jobs),
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
        Self { jobs, nodes: parallel::nodes(jobs), ..self }
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

    /// The nodes of a plan that can't be built on this machine now, since an input is out of reach, and which. Nothing is fetched;
    /// where results of others may be had, nothing is known before they are asked.
    ///
    /// # Errors
    /// An environment or a lock can't be read.
    pub fn out_of_reach(&self, plan: &Plan) -> Result<BTreeMap<Node, Unavailable>> {
        if self.store.has_peers() {
            return Ok(BTreeMap::new());
        }
        Ahead::new(self, plan, &[])?.out_of_reach(self, plan)
    }

    /// Runs a plan; outcomes stand in its order.
    ///
    /// # Errors
    /// The backend can't be opened; the disk is too small. What fails in the plan is an outcome.
    pub fn execute(&self, plan: &Plan, keep_going: bool) -> Result<Vec<Outcome>> {
        self.execute_beside(plan, keep_going, &[])
    }

    /// The same, where inputs will be fetched beside those of the plan. What is out of reach is an outcome of the nodes that need
    /// it, and an error when none does.
    pub(crate) fn execute_beside(
        &self,
        plan: &Plan,
        keep_going: bool,
        beside: &[Input],
    ) -> Result<Vec<Outcome>> {
        if plan.nodes.is_empty() {
            return Ok(Vec::new());
        }
        if self.store.gives() {
            plan.nodes.iter().try_for_each(|node| self.project.check_may_leave(node))?;
        }
        let fetch = self.fetch.clone();
        let mut options =
            Options { jobs: self.jobs, nodes: self.nodes, keep_going, fetch, unreachable: Vec::new() };
        // Where results of others are known, nothing may have to run; else it is better told at once that nothing can.
        let mut is_late = self.store.knows_others();
        // What others have is not known before they are asked.
        if !self.store.has_peers() {
            let ahead = Ahead::new(self, plan, beside)?;
            self.progress.forecast(&ahead.forecast);
            ahead.require_space(self)?;
            if !keep_going {
                options.unreachable = ahead.unreachable(self)?;
                if let (false, Some(away)) =
                    (ahead.lacks_inputs(self), Unavailable::first_of(&options.unreachable, beside))
                {
                    return Err(away.clone().into());
                }
                is_late |= !options.unreachable.is_empty() || ahead.lacks_inputs(self);
            }
        }
        let late = Late(self);
        let backend: &dyn Backend = if is_late { &late } else { self.backend()? };
        let outcomes = builder::execute(self.project, self.store, backend, plan, &options, self.progress)?;
        if self.store.gives() {
            self.give_inputs(&outcomes)?;
        }
        Ok(outcomes)
    }

    /// Gives the locked inputs away that nodes were built from, as far as their licenses let them be passed on.
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

//! What operations work on.

use anyhow::{Context, Result};
use builder::{Options, Outcome, Plan, Project};
use environment::{Backend, Ended, Launch};
use input::FetchOptions;
use std::sync::OnceLock;
use store::{Progress, Store};

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
    /// Told about what takes long.
    pub progress: &'a dyn Progress,
    open: Opener<'a>,
    backend: OnceLock<Box<dyn Backend>>,
}

impl<'a> Session<'a> {
    /// A session on all processors, whose backend is opened when something has to run.
    pub fn new(project: &'a Project, store: &'a Store, progress: &'a dyn Progress, open: Opener<'a>) -> Self {
        Self {
            project,
            store,
            fetch: FetchOptions::default(),
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
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
        Self { jobs, ..self }
    }

    /// The same project with another store and other ways to fetch.
    pub fn in_store<'b>(&self, store: &'b Store, fetch: FetchOptions) -> Session<'b>
    where
        'a: 'b,
    {
        Session::new(self.project, store, self.progress, self.open).with_fetch(fetch).with_jobs(self.jobs)
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
        let options = Options { jobs: self.jobs, keep_going, fetch: self.fetch.clone() };
        // Where results of others are known, nothing may have to run; else it is better told at once that nothing can.
        let late = Late(self);
        let backend: &dyn Backend = if self.store.knows_others() { &late } else { self.backend()? };
        builder::execute(self.project, self.store, backend, plan, &options, self.progress)
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

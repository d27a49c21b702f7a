//! Options that every command takes, and what they open.

use crate::progress::Bars;
use anyhow::{Context, Result};
use build::{Options, Project};
use input::FetchOptions;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};
use store::Store;

/// Options of every command.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The store's directory [default: mlc-repro in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, global = true, env = "MLC_REPRO_STORE", value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Processors that builds may use [default: all]
    #[arg(long, short, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Fail rather than download
    #[arg(long, global = true)]
    pub offline: bool,
    /// Take inputs from a directory that `vendor` wrote
    #[arg(long, global = true, value_name = "DIR")]
    pub vendored: Option<PathBuf>,
    /// Print JSON on standard output instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress, no summary
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Global {
    /// Sends what the rooms trace to stderr, as far as it was asked for.
    pub fn start_tracing(&self) {
        let level = match self.verbose {
            0 => "warn",
            1 => "debug",
            _ => "trace",
        };
        tracing_subscriber::fmt()
            .with_env_filter(
                tracing_subscriber::EnvFilter::try_from_env("MLC_REPRO_LOG")
                    .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level)),
            )
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .without_time()
            .init();
    }

    /// The repository around the working directory.
    pub fn project_root(&self) -> Result<PathBuf> {
        let here = std::env::current_dir().context("the working directory is gone")?;
        let is_root = |path: &&Path| path.join("recipes").is_dir() && path.join("containers").is_dir();
        here.ancestors().find(is_root).map(Path::to_owned).with_context(|| {
            format!(
                "{} is not inside a checkout of mlc-repro\n  hint: run it from the repository",
                here.display()
            )
        })
    }

    /// The repository's recipes and locks.
    pub fn project(&self) -> Result<Project> {
        Project::load(&self.project_root()?)
    }

    /// The store.
    pub fn open_store(&self) -> Result<Store> {
        let root = match &self.store {
            Some(root) => root.clone(),
            None => Store::default_root()?,
        };
        Store::open(&root)
    }

    /// How many processors to use.
    pub fn jobs(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(all, usize::from)
    }

    /// How inputs are fetched.
    pub fn fetch_options(&self) -> FetchOptions {
        FetchOptions { offline: self.offline, vendored: self.vendored.clone(), ..FetchOptions::default() }
    }

    /// How plans are run.
    pub fn build_options(&self, keep_going: bool) -> Options {
        Options { jobs: self.jobs(), keep_going, fetch: self.fetch_options() }
    }

    /// Where progress goes.
    pub fn progress(&self) -> Bars {
        Bars::new(self.quiet)
    }
}

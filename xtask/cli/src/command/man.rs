//! `man DIR`.

use anyhow::{Context, Result};
use clap::CommandFactory;
use std::{path::PathBuf, process::ExitCode};

/// Write manual pages, one a command
#[derive(clap::Args)]
pub struct Arguments {
    /// The directory to write them to
    directory: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    std::fs::create_dir_all(&arguments.directory)
        .and_then(|()| clap_mangen::generate_to(crate::Arguments::command(), &arguments.directory))
        .with_context(|| format!("cannot write manual pages to {}", arguments.directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

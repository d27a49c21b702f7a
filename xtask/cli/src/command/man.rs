//! `man DIR`.

use anyhow::{Context, Result};
use std::{path::PathBuf, process::ExitCode};

/// Write manual pages, one a command
#[derive(clap::Args)]
pub struct Arguments {
    /// The directory to write them to
    directory: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let writing = || format!("cannot write manual pages to {}", arguments.directory.display());
    // The generator writes into the files that it finds; ours are replaced whole.
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    clap_mangen::generate_to(crate::options::command_line(), scratch.path()).with_context(writing)?;
    std::fs::create_dir_all(&arguments.directory).with_context(writing)?;
    for page in std::fs::read_dir(scratch.path()).with_context(writing)? {
        let page = page.with_context(writing)?;
        store::copy_output(&page.path(), &arguments.directory.join(page.file_name()))?;
    }
    Ok(ExitCode::SUCCESS)
}

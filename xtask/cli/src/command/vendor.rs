//! `vendor DIR`.

use crate::context::Global;
use anyhow::Result;
use input::Input;
use std::{path::PathBuf, process::ExitCode};

/// Write every locked input to a directory, for builds without a network
///
/// Afterwards, `cargo xtask release --vendored DIR --offline` builds from that directory alone.
#[derive(clap::Args)]
pub struct Arguments {
    /// The directory
    directory: PathBuf,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let progress = global.progress();
    let inputs = super::fetch::all_inputs(&project)?;
    let inputs: Vec<&Input> = inputs.iter().collect();
    input::fetch(&store, &inputs, &global.fetch_options(), &progress)?;
    input::vendor(&store, &inputs, &arguments.directory, &progress)?;
    progress.line(&format!("{} inputs are in {}", inputs.len(), arguments.directory.display()));
    Ok(ExitCode::SUCCESS)
}

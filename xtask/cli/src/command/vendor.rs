//! `vendor DIR`.

use crate::context::Global;
use anyhow::Result;
use input::{Input, Unavailable};
use std::{path::PathBuf, process::ExitCode};
use store::Progress;

/// Write locked inputs to a directory, for builds without a network
///
/// Afterwards, `cargo xtask release --vendored DIR --offline` builds from that directory alone. What can't be fetched is
/// named, and everything else is written all the same.
///
/// Examples:
///   cargo xtask vendor DIR                  every input and package of every lock
///   cargo xtask vendor DIR --release mlc    what this release is made from
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The directory
    directory: PathBuf,
    /// Only what this release is made from
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let progress = global.progress();
    let inputs = super::fetch::inputs(&project, arguments.release.as_deref())?;
    let mut inputs: Vec<&Input> = inputs.iter().collect();
    inputs.retain(|input| {
        let may_be_passed_on = input.source.may_be_passed_on();
        if !may_be_passed_on {
            progress.note(&format!("`{}` stays out: its licence does not let it be passed on", input.name));
        }
        may_be_passed_on
    });
    let fetched = input::fetch(&store, &inputs, &global.fetch_options(), &progress);
    if let Some(unavailable) = fetched.as_ref().err().and_then(|error| error.downcast_ref::<Unavailable>()) {
        inputs.retain(|input| !unavailable.names.contains(&input.name));
    }
    input::vendor(&store, &inputs, &arguments.directory, &progress)?;
    progress.line(&format!("{} inputs are in {}", inputs.len(), arguments.directory.display()));
    fetched?;
    Ok(ExitCode::SUCCESS)
}

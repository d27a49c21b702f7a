//! `vendor DIR` and `vendor --push URL`.

use crate::context::Global;
use anyhow::Result;
use input::{Input, Unavailable};
use std::{path::PathBuf, process::ExitCode};
use store::Progress;

/// Write locked inputs to a directory or a server, for builds without their registries
///
/// Afterwards, `cargo xtask release --vendored DIR --offline` builds from that directory alone, and `--mirror URL` takes
/// inputs from a server that serves it. What can't be fetched is named, and everything else is written all the same.
///
/// Examples:
///   cargo xtask vendor DIR                  every input and package of every lock
///   cargo xtask vendor DIR --release mlc    what this release is made from
///   cargo xtask vendor --push URL           to a server, by HTTP PUT; MLC_REPRO_MIRROR_TOKEN is its token
///   cargo xtask vendor --push oci://HOST/NAME    as blobs of a registry; Docker's configuration says who we are
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The directory
    #[arg(required_unless_present = "push")]
    directory: Option<PathBuf>,
    /// Send the files to this server instead of, or besides, writing them to a directory; what it has is not sent again
    #[arg(long, value_name = "URL")]
    push: Option<String>,
    /// Only what this release is made from
    #[arg(long, value_name = "NAME", add = crate::names::releases())]
    release: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let progress = global.progress();
    let locked = operation::inputs(&project, arguments.release.as_deref())?;
    let mut inputs: Vec<&Input> = locked.inputs.iter().collect();
    inputs.retain(|input| {
        let may_be_passed_on = input.source.may_be_passed_on();
        if !may_be_passed_on {
            progress.note(&format!("`{}` stays out: its license does not let it be passed on", input.name));
        }
        may_be_passed_on
    });
    let options = locked.fetch_options(global.fetch_options());
    let fetched = input::fetch(&store, &inputs, &options, &progress);
    if let Err(error) = &fetched {
        // What can't be had is named at the end; nothing helps where this machine fails.
        let Some(unavailable) = store::find::<Unavailable>(error) else {
            return fetched.map(|()| ExitCode::FAILURE);
        };
        inputs.retain(|input| !unavailable.names.contains(&input.name));
    }
    let mut done = serde_json::json!({ "inputs": inputs.len(), "directory": arguments.directory });
    if let Some(directory) = &arguments.directory {
        input::vendor(&store, &inputs, directory, &progress)?;
        progress.line(&format!("{} inputs are in {}", inputs.len(), directory.display()));
    }
    if let Some(url) = &arguments.push {
        let pushed = input::push(&store, &inputs, url, &options, &progress)?;
        (done["sent"], done["there"]) = (pushed.sent.into(), pushed.there.into());
        progress.line(&format!("{} files were sent, {} were there", pushed.sent, pushed.there));
    }
    fetched?;
    if global.json() {
        crate::events::result(&done)?;
    }
    Ok(ExitCode::SUCCESS)
}

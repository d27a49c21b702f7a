//! `report DIR`.

use crate::{context::Global, report::is_inside};
use anyhow::{Context, Result, bail, ensure};
use release::Manifest;
use std::{path::PathBuf, process::ExitCode};
use store::{hinted, write_output};

/// Write a page about a release: contents, digests, sizes, graph, policies, licenses, who attested
///
/// One HTML file that needs no script and nothing else, for a browser, a phone or paper. The release is verified first,
/// as `verify` does it, without a rebuild; the page says what was found. Signatures are named and not checked.
#[derive(clap::Args)]
#[command(after_long_help = "Example:\n  cargo xtask report dist/tvm -o tvm.html")]
pub struct Arguments {
    /// The release directory
    directory: PathBuf,
    /// Where the page goes [default: beside the directory, by its name]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not compare with the locks of this repository
    #[arg(long)]
    no_locks: bool,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let directory = &arguments.directory;
    let project = if arguments.no_locks { None } else { Some(global.project()?) };
    let verdict = release::verify(directory, project.as_ref())?;
    let output = match (&arguments.output, directory.canonicalize()) {
        (Some(output), _) => output.clone(),
        (None, Ok(path)) if path.parent().is_some() => path.with_added_extension("html"),
        (None, _) => {
            bail!(hinted(
                format!("{} has no place beside it", directory.display()),
                "choose one with `--output`"
            ))
        }
    };
    ensure!(
        !is_inside(&output, directory),
        hinted(
            "the page may not go into the release, which would no longer be what its manifest says",
            "choose another place with `--output`"
        )
    );
    let text = std::fs::read_to_string(directory.join("release.json"));
    let manifest: Manifest = text
        .map_err(anyhow::Error::from)
        .and_then(|text| Ok(serde_json::from_str(&text)?))
        .with_context(|| format!("{} has no manifest that can be read", directory.display()))?;
    write_output(&output, release::release_page(directory, &manifest, &verdict).as_bytes())?;
    if global.json() {
        let report =
            serde_json::json!({ "page": output, "passes": verdict.passes(), "problems": verdict.problems });
        crate::events::result(&report)?;
    } else {
        println!("{} is written; {} problems", output.display(), verdict.problems.len());
    }
    Ok(ExitCode::from(verdict.exit_status()))
}

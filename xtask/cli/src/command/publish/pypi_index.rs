//! `publish pypi-index`.

use crate::context::Global;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// Write the wheels of a release into a directory that is a Python package index
///
/// The directory holds `simple/` (PEP 503 and PEP 691) with the wheels and their SHA-256: any static server has it for
/// `pip install --index-url URL/simple/`, or pip reads it as it is. Other projects and versions there stay. The release is verified
/// first. requirements-NAME.txt names its wheels with their hashes, for `--require-hashes`.
///
/// Example:
///   cargo xtask publish pypi-index index dist/tvm
///   pip install --index-url file://$PWD/index/simple/ --require-hashes -r index/requirements-tvm.txt
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The index's directory
    directory: PathBuf,
    /// Releases with wheels
    #[arg(required = true, value_name = "RELEASE")]
    releases: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let mut published = Vec::new();
    for release in &arguments.releases {
        let verdict = release::verify(release, None)?;
        let problem = verdict.problems.first().map_or_else(String::new, ToString::to_string);
        ensure!(
            verdict.passes(),
            "{} does not pass `verify`, so it is not published:\n  {problem}",
            release.display()
        );
        let wheels = release::publish_pypi(release, &arguments.directory)
            .with_context(|| format!("cannot publish {}", release.display()))?;
        for wheel in wheels {
            global.progress().line(&format!("{wheel} is in {}", arguments.directory.display()));
            published.push(wheel.to_string());
        }
    }
    if global.json() {
        crate::events::result(&serde_json::json!({ "directory": arguments.directory, "wheels": published }))?;
    }
    Ok(())
}

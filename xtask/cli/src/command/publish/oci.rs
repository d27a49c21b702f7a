//! `publish oci://…`.

use crate::context::Global;
use anyhow::{Result, bail, ensure};
use input::{OciReference, Registry};
use std::{path::Path, process::ExitCode};

/// Verifies a release and sends it to a registry.
pub fn run(global: &Global, reference: &str, directory: &Path, dry_run: bool) -> Result<ExitCode> {
    let reference = OciReference::parse(reference)?;
    let project = global.project().ok();
    let verdict = release::verify(directory, project.as_ref())?;
    if !verdict.passes() {
        let problems: Vec<String> = verdict.problems.iter().map(ToString::to_string).collect();
        bail!(
            "{} is not published, since it does not verify:\n  {}",
            directory.display(),
            problems.join("\n  ")
        );
    }
    let hex = release::oci_digest(directory)?;
    if let Some(expected) = &reference.sha256 {
        ensure!(
            *expected == hex,
            "{} has the digest sha256:{hex}, and not the one that is given",
            directory.display()
        );
    }
    let whole = format!("oci://{}/{}@sha256:{hex}", reference.host, reference.name);
    if dry_run {
        println!("{whole}");
        return Ok(ExitCode::SUCCESS);
    }
    let options = global.fetch_options();
    ensure!(!options.offline, "`publish` asks the network, and `--offline` forbids it");
    let registry = Registry::open(&reference, &options, true);
    let progress = global.progress();
    let published = release::publish_oci(directory, &registry, reference.tag.as_deref(), &progress)?;
    if global.json() {
        crate::events::result(&published)?;
        return Ok(ExitCode::SUCCESS);
    }
    progress.line(&format!("{} files were sent, {} were there", published.sent, published.there));
    for path in &published.referrers {
        progress.line(&format!("{path} refers to it"));
    }
    println!("{whole}");
    Ok(ExitCode::SUCCESS)
}

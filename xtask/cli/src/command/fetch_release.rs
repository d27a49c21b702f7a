//! `fetch-release oci://…`.

use crate::{context::Global, show};
use anyhow::{Result, ensure};
use input::{OciReference, Registry};
use release::Trust;
use std::{path::PathBuf, process::ExitCode};
use store::Progress;

/// Download a release from a registry, by its digest, and check it
///
/// Every file is held against the digest of the manifest that you name, and the directory is written only when `verify` finds
/// nothing. Provenance and signatures come along where the registry has them. With `--policy` enough of the right keys must have
/// signed, and of several signatures of SHA256SUMS one by such a key is taken; without it, who signed is not checked here.
///
/// Examples:
///   cargo xtask fetch-release oci://HOST/NAME@sha256:HEX dist/tvm
///   cargo xtask fetch-release oci://HOST/NAME@sha256:HEX dist/tvm --policy policy.toml
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The release, by the digest that `publish` printed
    #[arg(value_name = "oci://HOST/NAME@sha256:HEX")]
    reference: String,
    /// Where it goes; nothing may be there
    directory: PathBuf,
    /// Whose signatures count, and how many are needed (docs/auditing.md)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let reference = OciReference::parse(&arguments.reference)?;
    let options = global.fetch_options();
    ensure!(!options.offline, "`fetch-release` asks the network, and `--offline` forbids it");
    let trust = arguments.policy.as_deref().map(Trust::load).transpose()?;
    let registry = Registry::open(&reference, &options, false);
    let progress = global.progress();
    if let (None, Some(tag)) = (&reference.sha256, &reference.tag) {
        let hex = registry.resolve(tag)?;
        progress.note(&format!("the tag `{tag}` is sha256:{hex} at the moment"));
    }
    let trust = trust.as_ref();
    let fetched = release::fetch_oci((&reference, &registry), &arguments.directory, trust, &progress)?;
    if global.json() {
        crate::events::result_text(fetched.manifest.to_json()?);
        return Ok(ExitCode::SUCCESS);
    }
    let directory = arguments.directory.display();
    for line in show::signed(&fetched.signed) {
        progress.line(&line);
    }
    for path in fetched.said.iter().filter(|_| trust.is_none()) {
        progress.line(&format!("{path} is not checked: `verify` does, where keys are given"));
    }
    progress.line(&format!(
        "{directory} is the release `{}` with {} artifacts, and what its manifest says; it was not rebuilt",
        fetched.manifest.name,
        fetched.manifest.artifacts.len()
    ));
    Ok(ExitCode::SUCCESS)
}

//! `attest`: signatures beside a release, and the keys that make them.

mod keygen;

use crate::{
    context::Global,
    secret::{self, Passphrases, model_key},
};
use anyhow::{Result, bail, ensure};
use release::{Check, Manifest, PROVENANCE};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use store::{Digest, Progress, hinted};

/// Sign a release that you built, or bring together what several builders signed
///
/// Writes `provenance/`: for each artifact and model, and for the release, what it was made from (in-toto, SLSA), signed with an
/// ed25519 key; and SHA256SUMS.minisig. The statements are the same for everybody who got the same release, so one envelope holds
/// all signatures: `--merge` adds those of other copies. The release is verified first. docs/auditing.md says who reads these files.
///
/// A key is in PEM (PKCS #8) or in minisign's form; MLC_REPRO_KEY may hold its text instead of `--key`. The passphrase of an
/// encrypted key stands in `--passphrase-file`, or in MLC_REPRO_PASSPHRASE.
///
/// Examples:
///   cargo xtask attest keygen alice
///   cargo xtask attest dist/tvm --key alice.pem
///   cargo xtask attest --merge dist/tvm ../bob/dist/tvm
///   cargo xtask attest dist/tvm --key alice.pem --collect attestations --builder alice
#[derive(clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The release directory; with `--merge`, others to add the signatures of
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
    /// The secret ed25519 key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign the converted models too (or DIR, when it is one), with this key, as `model_signing verify key` checks it
    #[arg(long, value_name = "FILE")]
    model_signature: Option<PathBuf>,
    /// Read the passphrase of a key from the first line of a file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Add the signatures of the further directories to the first
    #[arg(long, conflicts_with_all = ["key", "model_signature", "collect"])]
    merge: bool,
    /// Write the signatures to DIR/RELEASE/BUILDER/ instead, to be collected in a Git repository
    #[arg(long, value_name = "DIR", requires = "builder")]
    collect: Option<PathBuf>,
    /// The name of your directory there
    #[arg(long, value_name = "NAME", requires = "collect")]
    builder: Option<String>,
    /// Do not compare the release with this repository
    #[arg(long)]
    no_locks: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    Keygen(keygen::Arguments),
    /// Check that a change of a Git repository touches one builder's directory below `attestations` only
    ///
    /// Prints RELEASE/BUILDER. The exit status is 1 when anything else is touched.
    CheckChange {
        /// What `git diff` compares
        #[arg(default_value = "HEAD~1..HEAD", value_name = "BASE..HEAD")]
        range: String,
        /// The directory of attestations in the repository
        #[arg(long, default_value = "attestations", value_name = "PATH")]
        attestations: String,
        /// The repository
        #[arg(long, default_value = ".", value_name = "DIR")]
        repository: PathBuf,
    },
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Some(Command::Keygen(arguments)) => keygen::run(global, arguments)?,
        Some(Command::CheckChange { range, attestations, repository }) => {
            let changed = release::check_change(repository, range, attestations)?;
            if global.json() {
                crate::events::result(&serde_json::json!({ "changed": changed.to_string() }))?;
            } else {
                println!("{changed}");
            }
        }
        None if arguments.merge => merge(global, &arguments.directories)?,
        None => sign(global, arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn merge(global: &Global, directories: &[PathBuf]) -> Result<()> {
    let [first, others @ ..] = directories else { bail!("`--merge` needs a release directory and others") };
    ensure!(
        !others.is_empty(),
        hinted(
            "`--merge` needs two directories at least",
            "`attest --merge A B` adds the signatures in B to those in A"
        )
    );
    let count = release::merge(first, others)?;
    global.progress().line(&format!("{} has {count} signatures now", first.join(PROVENANCE).display()));
    Ok(())
}

fn sign(global: &Global, arguments: &Arguments) -> Result<()> {
    let [directory] = arguments.directories.as_slice() else {
        bail!(hinted(
            "one release is signed at a time",
            "`--merge` adds the signatures of other directories to the first"
        ));
    };
    let progress = global.progress();
    let passphrases = Passphrases { file: arguments.passphrase_file.clone() };
    let is_release = directory.join("release.json").exists();
    if let (Some(path), false) = (&arguments.model_signature, is_release) {
        ensure!(arguments.key.is_none(), "{} is not a release, which `--key` signs", directory.display());
        let place = release::sign_model(directory, &model_key(path, &passphrases, &progress)?)?;
        progress.line(&format!("{} is written", place.display()));
        return Ok(());
    }
    verified(global, directory, arguments.no_locks)?;
    if let Some(path) = &arguments.model_signature {
        let count = release::sign_models(directory, &model_key(path, &passphrases, &progress)?)?;
        ensure!(count > 0, "{} has no converted model to sign", directory.display());
        progress.line(&format!("{count} models are signed in {}", directory.join(PROVENANCE).display()));
        if arguments.key.is_none() && !secret::is_in_environment() {
            return Ok(());
        }
    }
    let key = secret::key(arguments.key.as_deref(), &passphrases, &progress)?;
    let collected = match (&arguments.collect, &arguments.builder) {
        (Some(place), Some(builder)) => Some(builders_directory(directory, place, builder)?),
        _ => None,
    };
    let attested = release::attest(directory, &key, collected.as_deref())?;
    let place = collected.unwrap_or_else(|| directory.join(PROVENANCE));
    progress.line(&format!(
        "{} envelopes in {} are signed with the key {}",
        attested.envelopes,
        place.display(),
        key.public().key_id()
    ));
    if global.json() {
        let key = key.public().key_id();
        let all = serde_json::json!({ "envelopes": attested.envelopes, "directory": place, "key": key });
        crate::events::result(&all)?;
    }
    if let Some(other) = attested.other_checksums {
        progress.note(&format!(
            "{} is by another key, {other}, and stays: it can hold one signature",
            directory.join(release::CHECKSUMS_SIGNATURE).display()
        ));
    }
    Ok(())
}

/// Nobody should vouch for a release that does not pass.
fn verified(global: &Global, directory: &Path, no_locks: bool) -> Result<()> {
    let project = if no_locks { None } else { Some(global.project()?) };
    release::clear_signatures(directory)?;
    let verdict = release::verify_with(directory, &Check { project: project.as_ref(), ..Check::default() })?;
    let list: Vec<_> = verdict.problems.iter().take(10).map(ToString::to_string).collect();
    ensure!(
        verdict.passes(),
        hinted(
            format!(
                "{} does not pass `verify`, so it is not signed:\n  {}",
                directory.display(),
                list.join("\n  ")
            ),
            "in a checkout of another commit, give `--no-locks`"
        )
    );
    Ok(())
}

/// `PLACE/RELEASE/BUILDER`.
fn builders_directory(directory: &Path, place: &Path, builder: &str) -> Result<PathBuf> {
    let is_name = !builder.is_empty()
        && builder.len() <= 64
        && builder.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !builder.starts_with(['.', '-']);
    ensure!(is_name, "`{}` is not a name of letters, digits, `-`, `_` and `.`", builder.escape_debug());
    let json = std::fs::read(directory.join("release.json"))?;
    let manifest: Manifest = serde_json::from_slice(&json)?;
    let release = release::release_name(&manifest.name, &Digest::of(&json).hex());
    Ok(place.join(release).join(builder))
}

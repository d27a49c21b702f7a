//! `model fetch`, and the checkpoints of locked models.

use crate::context::Global;
use anyhow::{Result, bail, ensure};
use input::{FetchOptions, Input, Model, Terms};
use std::{path::PathBuf, process::ExitCode};
use store::{Progress, hinted};

/// Lock a model of a Hugging Face hub, and download it
///
/// Writes models/NAME.toml and models/NAME.lock, which belong into the repository: every file with its size and
/// SHA-256, and the license. What is locked is only downloaded. Downloads go on where they stopped. The hub is that of
/// `--endpoint`, of HF_ENDPOINT, or of Python's `huggingface_hub`; a token is taken from HF_TOKEN or that client's file.
///
/// Examples:
///   cargo xtask model fetch Qwen/Qwen2.5-0.5B-Instruct@main
///   cargo xtask model fetch Qwen2.5-0.5B-Instruct -o checkpoint
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// What to lock, at a commit, branch or tag; or the name of what is locked
    #[arg(value_name = "OWNER/NAME@REVISION|NAME")]
    model: String,
    /// The hub, such as a mirror of your company [default: HF_ENDPOINT]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Lock a file too that a conversion does not use, such as model.fp16.safetensors
    #[arg(long, value_name = "FILE")]
    include: Vec<String>,
    /// Lay the checkpoint out as DIR too: read-only files that share the store's space where they can
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let root = crate::context::project_root()?;
    let store = global.open_store()?;
    let progress = global.progress();
    let options = FetchOptions {
        endpoint: arguments.endpoint.clone(),
        include: arguments.include.clone(),
        ..global.fetch_options()
    };
    if let Some(directory) = &arguments.output {
        ensure!(
            !directory.exists(),
            hinted(
                format!("{} exists already", directory.display()),
                "remove it, or give another `--output`"
            )
        );
    }
    let given = reference(&arguments.model)?;
    let model = match given.split_once('@') {
        Some((repository, revision)) => {
            ensure!(!options.offline, "a model cannot be looked up with `--offline`");
            input::lock_model(&store, &root, repository, revision, &options, &progress)?
        }
        None => {
            ensure!(
                !given.contains('/'),
                hinted(
                    format!("which revision of {given} is meant?"),
                    format!("give OWNER/NAME@REVISION, such as {given}@main")
                )
            );
            ensure!(
                options.include.is_empty(),
                hinted(
                    format!("{given} is locked already"),
                    format!("add files to `include` in models/{given}.toml")
                )
            );
            Model::load(&root, &given)?
        }
    };
    let tree = operation::fetch_model(&store, &root, &model, &options, &progress)?;
    if let Some(directory) = &arguments.output {
        store.export(&tree.write(&store)?, directory)?;
    }
    let files = model.lock(&root)?.inputs;
    if global.json() {
        crate::events::result(&json(&model, &files)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for file in &files {
        progress.line(&format!(
            "{}  {:>12}  {}",
            file.digest.hex(),
            file.digest.size,
            file.source.file_name()
        ));
    }
    let bytes: u64 = files.iter().map(|file| file.digest.size).sum();
    progress.line(&format!(
        "{} at {}: {} files, {} MB, are in the store",
        model.repository,
        &model.revision[..12],
        files.len(),
        bytes / 1_000_000
    ));
    progress.line(&format!("license: {}", model.license));
    if let Some(warning) = operation::license_warning(&model)? {
        progress.note(&warning);
    }
    Ok(ExitCode::SUCCESS)
}

/// `OWNER/NAME@REVISION`, or the name of a locked model, out of what else leads there.
fn reference(given: &str) -> Result<String> {
    if !given.contains(":/") {
        return Ok(given.to_owned());
    }
    let Some(model::OnHub { repository, revision, endpoint }) = model::on_hub(given) else {
        bail!(hinted(
            format!("`{}` is not the address of a model", given.escape_debug()),
            "give OWNER/NAME@REVISION"
        ));
    };
    let revision = revision.map(|revision| format!("@{revision}")).unwrap_or_default();
    // A token goes to the hub that is configured, or named as such.
    if let Some(endpoint) = endpoint {
        let revision = if revision.is_empty() { "@main" } else { &revision };
        bail!(hinted(
            format!("{given} is an address, not a model"),
            format!(
                "run `cargo xtask model fetch {repository}{revision}`, with `--endpoint {endpoint}` where that is not the hub you have configured"
            )
        ));
    }
    Ok(repository + &revision)
}

fn json(model: &Model, files: &[Input]) -> Result<serde_json::Value> {
    let files: Vec<_> = files
        .iter()
        .map(|file| {
            serde_json::json!({
                "path": file.source.file_name(), "size": file.digest.size, "sha256": file.digest.hex()
            })
        })
        .collect();
    Ok(serde_json::json!({
        "repository": model.repository, "revision": model.revision, "license": model.license,
        "warning": Terms::of(&model.license)?.warning(), "files": files
    }))
}

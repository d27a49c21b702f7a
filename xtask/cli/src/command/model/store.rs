//! Conversions as actions of the store.

use super::fetch;
use crate::context::Global;
use anyhow::{Context, Result};
use input::{Input, Model};
use model::{Chat, Converted, Options, convert_in_store, place};
use release::Conversion;
use std::{path::Path, time::Instant};
use store::{Entry, Store};

/// `model convert`: a directory, or a locked model by its name.
pub fn convert(global: &Global, options: &Options, chat: Option<&Chat>) -> Result<()> {
    let start = Instant::now();
    let store = global.open_store()?;
    let progress = global.progress();
    let converted = match locked(global, &options.source)? {
        Some((root, model)) => {
            fetch::warn(&model, &progress)?;
            convert_locked(global, &store, &root, &model, options, chat)?
        }
        None => convert_in_store(&store, options, chat, None, &progress)?,
    };
    let is_new = place(&store, &converted, &options.source, &options.output, options.replace)?;
    let (mut shards, mut bytes) = (0, 0);
    for (name, entry) in converted.outputs.iter() {
        if let Entry::File { digest, .. } = entry {
            shards += u32::from(name.starts_with("params_shard_"));
            bytes += digest.size;
        }
    }
    if global.json {
        let files: serde_json::Map<_, _> = converted
            .outputs
            .iter()
            .filter_map(|(name, entry)| match entry {
                Entry::File { digest, .. } => Some((
                    name.to_owned(),
                    serde_json::json!({ "sha256": digest.hex(), "size": digest.size }),
                )),
                _ => None,
            })
            .collect();
        let value = serde_json::json!({
            "architecture": converted.architecture, "action": converted.action, "outputs": converted.root,
            "cached": converted.cached, "files": files
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    progress.line(&format!(
        "{} {}: {} in {}, {} MB in {shards} shards, {:.1} s",
        options.output.display(),
        match (is_new, converted.cached) {
            (false, _) => "is up to date",
            (true, true) => "is laid out from the store",
            (true, false) => "is converted",
        },
        converted.architecture,
        options.quantization,
        bytes / 1_000_000,
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// The locked model that is meant where there is no such directory.
fn locked(global: &Global, source: &Path) -> Result<Option<(std::path::PathBuf, Model)>> {
    let name = match source.to_str() {
        Some(name) if !source.exists() && !name.contains('/') => name,
        _ => return Ok(None),
    };
    // Outside of a checkout, it is a directory that does not exist.
    let Ok(root) = global.project_root() else { return Ok(None) };
    Ok(Model::find(&root, name)?.map(|model| (root, model)))
}

/// Converts a model of a release. Gives it with the files that it was made of.
pub fn convert_for_release(
    global: &Global,
    store: &Store,
    root: &Path,
    conversion: &Conversion,
) -> Result<(release::Model, Vec<Input>)> {
    let model = Model::load(root, &conversion.name)?;
    fetch::warn(&model, &global.progress())?;
    let chat = conversion.conversation_template.as_ref().map(|template| Chat {
        conversation_template: template.clone(),
        overrides: conversion.sizes.iter().map(|(name, size)| (name.clone(), (*size).into())).collect(),
    });
    let mut options = Options::new(Path::new(""), Path::new(""), &conversion.quantization);
    options.jobs = global.jobs();
    let converted = convert_locked(global, store, root, &model, &options, chat.as_ref())
        .with_context(|| format!("cannot make `{}`", conversion.title()))?;
    let outcome = if converted.cached { "cached" } else { "built" };
    global.progress().line(&format!("{outcome:>8} {}  {}", conversion.title(), &converted.root.hex()[..16]));
    let inputs = model.lock(root)?.inputs;
    let facts = release::Model::new(
        conversion,
        &model.license,
        &converted.architecture,
        converted.action,
        (converted.root, &converted.outputs),
        &inputs,
    )?;
    Ok((facts, inputs))
}

/// Fetches a locked model and converts it. `options.source` means nothing.
pub fn convert_locked(
    global: &Global,
    store: &Store,
    root: &Path,
    model: &Model,
    options: &Options,
    chat: Option<&Chat>,
) -> Result<Converted> {
    let progress = global.progress();
    let tree = fetch::fetch(store, root, model, &global.fetch_options(), &progress)?;
    let source = store.checkout(&tree.write(store)?, &progress)?;
    convert_in_store(store, &Options { source, ..options.clone() }, chat, Some(&tree), &progress)
}

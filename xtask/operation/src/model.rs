//! Locked models: their files, and conversions of them.

use crate::Session;
use anyhow::{Context, Result};
use input::{FetchOptions, Input, Lock, Model, Source, Terms};
use model::{Chat, Converted, Options, convert_in_store};
use release::Conversion;
use std::path::{Path, PathBuf};
use store::{Entry, Progress, Store, Tree};

/// What the license of a model does not allow, as a sentence.
///
/// # Errors
/// The table of licenses is malformed.
pub fn license_warning(model: &Model) -> Result<Option<String>> {
    let warning = Terms::of(&model.license)?.warning();
    Ok(warning.map(|warning| format!("`{}` has the license `{}`: {warning}", model.name(), model.license)))
}

/// The files of every locked model of a repository.
///
/// # Errors
/// A lock can't be read.
pub fn model_inputs(root: &Path) -> Result<Vec<Input>> {
    let Ok(entries) = std::fs::read_dir(root.join("models")) else { return Ok(Vec::new()) };
    let mut inputs = Vec::new();
    for entry in entries {
        let path = entry.context("cannot list models/")?.path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            inputs.extend(Lock::load(&path)?.inputs);
        }
    }
    Ok(inputs)
}

/// Fetches a locked model, and gives its files as a tree of the store.
///
/// # Errors
/// It is not locked; a file can't be had.
pub fn fetch_model(
    store: &Store,
    root: &Path,
    model: &Model,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Tree> {
    let lock = model.lock(root)?;
    let inputs: Vec<&Input> = lock.inputs.iter().collect();
    input::fetch(store, &inputs, options, progress)
        .with_context(|| format!("cannot fetch the model `{}`", model.name()))?;
    let mut tree = Tree::new();
    for input in inputs {
        if let Source::HuggingFace { file, .. } = &input.source {
            tree.insert(file, Entry::File { digest: input.digest, executable: false })?;
        }
    }
    Ok(tree)
}

/// A locked model as a directory of the store, and its files.
///
/// # Errors
/// As of [`fetch_model`]; the store can't be written to.
pub fn checkout_model(
    store: &Store,
    root: &Path,
    model: &Model,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<(PathBuf, Tree)> {
    let tree = fetch_model(store, root, model, options, progress)?;
    Ok((store.checkout(&tree.write(store)?, progress)?, tree))
}

/// Fetches a locked model and converts it. `options.source` means nothing.
///
/// # Errors
/// As of [`fetch_model`]; the model can't be converted.
pub fn convert_locked(
    session: &Session<'_>,
    model: &Model,
    options: &Options,
    chat: Option<&Chat>,
) -> Result<Converted> {
    let Session { project, store, fetch, progress, .. } = session;
    let (source, tree) = checkout_model(store, &project.root, model, fetch, *progress)?;
    let options = Options { source, ..options.clone() };
    convert_in_store(store, &options, chat, Some(&tree), *progress)
}

/// A converted model of a release, the files that it was made of, and whether the store had it.
pub(crate) fn convert_for_release(
    session: &Session<'_>,
    conversion: &Conversion,
) -> Result<(release::Model, Vec<Input>, bool)> {
    let root = &session.project.root;
    let model = Model::load(root, &conversion.name)?;
    if let Some(warning) = license_warning(&model)? {
        session.progress.note(&warning);
    }
    let chat = conversion.conversation_template.as_ref().map(|template| Chat {
        conversation_template: template.clone(),
        overrides: conversion.sizes.iter().map(|(name, size)| (name.clone(), (*size).into())).collect(),
    });
    let mut options = Options::new(Path::new(""), Path::new(""), &conversion.quantization);
    options.jobs = session.jobs;
    let converted = convert_locked(session, &model, &options, chat.as_ref())
        .with_context(|| format!("cannot make `{}`", conversion.title()))?;
    let inputs = model.lock(root)?.inputs;
    let facts = release::Model::new(
        conversion,
        &model.license,
        &converted.architecture,
        converted.action,
        (converted.root, &converted.outputs),
        &inputs,
    )?;
    Ok((facts, inputs, converted.cached))
}

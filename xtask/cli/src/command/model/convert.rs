//! Conversions as actions of the store.

use super::summary::Summary;
use crate::context::Global;
use anyhow::Result;
use input::Model;
use model::{Chat, Options, convert_through_store};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use store::{Entry, Progress, Store, Tree};

/// `model convert`: a directory, or a locked model by its name.
pub fn convert(global: &Global, options: &Options, chat: Option<&Chat>) -> Result<()> {
    let start = Instant::now();
    let store = global.open_store()?;
    let progress = global.progress();
    let shown = &options.source;
    let (source, files) = source(global, &store, shown)?;
    let options = Options { source, ..options.clone() };
    let (converted, is_new) = convert_through_store(&store, &options, chat, files.as_ref(), &progress)?;
    let files: serde_json::Map<_, _> = converted
        .outputs
        .iter()
        .filter_map(|(name, entry)| match entry {
            Entry::File { digest, .. } => {
                Some((name.to_owned(), serde_json::json!({ "sha256": digest.hex(), "size": digest.size })))
            }
            _ => None,
        })
        .collect();
    let outcome = match (is_new, converted.cached) {
        (false, _) => "is up to date",
        (true, true) => "is laid out from the store",
        (true, false) => "is converted",
    };
    let summary = Summary {
        outcome,
        source: shown,
        architecture: &converted.architecture,
        read: converted.read,
        has_chat: chat.is_some(),
        seconds: start.elapsed().as_secs_f64(),
    };
    let mut json = serde_json::json!({
        "architecture": converted.architecture, "action": converted.action, "outputs": converted.root,
        "cached": converted.cached, "files": files
    });
    summary.show(global, &options, &mut json)
}

/// The directory of a checkpoint: the one that is given, or a locked model's in the store, and then its files.
fn source(global: &Global, store: &Store, given: &Path) -> Result<(PathBuf, Option<Tree>)> {
    let Some((root, model)) = locked(given)? else { return Ok((given.to_owned(), None)) };
    let progress = global.progress();
    if let Some(warning) = operation::license_warning(&model)? {
        progress.note(&warning);
    }
    let (directory, tree) =
        operation::checkout_model(store, &root, &model, &global.fetch_options(), &progress)?;
    Ok((directory, Some(tree)))
}

/// As [`source()`], for what needs a store only where a locked model is meant.
pub fn source_directory(global: &Global, given: &Path) -> Result<PathBuf> {
    match locked(given)? {
        Some(_) => Ok(source(global, &global.open_store()?, given)?.0),
        None => Ok(given.to_owned()),
    }
}

/// The locked model that is meant where there is no such directory.
pub fn locked(source: &Path) -> Result<Option<(PathBuf, Model)>> {
    let name = match source.to_str() {
        Some(name) if !source.exists() && !name.contains('/') => name,
        _ => return Ok(None),
    };
    // Outside of a checkout, it is a directory that does not exist.
    let Ok(root) = crate::context::project_root() else { return Ok(None) };
    Ok(Model::find(&root, name)?.map(|model| (root, model)))
}

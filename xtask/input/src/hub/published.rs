//! Converted models that somebody published on a hub: fetched to be looked at, and locked nowhere.

use super::{Hub, is_file_name};
use crate::{FetchOptions, Input, Model, fetch::fetch};
use anyhow::{Context, Result, ensure};
use store::{Digest, Entry, Progress, Store, Tree, Unit};

/// What of a converted model is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Its indices and configuration.
    Index,
    /// Its weights too.
    Whole,
}

/// Fetches a converted model from a hub, as a tree of the store.
///
/// What the hub says of a large file (SHA-256 and size) is what is fetched; whether the weights are those of the model's own
/// index is for the caller to check.
///
/// # Errors
/// If there is no such revision, it holds no converted model, or the hub cannot be reached.
pub fn fetch_published(
    store: &Store,
    (repository, revision): (&str, &str),
    wanted: Published,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Tree> {
    ensure!(!options.offline, "{repository} cannot be fetched with `--offline`");
    crate::model::check_revision(repository, revision)?;
    let hub = Hub::open(options.network.client(options.patience), options.endpoint.as_deref())?;
    let (model, inputs) = hub.published(store, repository, revision, wanted, progress)?;
    fetch(store, &inputs.iter().collect::<Vec<_>>(), options, progress)
        .with_context(|| format!("cannot fetch {repository} at {}", model.revision))?;
    let mut tree = Tree::new();
    for input in &inputs {
        tree.insert(input.source.file_name(), Entry::File { digest: input.digest, executable: false })?;
    }
    Ok(tree)
}

impl Hub {
    fn published(
        &self,
        store: &Store,
        repository: &str,
        revision: &str,
        wanted: Published,
        progress: &dyn Progress,
    ) -> Result<(Model, Vec<Input>)> {
        let (model, siblings) = self.describe(repository, revision, progress)?;
        let is_index = |name: &str| matches!(name, "tensor-cache.json" | "ndarray-cache.json");
        ensure!(
            siblings.iter().any(|file| is_index(&file.rfilename)),
            "{repository} at {} is not a converted model: it has neither tensor-cache.json nor ndarray-cache.json",
            model.revision
        );
        let files: Vec<_> = siblings
            .into_iter()
            .filter(|file| {
                let name = file.rfilename.as_str();
                let is_wanted =
                    name.ends_with(".json") || wanted == Published::Whole && name.ends_with(".bin");
                is_file_name(name) && is_wanted
            })
            .collect();
        let meter = progress.begin(&format!("looking at {repository}"), files.len() as u64, Unit::Items);
        let mut inputs = Vec::new();
        for file in files {
            let digest = match file.lfs {
                Some(large) => Digest::from_hex(&large.sha256, large.size)
                    .with_context(|| format!("{repository} has a bad sha256 for `{}`", file.rfilename))?,
                None => {
                    let address = self.file(repository, &model.revision, &file.rfilename);
                    self.look_at(store, &file.rfilename, &address, progress)?
                }
            };
            meter.add(1);
            inputs.push(model.input(&file.rfilename, digest));
        }
        Ok((model, inputs))
    }
}

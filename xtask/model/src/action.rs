//! A conversion as an action of the store: inputs by digest, outputs by digest, done once.

use crate::{
    architecture::architecture,
    chat_config::{ChatOptions, FILES, GENERATION_CONFIG, SPECIAL_TOKENS, chat_config},
    checkpoint::{Checkpoint, INDEX},
    container::{TENSOR_CACHE, is_shard_name, shard_name},
    convert::{Options, convert},
    output::Staging,
    quantization::scheme,
    verify::read_cache,
};
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::{collections::BTreeSet, fs, path::Path};
use store::{Action, ActionResult, Digest, Entry, Progress, Store, Tree, Unit, is_untouched};

/// To be raised when a conversion of the same inputs gives other bytes than before.
const VERSION: &str = "2";

/// That `mlc-chat-config.json` is wanted too, and how.
#[derive(Clone, Debug, Default)]
pub struct Chat {
    /// The name of a conversation template.
    pub conversation_template: String,
    /// See [`ChatOptions::overrides`].
    pub overrides: Map<String, Value>,
}

impl Chat {
    /// Everything that [`chat_config()`] wants to know.
    pub fn options(&self, options: &Options) -> ChatOptions {
        ChatOptions {
            source: options.source.clone(),
            output: options.output.clone(),
            quantization: options.quantization.clone(),
            architecture: options.architecture.clone(),
            conversation_template: self.conversation_template.clone(),
            overrides: self.overrides.clone(),
        }
    }
}

/// A converted model in the store.
#[derive(Clone, Debug)]
pub struct Converted {
    /// Digest of the action: what the model was made of, and how.
    pub action: Digest,
    /// Root of the model's tree.
    pub root: Digest,
    /// The model's files.
    pub outputs: Tree,
    /// The name of the architecture in MLC's registry.
    pub architecture: String,
    /// Whether it was there already.
    pub cached: bool,
}

/// Converts a checkpoint into the store, or finds it there. `options.output` and `options.replace` mean nothing here.
/// `files` has the digests of the checkpoint's files where they are known; others are hashed, once while they stay as
/// they are.
///
/// Threads, memory, instructions and places are no part of the action, as bytes do not depend on them.
///
/// # Errors
/// Those of [`convert()`] and [`chat_config()`]; a file of the checkpoint changes meanwhile; the store cannot be
/// written.
pub fn convert_in_store(
    store: &Store,
    options: &Options,
    chat: Option<&Chat>,
    files: Option<&Tree>,
    progress: &dyn Progress,
) -> Result<Converted> {
    let scheme = scheme(&options.quantization)?;
    let checkpoint = Checkpoint::open(&options.source)?;
    let architecture = architecture(&options.architecture, &checkpoint.config)?.registry;
    let names = inputs(&checkpoint, chat.is_some());
    drop(checkpoint);
    let tree = digests(store, &options.source, &names, files, progress)?;
    let mut action = Action::named(["model-convert", VERSION, &architecture, scheme.name]);
    if let Some(chat) = chat {
        let overrides: std::collections::BTreeMap<_, _> = chat.overrides.iter().collect();
        let overrides = serde_json::to_string(&overrides).context("cannot write the overrides as JSON")?;
        action.arguments.extend([chat.conversation_template.clone(), overrides]);
    }
    action.input_root = Some(tree.digest()?);
    let key = action.digest();
    if let Some(result) = store.result(&key)? {
        let outputs = Tree::read(store, &result.outputs)?;
        return Ok(Converted { action: key, root: result.outputs, outputs, architecture, cached: true });
    }
    let scratch = store.scratch()?;
    let output = scratch.path().join("model");
    let options = Options { output: output.clone(), ..options.clone() };
    let summary = convert(&options, progress)?;
    if let Some(chat) = chat {
        chat_config(&chat.options(&options))?.iter().for_each(|note| progress.note(note));
    }
    ensure!(
        digests(store, &options.source, &names, files, progress)? == tree,
        "{} changed while it was converted\nhint: convert it again",
        options.source.display()
    );
    let mut outputs = Tree::new();
    let context = || format!("cannot read {}", output.display());
    for entry in fs::read_dir(&output).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name is not UTF-8")?;
        let shard = (0..summary.shards.len()).find(|&shard| shard_name(shard) == name);
        let digest = match shard {
            Some(shard) => summary.shards[shard],
            None => Digest::of_file(&path)?,
        };
        store.adopt(&path, &digest)?;
        outputs.insert(name, Entry::File { digest, executable: false })?;
    }
    let root = outputs.write(store)?;
    store.put_result(&key, &ActionResult { outputs: root, log: None })?;
    Ok(Converted { action: key, root, outputs, architecture, cached: false })
}

/// Lays a converted model out as `output`, in place of the same model, or of another one if `replace` is given. False
/// when it was there already, untouched.
///
/// # Errors
/// When `output` holds the checkpoint, another model or another conversion at work, or cannot be written.
pub fn place(
    store: &Store,
    converted: &Converted,
    source: &Path,
    output: &Path,
    replace: bool,
) -> Result<bool> {
    if is_placed(&converted.outputs, output) {
        return Ok(false);
    }
    let staging = Staging::open(output, source)?;
    let new = staging.path().join("model");
    store.materialise(&converted.outputs, &new)?;
    let cache = read_cache(&new)?;
    let names: Vec<&str> =
        cache.records.iter().flat_map(|shard| &shard.records).map(|record| record.name.as_str()).collect();
    staging.check_replacement(&names, replace)?;
    staging.publish(&new)?;
    Ok(true)
}

/// Whether a directory holds these files as they were placed, and no shard beside them.
fn is_placed(outputs: &Tree, output: &Path) -> bool {
    let is_strange =
        |name: &str| (is_shard_name(name) || name.starts_with(TENSOR_CACHE)) && outputs.get(name).is_none();
    let Ok(mut entries) = fs::read_dir(output) else { return false };
    let no_strange =
        entries.all(|entry| entry.is_ok_and(|entry| !entry.file_name().to_str().is_some_and(is_strange)));
    no_strange
        && outputs.iter().all(|(name, entry)| match entry {
            Entry::File { digest, .. } => is_untouched(&output.join(name), digest),
            _ => false,
        })
}

/// The names of the files that a conversion reads.
fn inputs(checkpoint: &Checkpoint, chat: bool) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = checkpoint.files.iter().map(|file| file.name.clone()).collect();
    names.insert("config.json".to_owned());
    let mut optional = vec![INDEX];
    if chat {
        optional.extend(FILES);
        optional.extend([GENERATION_CONFIG, SPECIAL_TOKENS]);
    }
    let there = optional.into_iter().filter(|name| checkpoint.directory.join(name).exists());
    names.extend(there.map(str::to_owned));
    names
}

fn digests(
    store: &Store,
    source: &Path,
    names: &BTreeSet<String>,
    files: Option<&Tree>,
    progress: &dyn Progress,
) -> Result<Tree> {
    let size = |name: &String| fs::metadata(source.join(name)).map_or(0, |data| data.len());
    let meter = progress.begin("looking at the checkpoint", names.iter().map(size).sum(), Unit::Bytes);
    let digest = |name: &String| -> Result<_> {
        let digest = match files.and_then(|files| files.get(name)) {
            Some(Entry::File { digest, .. }) => *digest,
            _ => store.known_digest(&source.join(name))?,
        };
        meter.add(digest.size);
        Ok((name.clone(), digest))
    };
    let mut tree = Tree::new();
    for (name, digest) in names.par_iter().map(digest).collect::<Result<Vec<_>>>()? {
        tree.insert(&name, Entry::File { digest, executable: false })?;
    }
    Ok(tree)
}

//! A conversion as an action of the store: inputs by digest, outputs by digest, done once.

use crate::{
    architecture::architecture,
    chat_config::{ChatOptions, FILES, GENERATION_CONFIG, SPECIAL_TOKENS, check_template},
    checkpoint::Checkpoint,
    container::{INDICES, is_shard_name, shard_name},
    convert::{Options, convert_with_chat, planned},
    file, lora,
    output::{Replacement, Staging, check_output, index_of, note_removed, refuse},
    plan::Plan,
    quantization::scheme,
    verify::read_cache,
};
use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::SystemTime,
};
use store::{Action, ActionResult, Digest, Entry, Progress, Store, Tree, Unit, WithHint, hinted};

/// To be raised when a conversion of the same inputs gives other bytes than before.
const VERSION: &str = "3";

/// That `mlc-chat-config.json` is wanted too, and how.
#[derive(Clone, Debug, Default)]
pub struct Chat {
    /// The name of a conversation template.
    pub conversation_template: String,
    /// See [`ChatOptions::overrides`].
    pub overrides: Map<String, Value>,
}

impl Chat {
    /// Everything that [`chat_config()`](crate::chat_config()) wants to know.
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
    /// Bytes of the checkpoint's weights.
    pub read: u64,
}

/// Converts a checkpoint into the store, or finds it there. `options.output` and `options.replace` mean nothing here.
/// `files` has the digests of the checkpoint's files where they are known; others are hashed, once while they stay as
/// they are.
///
/// Threads, memory, instructions and places are no part of the action, as bytes do not depend on them.
///
/// # Errors
/// Those of [`convert_with_chat()`]; a file of the checkpoint changes meanwhile; the store cannot be
/// written.
pub fn convert_in_store(
    store: &Store,
    options: &Options,
    chat: Option<&Chat>,
    files: Option<&Tree>,
    progress: &dyn Progress,
) -> Result<Converted> {
    Conversion { store, options, chat, files, progress }.run(|_| Ok(()))
}

/// The same, and lays the model out as `options.output`. False beside it when exactly these files were there already.
///
/// What is there is compared by content: its digests, which are remembered while a file keeps its inode and times. No file
/// shares anything with the store that writing to it could change.
///
/// # Errors
/// Those of [`convert_in_store`]. Also when `options.output` is the checkpoint, holds another model and `options.replace` is not
/// given (where that shows in names and shapes of tensors, before anything is read), has another conversion at work, or cannot
/// be written.
pub fn convert_through_store(
    store: &Store,
    options: &Options,
    chat: Option<&Chat>,
    files: Option<&Tree>,
    progress: &dyn Progress,
) -> Result<(Converted, bool)> {
    check_output(&options.output, &options.source)?;
    let converted =
        Conversion { store, options, chat, files, progress }.run(|plan| may_take_the_place(options, plan))?;
    let is_new = place(store, &converted, options, progress)?;
    Ok((converted, is_new))
}

/// What a conversion is made with.
struct Conversion<'a> {
    store: &'a Store,
    options: &'a Options,
    chat: Option<&'a Chat>,
    files: Option<&'a Tree>,
    progress: &'a dyn Progress,
}

impl Conversion<'_> {
    /// `check` sees the plan before anything is hashed.
    fn run(self, check: impl FnOnce(&Plan) -> Result<()>) -> Result<Converted> {
        let Self { store, options, chat, files, progress } = self;
        let scheme = scheme(&options.quantization)?;
        if let Some(chat) = chat {
            check_template(&chat.conversation_template)?;
        }
        let checkpoint = Checkpoint::open(&options.source)?;
        let architecture = architecture(&options.architecture, &checkpoint.config)?;
        // From headers alone: what is missing is said before anything is hashed.
        let (plan, merge) = planned(&checkpoint, &architecture, scheme, options)
            .with_context(|| format!("cannot convert {}", options.source.display()))?;
        check(&plan)?;
        drop((plan, merge));
        let architecture = architecture.registry;
        let names = inputs(&checkpoint, chat.is_some());
        let weights: BTreeSet<String> = checkpoint.files.iter().map(|file| file.name.clone()).collect();
        drop(checkpoint);
        let digests = || -> Result<Tree> {
            let mut tree = digests(store, &options.source, &names, files, progress)?;
            for (number, directory) in options.adapters.iter().enumerate() {
                let names = [lora::CONFIG, lora::WEIGHTS].map(str::to_owned).into();
                for (name, entry) in digests(store, directory, &names, None, progress)?.iter() {
                    tree.insert(&format!("adapters/{number}/{name}"), entry.clone())?;
                }
            }
            Ok(tree)
        };
        let tree = digests()?;
        let of_weights = tree.iter().filter(|(name, _)| weights.contains(*name));
        let read = of_weights
            .map(|(_, entry)| match entry {
                Entry::File { digest, .. } => digest.size,
                _ => 0,
            })
            .sum();
        let mut action = Action::named(["model-convert", VERSION, &architecture, scheme.name]);
        if let Some(chat) = chat {
            let overrides: std::collections::BTreeMap<_, _> = chat.overrides.iter().collect();
            let overrides =
                serde_json::to_string(&overrides).context("cannot write the overrides as JSON")?;
            action.arguments.extend([chat.conversation_template.clone(), overrides]);
        }
        action.input_root = Some(tree.digest()?);
        let key = action.digest();
        if let Some(result) = store.result(&key)? {
            let outputs = Tree::read(store, &result.outputs)?;
            return Ok(Converted {
                action: key,
                root: result.outputs,
                outputs,
                architecture,
                cached: true,
                read,
            });
        }
        let scratch = store.scratch()?;
        let output = scratch.path().join("model");
        let options = Options { output: output.clone(), ..options.clone() };
        let summary = convert_with_chat(&options, chat, progress)?;
        ensure!(
            digests()? == tree,
            hinted(
                format!("{} changed while it was converted", options.source.display()),
                "convert it again"
            )
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
        Ok(Converted { action: key, root, outputs, architecture, cached: false, read })
    }
}

/// Whether [`place`] may replace what is in the output directory, as far as names and shapes of tensors say it.
fn may_take_the_place(options: &Options, plan: &Plan) -> Result<()> {
    if options.replace || index_of(&options.output).is_none() {
        return Ok(());
    }
    let new: BTreeSet<_> = plan
        .jobs
        .iter()
        .flat_map(|job| &job.outputs)
        .map(|output| (output.name.as_str(), &output.shape, output.dtype.name()))
        .collect();
    let there = read_cache(&options.output)?;
    let there: BTreeSet<_> =
        there.tensors().map(|record| (record.name.as_str(), &record.shape, record.dtype.as_str())).collect();
    match new == there {
        true => Ok(()),
        false => Err(refuse(&options.output, "holds another model")),
    }
}

/// Lays a converted model out as `options.output`, in place of another one if `options.replace` is given. False when
/// exactly these files were there already.
///
/// # Errors
/// As [`convert_through_store`] has them of `options.output`.
pub fn place(
    store: &Store,
    converted: &Converted,
    options: &Options,
    progress: &dyn Progress,
) -> Result<bool> {
    let output = &options.output;
    check_output(output, &options.source)?;
    let state = State::of(store, &converted.outputs, output, progress)?;
    if let (Some(name), false) = (&state.different, options.replace) {
        let why = format!(
            "holds another model, or one that was changed: its {name} is not what this conversion makes"
        );
        return Err(refuse(output, &why));
    }
    let names: Vec<&str> = converted.outputs.iter().map(|(name, _)| name).collect();
    let replace = options.replace && state.different.is_some();
    let remove = Replacement::of_chat_files(output, &options.quantization, &names, replace)?.remove;
    if state.new.is_empty() && !state.is_strange && remove.is_empty() {
        return Ok(false);
    }
    let staging = Staging::open(output, &options.source)?;
    // A copy where the file system has no clones: beside each other, since each waits for the disk.
    state.new.par_iter().try_for_each(|(name, digest)| {
        let path = staging.path().join(name);
        let context = || hinted(format!("cannot write {}", path.display()), "is the disk full?");
        store.materialise_blob(digest, &path).with_hint(context)?;
        // The user's own from here on.
        let file = File::open(&path).with_hint(context)?;
        file.set_permissions(Permissions::from_mode(0o644)).with_hint(context)?;
        file.set_modified(SystemTime::now()).with_hint(context)?;
        file.sync_all().with_hint(context)
    })?;
    note_removed(output, &remove, progress);
    staging.publish_model(&names.into_iter().map(str::to_owned).collect(), &remove)?;
    Ok(true)
}

/// An output directory beside the files that it is to hold.
struct State {
    /// What is not there, or other than it should be.
    new: Vec<(String, Digest)>,
    /// A file of a model that would be lost.
    different: Option<String>,
    /// Whether there are shards or indices that do not belong to the new model.
    is_strange: bool,
}

impl State {
    fn of(store: &Store, outputs: &Tree, output: &Path, progress: &dyn Progress) -> Result<Self> {
        let mut state = Self { new: Vec::new(), different: None, is_strange: false };
        // Without an index, shards are what a stopped conversion left.
        let is_model = index_of(output).is_some();
        let size = |name: &str| fs::metadata(output.join(name)).map_or(0, |metadata| metadata.len());
        let total = outputs.iter().map(|(name, _)| size(name)).sum();
        let meter = (total > 0).then(|| progress.begin("comparing the output", total, Unit::Bytes));
        let compare = |(name, entry): (&str, &Entry)| -> Result<(String, Digest, Option<Digest>)> {
            let Entry::File { digest, .. } = entry else {
                bail!("`{name}` of a converted model is not a file")
            };
            let path = output.join(name);
            // A name of a blob, as an older version made it, is as if it were not there.
            let is_there = path.exists() && !store.is_shared(&path, digest);
            let there = is_there.then(|| store.known_digest(&path)).transpose()?;
            if let Some(meter) = &meter {
                meter.add(size(name));
            }
            Ok((name.to_owned(), *digest, there))
        };
        let entries: Vec<_> = outputs.iter().collect();
        for (name, digest, there) in entries.into_par_iter().map(compare).collect::<Result<Vec<_>>>()? {
            if there == Some(digest) {
                continue;
            }
            if there.is_some() && (is_model || !is_shard_name(&name)) && state.different.is_none() {
                state.different = Some(name.clone());
            }
            state.new.push((name, digest));
        }
        let Ok(entries) = fs::read_dir(output) else { return Ok(state) };
        for entry in entries {
            let name = entry.with_context(|| format!("cannot read {}", output.display()))?.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_of_model = is_shard_name(name) || INDICES.contains(&name);
            if is_of_model && outputs.get(name).is_none() {
                state.is_strange = true;
                if is_model && INDICES.contains(&name) && state.different.is_none() {
                    state.different = Some(name.to_owned());
                }
            }
        }
        Ok(state)
    }
}

/// The names of the files that a conversion reads.
fn inputs(checkpoint: &Checkpoint, chat: bool) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = checkpoint.files.iter().map(|file| file.name.clone()).collect();
    names.insert("config.json".to_owned());
    let mut optional = Vec::from_iter(checkpoint.index);
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
            _ => {
                let path = source.join(name);
                file::check(&path)?;
                store.known_digest(&path)?
            }
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

//! The output directory: nothing in it looks whole before it is, and nothing of another model goes unasked.

use crate::{
    chat_config::{CHAT_CONFIG, ChatFiles, FILES},
    container::{INDICES, NDARRAY_CACHE, TENSOR_CACHE, is_shard_name},
    publication::{Publication, staged},
    verify::read_chat_config,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};
use store::{Progress, WithHint, hinted, is_same_file, printable};

/// Where files stand until everything is complete.
const STAGING: &str = ".converting";

/// The directory inside the output directory in which files are made. Locked, so that two conversions do not mix; what a
/// stopped one left there is removed by the next. Removed when dropped, with the output directory if that was made for
/// it and nothing came into it.
pub(crate) struct Staging {
    output: PathBuf,
    path: PathBuf,
    is_new: bool,
    _lock: File,
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn lock(output: &Path, staging: &Path) -> Result<File> {
    let lock = File::open(staging).with_context(|| format!("cannot open {}", staging.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another conversion is writing to {}", output.display()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", staging.display()))
        }
    }
}

/// Whether a model was being put into a directory when a command was stopped, and nobody has finished it since.
pub(crate) fn is_half_replaced(directory: &Path) -> bool {
    let staging = directory.join(STAGING);
    is_directory(&staging) && Publication::is_half_done(directory, &staging)
}

/// Refuses an output that is the checkpoint itself, through links too, or no directory. Finishes what a stopped command
/// had begun to put there.
pub(crate) fn check_output(output: &Path, source: &Path) -> Result<()> {
    ensure!(
        !is_same_file(output, source),
        hinted(
            format!("{} holds the checkpoint; the converted model cannot go there", output.display()),
            "give another `--output`"
        )
    );
    ensure!(
        output.is_dir() || fs::symlink_metadata(output).is_err(),
        hinted(format!("{} is not a directory", output.display()), "give another `--output`")
    );
    let staging = output.join(STAGING);
    if is_directory(&staging) && Publication::is_pending(&staging) {
        let _lock = lock(output, &staging)?;
        Publication::finish(output, &staging)?;
    }
    Ok(())
}

/// The index of a converted model that is in a directory.
pub(crate) fn index_of(directory: &Path) -> Option<&'static str> {
    [TENSOR_CACHE, NDARRAY_CACHE].into_iter().find(|name| directory.join(name).exists())
}

/// What is said where files of a model would be lost.
pub(crate) fn refuse(output: &Path, why: &str) -> anyhow::Error {
    anyhow::anyhow!(hinted(
        format!("{} {why}", output.display()),
        "give `--replace` to replace it, or another `--output`"
    ))
}

/// Says which files of the model before are not there any more.
pub(crate) fn note_removed(output: &Path, names: &[String], progress: &dyn Progress) {
    if !names.is_empty() {
        let names = names.join(", ");
        progress.note(&format!("removed from {}, as of the model before: {names}", output.display()));
    }
}

/// What becomes of a model that is in the output directory already.
pub(crate) struct Replacement {
    /// Files of it that have no part in the new one.
    pub remove: Vec<String>,
}

impl Replacement {
    /// Looks at the output before a conversion whose weights are not known yet.
    ///
    /// # Errors
    /// When something would be lost without `replace`, or weights would stand beside a configuration for others.
    pub fn new(output: &Path, scheme: &str, chat: Option<&ChatFiles>, replace: bool) -> Result<Self> {
        if let (Some(index), false) = (index_of(output), replace) {
            return Err(refuse(output, &format!("holds another model, or this one already ({index})")));
        }
        if let (Some(name), false) = (chat.and_then(|chat| chat.first_conflict(output)), replace) {
            return Err(refuse(output, &format!("holds another {name}")));
        }
        let known: Vec<&str> = chat.into_iter().flat_map(ChatFiles::names).collect();
        Self::of_chat_files(output, scheme, &known, replace)
    }

    /// The same where the names of the new model's files are known, and nothing is in the way.
    pub fn of_chat_files(output: &Path, scheme: &str, new: &[&str], replace: bool) -> Result<Self> {
        let old = chat_files(output);
        let is_replaced = new.contains(&CHAT_CONFIG);
        if let (false, false, Some(config)) = (is_replaced, replace, read_chat_config(output)?) {
            let quantization = config.get("quantization").and_then(serde_json::Value::as_str);
            ensure!(
                quantization == Some(scheme),
                hinted(
                    format!(
                        "{} holds a {CHAT_CONFIG} for {}, not for {scheme}",
                        output.display(),
                        quantization.map_or("no quantization".to_owned(), |name| printable(name).to_string())
                    ),
                    "give `--conversation-template` and `--replace` to write a new one, or another `--output`"
                )
            );
        }
        let is_another = replace && (is_replaced || index_of(output).is_some());
        let remove = if is_another { old } else { Vec::new() };
        Ok(Self { remove: remove.into_iter().filter(|name| !new.contains(&name.as_str())).collect() })
    }
}

impl Staging {
    /// Errors: another conversion is at work there; it is the checkpoint's directory, or cannot be written.
    pub fn open(output: &Path, source: &Path) -> Result<Self> {
        check_output(output, source)?;
        let is_new = !output.exists();
        fs::create_dir_all(output).with_context(|| format!("cannot create {}", output.display()))?;
        let path = output.join(STAGING);
        match fs::create_dir(&path) {
            // Through a link, somebody else's files would be swept.
            Err(error) if !is_directory(&path) => {
                return Err(error).with_context(|| format!("cannot create {}", path.display()));
            }
            _ => {}
        }
        let lock = lock(output, &path)?;
        Publication::finish(output, &path)?;
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry.with_context(|| format!("cannot read {}", path.display()))?;
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let left = entry.path();
            let removed = if is_directory { fs::remove_dir_all(&left) } else { fs::remove_file(&left) };
            removed.with_context(|| format!("cannot remove {}", left.display()))?;
        }
        Ok(Self { output: output.to_owned(), path, is_new, _lock: lock })
    }

    /// Where files are made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small file beside the shards.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        File::create_new(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .with_hint(|| hinted(format!("cannot write {}", path.display()), "is the disk full?"))
    }

    /// Puts the model of which the staged files are the new ones in place of what there was: `keep` are the names of all
    /// of its files, `remove` those of the model before that have no part in it.
    pub fn publish_model(&self, keep: &BTreeSet<String>, remove: &[String]) -> Result<()> {
        let mut remove: BTreeSet<String> = remove.iter().cloned().collect();
        for name in names(&self.output)? {
            let is_of_weights = is_shard_name(&name) || INDICES.contains(&&*name);
            if is_of_weights && !keep.contains(&name) {
                remove.insert(name);
            }
        }
        Publication::begin(&self.output, &self.path, remove)
    }

    /// Puts the staged files in place of those of the same names.
    pub fn publish(&self) -> Result<()> {
        Publication::begin(&self.output, &self.path, BTreeSet::new())
    }

    /// The names of the files that were made.
    pub fn staged(&self) -> Result<BTreeSet<String>> {
        staged(&self.path)
    }
}

/// The names in a directory that are UTF-8.
fn names(directory: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(context)?;
    let name = |entry: std::io::Result<fs::DirEntry>| {
        Ok(entry.with_context(context)?.file_name().into_string().ok())
    };
    entries.filter_map(|entry| name(entry).transpose()).collect()
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What has begun to take its place is finished by the next command.
        if Publication::is_pending(&self.path) {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!("cannot remove {}: {error}", self.path.display());
        }
        if self.is_new {
            // Stays where something came into it.
            let _ = fs::remove_dir(&self.output);
        }
    }
}

/// The files that a model's chat configuration in a directory speaks for, and itself: with another model's weights beside
/// them they would be wrong.
pub(crate) fn chat_files(directory: &Path) -> Vec<String> {
    let Ok(Some(config)) = read_chat_config(directory) else { return Vec::new() };
    let listed = config.get("tokenizer_files").and_then(serde_json::Value::as_array);
    let listed = listed.into_iter().flatten().filter_map(|name| name.as_str());
    let listed = listed.filter(|name| FILES.contains(name));
    listed.chain([CHAT_CONFIG]).map(str::to_owned).collect()
}

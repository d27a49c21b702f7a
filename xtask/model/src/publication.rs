//! Files that are complete beside their places take them, all or none: a note says so before the first one moves, and what
//! a kill leaves half done is finished by the next command that writes there.

use crate::{
    chat_config::{CHAT_CONFIG, FILES},
    container::{INDICES, TENSOR_CACHE, is_shard_name},
};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};
use store::{printable, sync_directory, write_output};

/// The note, beside the files: from here on the new ones count.
const NOTE: &str = ".publishing";
/// The most that a note may have.
const NOTE_LIMIT: u64 = 16 << 20;

/// What is put into place, and what goes for it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publication {
    /// Files of the model before that have no part in the new one.
    remove: BTreeSet<String>,
    /// The new files that are not in their place yet.
    #[serde(skip)]
    staged: BTreeSet<String>,
}

/// One change of the output.
#[derive(Debug)]
enum Step<'a> {
    Remove(&'a str),
    Sync,
    Rename(&'a str),
}

/// Whether a file is one that the writer of models makes.
fn is_of_model(name: &str) -> bool {
    is_shard_name(name) || INDICES.contains(&name) || FILES.contains(&name) || name == CHAT_CONFIG
}

/// What a reader of a model begins with: without it, there is no model.
fn is_entrance(name: &str) -> bool {
    INDICES.contains(&name) || name == CHAT_CONFIG
}

impl Publication {
    /// Notes in `staging` that its files are complete and take their places in `output`; `remove` go.
    ///
    /// # Errors
    /// When the note can't be written: nothing has changed then.
    pub fn begin(output: &Path, staging: &Path, remove: BTreeSet<String>) -> Result<()> {
        // What the note speaks of is on the disk before it is.
        sync_directory(staging)?;
        let note = Self { remove, staged: BTreeSet::new() };
        write_output(&staging.join(NOTE), &serde_json::to_vec(&note)?)?;
        match Self::read(staging)? {
            Some(publication) => publication.apply(output, staging),
            None => bail!("{} is gone", staging.join(NOTE).display()),
        }
    }

    /// Finishes what was noted and not done. Whether there was anything.
    ///
    /// # Errors
    /// When the note is none, or files can't be renamed or removed.
    pub fn finish(output: &Path, staging: &Path) -> Result<bool> {
        let Some(publication) = Self::read(staging)? else { return Ok(false) };
        publication.apply(output, staging)?;
        Ok(true)
    }

    /// Whether neither what was there is whole any more, nor what comes in its place is whole already.
    pub fn is_half_done(output: &Path, staging: &Path) -> bool {
        let is_there = |name: &str| output.join(name).exists();
        if !Self::is_pending(staging) {
            return false;
        }
        match staged(staging) {
            Ok(files) if files.contains(TENSOR_CACHE) => !INDICES[..2].iter().any(|name| is_there(name)),
            Ok(files) => files.contains(CHAT_CONFIG) && !is_there(CHAT_CONFIG),
            Err(_) => true,
        }
    }

    /// Whether there is a note.
    pub fn is_pending(staging: &Path) -> bool {
        fs::symlink_metadata(staging.join(NOTE)).is_ok_and(|metadata| metadata.is_file())
    }

    fn read(staging: &Path) -> Result<Option<Self>> {
        let path = staging.join(NOTE);
        if !Self::is_pending(staging) {
            return Ok(None);
        }
        let text = crate::file::read_text(&path, NOTE_LIMIT)?;
        let mut publication: Self =
            serde_json::from_str(&text).with_context(|| format!("cannot use {}", path.display()))?;
        publication.staged = staged(staging)?;
        // The directory may be a stranger's.
        if let Some(name) = publication.remove.iter().find(|name| !is_of_model(name)) {
            bail!("{} removes `{}`, which is not a file of a model", path.display(), printable(name));
        }
        Ok(Some(publication))
    }

    /// What is to be done, in this order. An index goes first and comes last.
    fn steps(&self) -> Vec<Step<'_>> {
        let mut names: Vec<&str> = self.staged.iter().map(String::as_str).collect();
        names.sort_by_key(|name| (INDICES.contains(name), *name == TENSOR_CACHE, *name == CHAT_CONFIG));
        let is_entrance = |name: &&str| is_entrance(name);
        let old = || self.remove.iter().map(String::as_str);
        let mut entrances: Vec<&str> = old().chain(names.iter().copied()).filter(is_entrance).collect();
        entrances.sort_by_key(|name| INDICES.iter().position(|index| index == name).unwrap_or(INDICES.len()));
        let rest = old().filter(|name| !is_entrance(name));
        let mut steps: Vec<Step<'_>> = entrances.into_iter().chain(rest).map(Step::Remove).collect();
        for name in names {
            // What a failure of power leaves must not be an index on the disk and shards that are not.
            if name == TENSOR_CACHE {
                steps.push(Step::Sync);
            }
            steps.push(Step::Rename(name));
        }
        steps
    }

    fn apply(&self, output: &Path, staging: &Path) -> Result<()> {
        for step in self.steps() {
            step.take(output, staging)?;
        }
        sync_directory(output)?;
        fs::remove_file(staging.join(NOTE))
            .with_context(|| format!("cannot remove {}", staging.join(NOTE).display()))
    }
}

impl Step<'_> {
    fn take(&self, output: &Path, staging: &Path) -> Result<()> {
        match self {
            Self::Remove(name) => remove(&output.join(name)),
            Self::Sync => sync_directory(output),
            Self::Rename(name) => {
                let (from, to) = (staging.join(name), output.join(name));
                fs::rename(&from, &to)
                    .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
            }
        }
    }
}

fn remove(path: &PathBuf) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The names of the files that were made.
pub(crate) fn staged(staging: &Path) -> Result<BTreeSet<String>> {
    let context = || format!("cannot read {}", staging.display());
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(staging).with_context(context)? {
        let entry = entry.with_context(context)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            bail!("a name in {} is not UTF-8", staging.display());
        };
        if name == NOTE {
            continue;
        }
        // A temporary file of a note that was not written to its end is nobody's.
        if is_of_model(&name) {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            ensure!(is_file, "{} is not a regular file", entry.path().display());
            names.insert(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const OLD: [(&str, &str); 6] = [
        ("ndarray-cache.json", "old"),
        ("params_shard_0.bin", "old"),
        ("params_shard_1.bin", "old"),
        ("tokenizer.model", "old"),
        ("mlc-chat-config.json", "old"),
        ("notes.txt", "the user's"),
    ];
    const NEW: [(&str, &str); 4] = [
        ("tensor-cache.json", "new"),
        ("params_shard_0.bin", "new"),
        ("tokenizer.json", "new"),
        ("mlc-chat-config.json", "new"),
    ];

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, content) in files {
            fs::write(directory.join(name), content).unwrap();
        }
    }

    fn files(directory: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        entries
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| {
                (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
            })
            .collect()
    }

    /// Between any two changes of the output there is the old model, the new one, or none that a reader could begin with;
    /// and what comes next finishes it.
    #[test]
    fn a_stop_at_any_step_is_finished_by_the_next_command() {
        let remove: BTreeSet<String> = ["ndarray-cache.json", "params_shard_1.bin", "tokenizer.model"]
            .into_iter()
            .map(str::to_owned)
            .collect();
        let new: BTreeMap<String, String> = NEW
            .iter()
            .chain([&OLD[5]])
            .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
            .collect();
        let mut stop = 0;
        loop {
            let output = tempfile::tempdir().unwrap();
            let staging = output.path().join("staging");
            write(output.path(), &OLD);
            write(&staging, &NEW);
            let note = Publication { remove: remove.clone(), staged: BTreeSet::new() };
            fs::write(staging.join(NOTE), serde_json::to_vec(&note).unwrap()).unwrap();
            let publication = Publication::read(&staging).unwrap().unwrap();
            let steps = publication.steps();
            for step in &steps[..stop] {
                step.take(output.path(), &staging).unwrap();
            }
            let there = files(output.path());
            let index = there.get("tensor-cache.json").or_else(|| there.get("ndarray-cache.json"));
            let weights = there.get("params_shard_0.bin").unwrap();
            assert!(index.is_none_or(|index| index == weights), "{stop}: {there:?}");
            assert_eq!(
                Publication::is_half_done(output.path(), &staging),
                index.is_none(),
                "{stop}: {there:?}"
            );
            let chat = (there.get("mlc-chat-config.json"), index);
            assert!(!matches!(chat, (Some(chat), Some(index)) if chat != index), "{stop}: {there:?}");
            if index.is_some_and(|index| index == "new") {
                assert_eq!(there, new);
            }

            assert!(Publication::is_pending(&staging));
            assert!(Publication::finish(output.path(), &staging).unwrap());
            assert_eq!(files(output.path()), new, "stopped after {stop} steps");
            assert!(!Publication::is_pending(&staging));
            assert!(!Publication::finish(output.path(), &staging).unwrap());
            if stop == steps.len() {
                break;
            }
            stop += 1;
        }
        assert!(stop > 8);
    }

    #[test]
    fn a_strangers_note_removes_and_brings_files_of_models_alone() {
        let output = tempfile::tempdir().unwrap();
        let staging = output.path().join("staging");
        write(output.path(), &[("notes.txt", "the user's")]);
        write(&staging, &[("notes.txt", "a stranger's")]);
        for name in ["notes.txt", "../notes.txt", "/etc/passwd", ""] {
            fs::write(staging.join(NOTE), serde_json::json!({ "remove": [name] }).to_string()).unwrap();
            let error = Publication::finish(output.path(), &staging).unwrap_err().to_string();
            assert!(error.contains("which is not a file of a model"), "{error}");
        }
        fs::write(staging.join(NOTE), r#"{"remove": []}"#).unwrap();
        assert!(Publication::finish(output.path(), &staging).unwrap());
        assert_eq!(files(output.path())["notes.txt"], "the user's");
        fs::create_dir(staging.join("params_shard_0.bin")).unwrap();
        fs::write(staging.join(NOTE), r#"{"remove": []}"#).unwrap();
        assert!(Publication::finish(output.path(), &staging).is_err());
    }
}

//! The action cache.

use crate::{
    Action, Digest, Store, WithHint,
    directory::Reached,
    message::{from_message, to_message},
    store_file,
};
use anyhow::{Context, Result};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use rayon::prelude::*;
use std::path::PathBuf;

/// Where outputs stand in results: what commands name in `output_paths`. Work of our own has it by the same name.
const OUTPUT_PATH: &str = "out";

/// What running an action gave (a subset of REAPI `ActionResult`; the exit code is always 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionResult {
    /// Root of the output tree.
    pub outputs: Digest,
    /// The log (stdout and stderr as they came), if there is one.
    pub log: Option<Digest>,
}

impl Store {
    pub(crate) fn result_path(&self, action: &Digest) -> PathBuf {
        let hex = action.hex();
        self.root.join("ac").join(&hex[..2]).join(hex)
    }

    /// The result kept for an action's digest, if there is one and what it names is there.
    ///
    /// Once a blob was found damaged or missing, results that may be derived from it are removed before one is given out,
    /// and every blob of every result is looked for, until `fsck` has removed the results that lack some; before, the root of
    /// the tree is enough.
    pub fn result(&self, action: &Digest) -> Result<Option<ActionResult>> {
        let is_incomplete = self.is_incomplete();
        if is_incomplete && self.is_writable() {
            self.drop_derived()?;
        }
        let Some(kept) = self.peek_result(action) else { return Ok(None) };
        let complete = match is_incomplete {
            false => self.contains(&kept.result.outputs),
            true => self.is_complete(&kept)?,
        };
        if complete {
            self.note_used(&self.result_path(action));
        }
        Ok(complete.then_some(kept.result))
    }

    /// The result kept for an action's digest; what it names may be gone.
    pub(crate) fn peek_result(&self, action: &Digest) -> Option<Kept> {
        decode(&store_file::read(&self.result_path(action)).ok()?)
    }

    /// The output tree of work of our own ([`Action::named`]): the kept one, or what `make` gives, which is kept then.
    pub fn once(&self, work: &Action, make: impl FnOnce() -> Result<Digest>) -> Result<Digest> {
        let key = work.digest();
        if let Some(result) = self.result(&key)? {
            return Ok(result.outputs);
        }
        // So that it is known what the result was made from.
        work.write(self)?;
        let outputs = make()?;
        self.put_result(&key, &ActionResult { outputs, log: None })?;
        Ok(outputs)
    }

    /// Whether every blob that a result names is there.
    pub(crate) fn is_complete(&self, kept: &Kept) -> Result<bool> {
        if !kept.blobs().all(|blob| self.contains(&blob)) || !self.contains(&kept.result.outputs) {
            return Ok(false);
        }
        self.is_whole(&kept.result.outputs)
    }

    /// Whether every directory and file of a tree is there.
    pub(crate) fn is_whole(&self, root: &Digest) -> Result<bool> {
        let mut reached = Reached::default();
        let whole = reached.add(self, root)?;
        Ok(whole && reached.files.par_iter().all(|file| self.contains(file)))
    }

    /// Keeps an action's result.
    ///
    /// All blobs are on the disk before a result names them: the file system is synced, then the result is written,
    /// synced and renamed. A process killed at any moment leaves blobs that nobody names, never a result without them.
    ///
    /// The outputs are also kept as one `Tree` message, since some caches of the Remote Execution API know no other form.
    ///
    /// # Errors
    /// A directory of the outputs is not in the store; the disk is full; an input of the action was found damaged since this
    /// process began ([`crate::Damaged`]).
    pub fn put_result(&self, action: &Digest, result: &ActionResult) -> Result<()> {
        self.put_result_of(action, result, None)
    }

    /// As [`Store::put_result`], of a result that somebody else made: `from` says who.
    pub(crate) fn put_result_of(
        &self,
        action: &Digest,
        result: &ActionResult,
        from: Option<String>,
    ) -> Result<()> {
        self.writable()?;
        self.check_causes(action)?;
        // Before it: what is about to be kept was made after the damage was found.
        if self.is_incomplete() {
            self.drop_derived()?;
        }
        let tree = self.put_bytes(&self.tree_message(&result.outputs)?)?;
        let lock = self.lock.as_ref().context("the store has no lock")?;
        rustix::fs::syncfs(lock).with_hint(|| self.write_error())?;
        let kept = Kept { result: *result, tree: Some(tree), from };
        self.write_note(&self.result_path(action), &kept.encode())
    }
}

/// A result as it stands in `ac/`.
pub(crate) struct Kept {
    pub(crate) result: ActionResult,
    /// The outputs as one `Tree` message; results of older versions have none.
    pub(crate) tree: Option<Digest>,
    /// Who made it, where that was not this store: the name that it was imported by. It stands where the Remote Execution API
    /// has the worker's name, so that a result and whose it is are one file.
    pub(crate) from: Option<String>,
}

impl Kept {
    /// The blobs that a result names, beside the tree of its outputs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.result.log.into_iter().chain(self.tree)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        reapi::ActionResult {
            output_directories: vec![reapi::OutputDirectory {
                path: OUTPUT_PATH.to_owned(),
                tree_digest: self.tree.as_ref().map(to_message),
                is_topologically_sorted: self.tree.is_some(),
                root_directory_digest: Some(to_message(&self.result.outputs)),
            }],
            stdout_digest: self.result.log.as_ref().map(to_message),
            execution_metadata: self.from.clone().map(|worker| reapi::ExecutedActionMetadata {
                worker,
                ..reapi::ExecutedActionMetadata::default()
            }),
            ..reapi::ActionResult::default()
        }
        .encode_to_vec()
    }
}

/// Nothing where the bytes are no result of ours: it is then made again.
pub(crate) fn decode(bytes: &[u8]) -> Option<Kept> {
    let message = reapi::ActionResult::decode(bytes).ok()?;
    let directory = message.output_directories.first()?;
    let outputs = from_message(directory.root_directory_digest.as_ref()).ok()?;
    let optional = |digest: &Option<reapi::Digest>| match digest {
        Some(digest) => from_message(Some(digest)).ok().map(Some),
        None => Some(None),
    };
    let log = optional(&message.stdout_digest)?;
    let worker = message.execution_metadata.map(|metadata| metadata.worker).unwrap_or_default();
    Some(Kept {
        result: ActionResult { outputs, log },
        tree: optional(&directory.tree_digest)?,
        from: (!worker.is_empty()).then_some(worker),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Tree};

    #[test]
    fn a_result_is_one_that_every_cache_takes() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut tree = Tree::new();
        let digest = store.put_bytes(b"x").unwrap();
        tree.insert("lib/x", Entry::File { digest, executable: false }).unwrap();
        let outputs = tree.write(&store).unwrap();
        let key = Action::named(["test"]).digest();
        store.put_result(&key, &ActionResult { outputs, log: Some(digest) }).unwrap();
        let bytes = std::fs::read(store.result_path(&key)).unwrap();
        let message = reapi::ActionResult::decode(bytes.as_slice()).unwrap();
        let found = &message.output_directories[0];
        assert_eq!((found.path.as_str(), message.exit_code), ("out", 0));
        let whole = from_message(found.tree_digest.as_ref()).unwrap();
        let whole = reapi::Tree::decode(store.read(&whole).unwrap().as_slice()).unwrap();
        let root = whole.root.unwrap();
        assert_eq!(Digest::of(&root.encode_to_vec()), outputs);
        assert_eq!(from_message(found.root_directory_digest.as_ref()).unwrap(), outputs);
        // The message is a part of the result: without it, it can't be shared.
        let place = store.blob_path(&from_message(found.tree_digest.as_ref()).unwrap(), false).unwrap();
        std::fs::remove_file(place).unwrap();
        assert!(!store.is_complete(&decode(&bytes).unwrap()).unwrap());
    }

    #[test]
    fn a_result_of_an_older_version_is_read() {
        let result = ActionResult { outputs: Digest::of(b"x"), log: None };
        let bytes = Kept { result, tree: None, from: None }.encode();
        assert_eq!(decode(&bytes).map(|kept| kept.result), Some(result));
        assert!(decode(b"nonsense").is_none());
    }
}

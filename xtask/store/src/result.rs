//! The action cache.

use crate::{
    Action, Digest, Store,
    directory::Reached,
    message::{from_message, to_message},
};
use anyhow::{Context, Result};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use rayon::prelude::*;
use std::path::PathBuf;

/// What running an action gave (a subset of REAPI `ActionResult`; the exit code is always 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionResult {
    /// Root of the output tree.
    pub outputs: Digest,
    /// The log (stdout and stderr as they came), if there is one.
    pub log: Option<Digest>,
}

impl Store {
    pub(crate) fn result_place(&self, action: &Digest) -> PathBuf {
        let hex = action.hex();
        self.root.join("ac").join(&hex[..2]).join(hex)
    }

    /// The result kept for an action's digest, if there is one and what it names is there.
    ///
    /// Once a blob was found damaged or missing, every blob of every result is looked for, until `fsck` has removed
    /// the results that lack some; before, the root of the tree is enough.
    pub fn result(&self, action: &Digest) -> Result<Option<ActionResult>> {
        let Ok(bytes) = std::fs::read(self.result_place(action)) else { return Ok(None) };
        let Some(result) = decode(&bytes) else { return Ok(None) };
        let complete = match self.root.join("incomplete").exists() {
            false => self.contains(&result.outputs),
            true => self.is_complete(&result)?,
        };
        Ok(complete.then_some(result))
    }

    /// The output tree of work of our own ([`Action::named`]): the kept one, or what `make` gives, which is kept then.
    pub fn once(&self, work: &Action, make: impl FnOnce() -> Result<Digest>) -> Result<Digest> {
        let key = work.digest();
        if let Some(result) = self.result(&key)? {
            return Ok(result.outputs);
        }
        let outputs = make()?;
        self.put_result(&key, &ActionResult { outputs, log: None })?;
        Ok(outputs)
    }

    /// Whether every blob that a result names is there.
    pub(crate) fn is_complete(&self, result: &ActionResult) -> Result<bool> {
        if result.log.is_some_and(|log| !self.contains(&log)) || !self.contains(&result.outputs) {
            return Ok(false);
        }
        let mut reached = Reached::default();
        Ok(reached.add(self, &result.outputs)? && reached.files.par_iter().all(|file| self.contains(file)))
    }

    /// Keeps an action's result.
    ///
    /// All blobs are on the disk before a result names them: the file system is synced, then the result is written,
    /// synced and renamed. A process killed at any moment leaves blobs that nobody names, never a result without them.
    pub fn put_result(&self, action: &Digest, result: &ActionResult) -> Result<()> {
        rustix::fs::syncfs(&self.lock).with_context(|| self.write_error())?;
        self.write_note(&self.result_place(action), &encode(result))
    }
}

fn encode(result: &ActionResult) -> Vec<u8> {
    reapi::ActionResult {
        output_directories: vec![reapi::OutputDirectory {
            root_directory_digest: Some(to_message(&result.outputs)),
            ..reapi::OutputDirectory::default()
        }],
        stdout_digest: result.log.as_ref().map(to_message),
        ..reapi::ActionResult::default()
    }
    .encode_to_vec()
}

/// Nothing where the bytes are no result of ours: it is then made again.
pub(crate) fn decode(bytes: &[u8]) -> Option<ActionResult> {
    let message = reapi::ActionResult::decode(bytes).ok()?;
    let outputs = from_message(message.output_directories.first()?.root_directory_digest.as_ref()).ok()?;
    let log = match &message.stdout_digest {
        Some(_) => Some(from_message(message.stdout_digest.as_ref()).ok()?),
        None => None,
    };
    Some(ActionResult { outputs, log })
}

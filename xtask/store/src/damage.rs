//! Damaged blobs: where they go, and the list of them, by which all that was derived from them is found.

use crate::{
    Digest, Store, WithHint,
    cause::Causes,
    hinted,
    store_file::{self, make_directory, open_or_create},
};
use anyhow::{Context, Result, bail};
use std::{
    collections::HashSet,
    fmt,
    io::{ErrorKind, Write},
    path::Path,
    sync::PoisonError,
};

/// A SHA-256: files of the store are named by it, without the size.
pub(crate) type Id = [u8; 32];

/// A blob that is missing or damaged. What needs it must be fetched or built again; results that name it are no
/// longer given out.
#[derive(Debug)]
pub struct Damaged {
    /// The blob.
    pub digest: Digest,
    /// What is wrong, and what was done.
    pub reason: String,
}

impl Damaged {
    /// What to do.
    pub const HINT: &str = "run the command again; it fetches or builds what is missing";
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blob {} of the store {}", self.digest, self.reason)
    }
}

impl std::error::Error for Damaged {}

impl Store {
    /// Takes a damaged blob out of the way, and every checkout, since they may share its file.
    pub(crate) fn quarantine(&self, digest: &Digest, path: &Path) -> Result<()> {
        self.writable()?;
        self.record_damage(digest)?;
        self.set_aside(path, &digest.hex())?;
        for entry in std::fs::read_dir(self.root.join("checkouts")).context("cannot list the checkouts")? {
            let entry = entry.context("cannot list the checkouts")?;
            self.set_aside(&entry.path(), "checkout")?;
        }
        Ok(())
    }

    /// Adds to the list of damaged blobs, before anything else is done about them.
    fn record_damage(&self, digest: &Digest) -> Result<()> {
        self.mark_incomplete()?;
        let path = self.root.join("damaged");
        open_or_create(&path, true)
            .and_then(|mut file| {
                // One write, so that lines of several processes do not mix. A line that was cut off by a full disk ends here.
                file.write_all(format!("\n{}\n", digest.hex()).as_bytes())?;
                file.sync_all()
            })
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Moves something to quarantine, whole. It is not removed before `gc` has the store alone: another process may be
    /// building in that checkout, and a compiler that finds half of its headers gone might draw the wrong conclusion.
    /// Nothing happens where another process was faster.
    pub(crate) fn set_aside(&self, path: &Path, name: &str) -> Result<()> {
        let context = || format!("cannot move {} to quarantine", path.display());
        let quarantine = self.root.join("quarantine");
        make_directory(&quarantine).with_context(context)?;
        let place = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(&quarantine)
            .with_context(context)?;
        match std::fs::rename(path, place.path().join("content")) {
            Ok(()) => {
                let _ = place.keep();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(context),
        }
    }

    /// From now on, results are checked in depth before they are given out.
    pub(crate) fn mark_incomplete(&self) -> Result<()> {
        let path = self.root.join("incomplete");
        open_or_create(&path, false).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    /// Whether a blob was found damaged or missing since `fsck` looked last.
    pub(crate) fn is_incomplete(&self) -> bool {
        std::fs::symlink_metadata(self.root.join("incomplete")).is_ok()
    }

    /// The list of damaged blobs, from its byte `start` on, and its length.
    pub(crate) fn damaged_since(&self, start: u64) -> Result<(HashSet<Id>, u64)> {
        let path = self.root.join("damaged");
        let bytes = match store_file::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.with_hint(|| {
                hinted(
                    format!("cannot read {}", path.display()),
                    "remove it, and run `cargo xtask store fsck`",
                )
            })?,
        };
        let length = bytes.len() as u64;
        let new = bytes.get(usize::try_from(start).unwrap_or(usize::MAX)..).unwrap_or_default();
        let ids = String::from_utf8_lossy(new)
            .lines()
            .filter_map(|line| Some(Digest::from_hex(line, 0).ok()?.sha256))
            .collect();
        Ok((ids, length))
    }

    /// How much of the list has had its consequences.
    fn damage_handled(&self) -> u64 {
        let text = store_file::read(&self.root.join("damaged.handled")).unwrap_or_default();
        std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Removes every result that was, or may have been, derived from blobs that were found damaged since this was done last.
    /// Gives the keys of those removed.
    pub(crate) fn drop_derived(&self) -> Result<Vec<String>> {
        let (damaged, length) = self.damaged_since(self.damage_handled())?;
        if damaged.is_empty() {
            return Ok(Vec::new());
        }
        self.writable()?;
        let mut dropped = Vec::new();
        for key in Causes::of_all_results(self)?.derived_from(&damaged) {
            let key = Digest { sha256: key, size: 0 };
            match std::fs::remove_file(self.result_path(&key)) {
                Ok(()) => dropped.push(key.hex()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).context("cannot remove a result"),
            }
        }
        self.write_note(&self.root.join("damaged.handled"), length.to_string().as_bytes())?;
        dropped.sort();
        Ok(dropped)
    }

    /// Remembers how long the list was when an action began.
    pub(crate) fn begin(&self, action: &Digest) -> Result<()> {
        let (_, length) = self.damaged_since(0)?;
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(action.sha256, length);
        Ok(())
    }

    /// Errors where a blob that an action reaches was found damaged since it began, or since this process opened the store: the
    /// action may have read it before that.
    pub(crate) fn check_causes(&self, action: &Digest) -> Result<()> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).get(&action.sha256).copied();
        let (damaged, _) = self.damaged_since(begun.unwrap_or(self.damaged_before))?;
        if damaged.is_empty() {
            return Ok(());
        }
        if !Causes::of_action(self, action)?.derived_from(&damaged).is_empty() {
            bail!(Damaged {
                digest: *action,
                reason:
                    "names an action whose inputs were found damaged while it ran; its outputs are not kept"
                        .to_owned()
            });
        }
        Ok(())
    }
}

//! Whether all is well: `fsck`.

use crate::{
    Digest, Progress, Store, Unit,
    blob::{is_stamped, stamp},
    lookup::hashed_name,
    result::decode,
    shelf::{Shelved, shelves},
    store_file,
};
use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::{collections::HashSet, io::ErrorKind, path::Path};

/// What `fsck` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// Blobs whose content was hashed.
    pub blobs: u64,
    /// Blobs that are not what their name says; they are in quarantine now.
    pub damaged: Vec<String>,
    /// Action results that named something missing; they are removed.
    pub incomplete: Vec<String>,
    /// Action results that were made from something damaged, or from what was made from it; they are removed.
    pub derived: Vec<String>,
    /// Roots, which have the names of releases, that name a result that is gone: what was given out may be wrong.
    pub roots: Vec<String>,
    /// What does not belong into the store: links, pipes, directories in place of files. It is in quarantine now.
    pub foreign: Vec<String>,
}

impl Examined {
    /// Whether nothing was wrong.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
            && self.incomplete.is_empty()
            && self.derived.is_empty()
            && self.foreign.is_empty()
    }
}

impl Store {
    /// Hashes every blob and looks for everything that results name.
    ///
    /// Damaged blobs go to quarantine. Results that lack something are removed, and so is every result that may have been
    /// made from a damaged blob, also from one that was found and replaced since the last examination: those whose action,
    /// command, input tree, environment or other inputs reach it, and those made from outputs of these. The next build makes
    /// them again.
    pub fn examine(&self, progress: &dyn Progress) -> Result<Examined> {
        self.writable()?;
        let mut examined = Examined { foreign: self.clear_directories()?, ..Examined::default() };
        let mut blobs = Vec::new();
        for (kind, executable) in [("cas/sha256", false), ("cas/sha256-x", true)] {
            let found = shelves(&self.root.join(kind))?;
            self.remove_foreign(&found.foreign, &mut examined)?;
            blobs.extend(found.files.into_iter().map(|blob| (blob, executable)));
        }
        let meter = progress.begin("hashing blobs", blobs.len() as u64, Unit::Items);
        examined.damaged = blobs
            .par_iter()
            .map(|(blob, executable)| {
                let is_sound = self.is_sound(blob, *executable)?;
                meter.add(1);
                if is_sound {
                    return Ok(None);
                }
                let digest = Digest { sha256: blob.id, size: 0 };
                self.quarantine(&digest, &blob.path)?;
                Ok(Some(digest.hex()))
            })
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?;
        examined.blobs = blobs.len() as u64;
        self.examine_results(&mut examined)?;
        Ok(examined)
    }

    fn examine_results(&self, examined: &mut Examined) -> Result<()> {
        let found = shelves(&self.root.join("ac"))?;
        self.remove_foreign(&found.foreign, examined)?;
        let mut incomplete = Vec::new();
        for result in found.files {
            let complete = match store_file::read(&result.path).ok().and_then(|bytes| decode(&bytes)) {
                Some(result) => self.is_complete(&result)?,
                None => false,
            };
            if !complete {
                incomplete.push(result);
            }
        }
        // While those that lack something are there, since what was made from their outputs is found by them.
        let derived = self.drop_derived()?;
        for result in incomplete {
            match std::fs::remove_file(&result.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", result.path.display()));
                }
                _ => examined.incomplete.push(Digest { sha256: result.id, size: 0 }.hex()),
            }
        }
        let known: HashSet<&String> = examined.incomplete.iter().collect();
        examined.derived = derived.into_iter().filter(|key| !known.contains(key)).collect();
        let gone: HashSet<&String> = known.into_iter().chain(&examined.derived).collect();
        for (name, references) in self.roots()? {
            if references.iter().any(
                |reference| matches!(reference, crate::Reference::Action(action) if gone.contains(&action.hex())),
            ) {
                examined.roots.push(name);
            }
        }
        match std::fs::remove_file(self.root.join("incomplete")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context("cannot clear the store's mark")
            }
            _ => Ok(()),
        }
    }

    /// Whether a blob's content is what its name says; its stamp is then renewed where it does not fit. A blob that
    /// another process took away meanwhile is nobody's damage.
    fn is_sound(&self, blob: &Shelved, executable: bool) -> Result<bool> {
        let path = &blob.path;
        let (file, metadata) = match store_file::open(path) {
            Ok(opened) => opened,
            Err(_) if std::fs::symlink_metadata(path).is_err() => return Ok(true),
            Err(error) if store_file::is_not_regular(&error) => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
        };
        let digest =
            Digest::of_open_file(&file).with_context(|| format!("cannot read {}", path.display()))?;
        if digest.sha256 != blob.id {
            return Ok(false);
        }
        if !is_stamped(&metadata, &digest) {
            stamp(&file, executable).with_context(|| format!("cannot stamp {}", path.display()))?;
        }
        self.note_hashed(hashed_name(&digest, executable))?;
        Ok(true)
    }

    /// Moves what stands in the place of one of the store's own directories to quarantine.
    fn clear_directories(&self) -> Result<Vec<String>> {
        let mut foreign = Vec::new();
        for name in ["quarantine", "locks", "downloads", "known", "history", "licenses", "claims", "nix"] {
            let path = self.root.join(name);
            if std::fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir()) {
                // By way of this process' own directory: it may be quarantine itself.
                let aside = self.scratch()?;
                let moved = aside.path().join("content");
                std::fs::rename(&path, &moved)
                    .with_context(|| format!("cannot move {} away", path.display()))?;
                self.set_aside(&moved, name)?;
                foreign.push(name.to_owned());
            }
        }
        Ok(foreign)
    }

    fn remove_foreign(&self, paths: &[std::path::PathBuf], examined: &mut Examined) -> Result<()> {
        for path in paths {
            self.set_aside(path, "foreign")?;
            let name: &Path = path.strip_prefix(&self.root).unwrap_or(path);
            examined.foreign.push(name.display().to_string());
            // A blob may have stood there that results name.
            self.mark_incomplete()?;
        }
        Ok(())
    }
}

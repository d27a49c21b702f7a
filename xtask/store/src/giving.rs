//! What others are given of this store, and asked for beside results.

use crate::{Digest, Progress, Store, Unit, directory::Reached};
use anyhow::{Result, ensure};
use std::collections::HashSet;

impl Store {
    /// Whether somebody is given what this store makes.
    pub fn gives(&self) -> bool {
        self.peers.iter().any(|peer| peer.takes())
    }

    /// Gives what was used since this was called last ([`Store::take_used`]), as far as it was made here, to everybody who takes
    /// it. Who does not is named, and nothing else fails.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn give_used(&self, progress: &dyn Progress) -> Result<()> {
        for (action, whole) in self.take_used() {
            // Whoever asks is to hear the word of whoever made it.
            if self.imported_from(&action).is_some() || (!whole && self.peek_result(&action).is_none()) {
                continue;
            }
            let (portable, blobs) = self.portable(&action, whole)?;
            for peer in self.peers.iter().filter(|peer| peer.takes()) {
                if let Err(error) = peer.give(self, &portable, &blobs) {
                    progress.note(&format!("a result was not given to `{}`: {error:#}", peer.name()));
                }
            }
        }
        Ok(())
    }

    /// Gives blobs that the store has to everybody who takes them. Who does not is named.
    pub fn give_blobs(&self, blobs: &[Digest], progress: &dyn Progress) {
        let there: Vec<Digest> = blobs.iter().copied().filter(|blob| self.contains(blob)).collect();
        for peer in self.peers.iter().filter(|peer| peer.takes()) {
            let _meter = progress.begin(&format!("inputs to {}", peer.name()), 0, Unit::Items);
            if let Err(error) = peer.give_blobs(self, &there) {
                progress.note(&format!("inputs were not given to `{}`: {error:#}", peer.name()));
            }
        }
    }

    /// All blobs of a tree: its directories, and the files in them.
    ///
    /// # Errors
    /// If a directory is missing or damaged.
    pub fn tree_blobs(&self, root: &Digest) -> Result<Vec<Digest>> {
        let mut reached = Reached::default();
        ensure!(reached.add(self, root)?, "a directory of the tree {root} is not in the store");
        let Reached { directories, files } = reached;
        Ok(directories.into_iter().chain(files).collect())
    }

    /// Brings those of the blobs that others have, each checked by its digest. Who fails is named and passed over.
    pub fn bring_held(&self, blobs: &[Digest], progress: &dyn Progress) {
        for peer in &self.peers {
            let missing: Vec<Digest> = blobs.iter().copied().filter(|blob| !self.contains(blob)).collect();
            if missing.is_empty() {
                return;
            }
            let bring = || -> Result<()> {
                let held: HashSet<Digest> = peer.held(&missing)?.into_iter().collect();
                let held: Vec<Digest> = missing.into_iter().filter(|blob| held.contains(blob)).collect();
                if held.is_empty() { Ok(()) } else { self.bring_all(peer.as_ref(), &held) }
            };
            if let Err(error) = bring() {
                progress.note(&format!("inputs are not taken from `{}`: {error:#}", peer.name()));
            }
        }
    }
}

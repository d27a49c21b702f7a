//! Results of others: where they are asked for, how they are checked, and how it stays known whose they are.
//!
//! What a blob holds is checked by its digest, so a peer can't give another content than it says. That an action gives these
//! outputs is the peer's word: whoever opens a store with peers trusts them, and every result keeps the name of its peer.

use crate::{
    Action, ActionResult, Digest, Portable, Progress, Store, WithHint,
    directory::{for_each, unpack_tree},
    hinted,
    lookup::LARGEST_MESSAGE,
    message::is_empty,
    result::{Kept, decode},
    store_file,
    tree::MOST_ENTRIES,
};
use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use std::{
    collections::{BTreeSet, HashSet},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::PoisonError,
};

/// The longest name of who made a result, in bytes.
const LONGEST_NAME: usize = 200;

/// What no name ends with, since some systems take it off.
const END: [char; 3] = [' ', '.', ','];

/// The most that a result may have, in bytes; ours have 300.
pub const LARGEST_RESULT: u64 = 64 << 10;

/// Where results stand, in a store and wherever its layout is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// `ac`: all that the result names is there.
    Whole,
    /// `claims`: of the outputs, the root alone.
    Claim,
}

impl Shelf {
    /// The path of an action's result, from the top of a store, with `/`.
    pub fn path(self, action: &Digest) -> String {
        let (shelf, hex) = (if self == Self::Whole { "ac" } else { "claims" }, action.hex());
        format!("{shelf}/{}/{hex}", &hex[..2])
    }
}

/// The path of a blob, from the top of a store, with `/`.
pub fn blob_path(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("cas/sha256/{}/{hex}", &hex[..2])
}

/// Somebody who has results, and is only read.
pub trait Peer: Send + Sync {
    /// What it is called in release.json.
    fn name(&self) -> &str;

    /// The message that it keeps as the result of an action, unchecked; at most [`LARGEST_RESULT`] bytes. Nothing where it has
    /// none.
    ///
    /// # Errors
    /// If it can't be asked.
    fn result(&self, shelf: Shelf, action: &Digest) -> Result<Option<Vec<u8>>>;

    /// Brings blobs into a store, each checked by size and digest.
    ///
    /// # Errors
    /// If it lacks one, or has something else in its place.
    fn bring(&self, store: &Store, blobs: &[Digest]) -> Result<()>;

    /// Those of these blobs that it has, whatever they belong to. Whoever is known by results alone has none.
    ///
    /// # Errors
    /// If it can't be asked.
    fn held(&self, _blobs: &[Digest]) -> Result<Vec<Digest>> {
        Ok(Vec::new())
    }

    /// Whether it is given what this store makes.
    fn takes(&self) -> bool {
        false
    }

    /// Gives it a result of a store, with its blobs.
    ///
    /// # Errors
    /// If it does not take it, or has another one.
    fn give(&self, _store: &Store, _result: &Portable, _blobs: &BTreeSet<Digest>) -> Result<()> {
        bail!("it takes no results")
    }

    /// Gives it blobs of a store.
    ///
    /// # Errors
    /// If it does not take them.
    fn give_blobs(&self, _store: &Store, _blobs: &[Digest]) -> Result<()> {
        bail!("it takes no blobs")
    }
}

/// A result that is in the store, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obtained {
    /// The result.
    pub result: ActionResult,
    /// Who made it, where that was not this store.
    pub from: Option<String>,
}

/// What work of our own gave, or is said to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Root of the output tree.
    pub outputs: Digest,
    /// Whether all of the tree is here, and not only its root.
    pub whole: bool,
}

impl Store {
    /// The same store, with others who are asked for what it lacks. To name one is to trust it: this is the place where a policy
    /// has to say who may be named.
    #[must_use]
    pub fn with_peers(mut self, peers: Vec<Box<dyn Peer>>) -> Self {
        self.peers = peers;
        self
    }

    /// Whether somebody is asked for what it lacks.
    pub fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Whether results that are not made here may be found: there are peers, or something was imported before.
    pub fn knows_others(&self) -> bool {
        !self.peers.is_empty() || self.root.join("claims").is_dir()
    }

    /// The result of an action that is in the store, and whose it is.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn recall(&self, action: &Action) -> Result<Option<Obtained>> {
        match self.result(&action.digest())? {
            Some(result) => self.found(action, result).map(Some),
            None => Ok(None),
        }
    }

    fn found(&self, action: &Action, result: ActionResult) -> Result<Obtained> {
        let key = self.note_use(action, true)?;
        Ok(Obtained { result, from: self.imported_from(&key) })
    }

    /// The result of an action that is in the store, or else the first that a peer has, which is brought here whole. A peer that
    /// fails, or has something else than it should, is named and passed over.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn obtain(&self, action: &Action, progress: &dyn Progress) -> Result<Option<Obtained>> {
        let key = action.digest();
        let kept = match self.result(&key)? {
            Some(result) => Some(result),
            None => self.first_of(Shelf::Whole, &key, progress, |peer, kept| {
                action.write(self)?;
                self.bring_outputs(peer, kept)?;
                let from = named(peer.name(), kept.from.as_deref());
                self.put_result_of(&key, &kept.result, Some(from))?;
                Ok(kept.result)
            }),
        };
        kept.map(|result| self.found(action, result)).transpose()
    }

    /// The root of what work of our own gave, here or by the word of others: with it the keys of what is made from the outputs are
    /// known, without the outputs.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn promised(&self, work: &Action, progress: &dyn Progress) -> Result<Option<Promise>> {
        let key = work.digest();
        let promise = match (self.result(&key)?, self.claim(&key)) {
            (Some(result), _) => Some(Promise { outputs: result.outputs, whole: true }),
            (None, Some(claim)) => Some(claim),
            (None, None) => {
                let mut found = None;
                for shelf in [Shelf::Claim, Shelf::Whole] {
                    found = found.or_else(|| {
                        self.first_of(shelf, &key, progress, |peer, kept| {
                            let outputs = kept.result.outputs;
                            self.bring_all(peer, &[outputs])?;
                            for_each(self, &outputs, &mut |_| {})?;
                            work.write(self)?;
                            self.put_claim(&key, &outputs, named(peer.name(), kept.from.as_deref()))?;
                            Ok(Promise { outputs, whole: false })
                        })
                    });
                }
                found
            }
        };
        if promise.is_some() {
            self.note_use(work, false)?;
        }
        Ok(promise)
    }

    /// Who made the result of an action, where that was not this store.
    pub fn imported_from(&self, action: &Digest) -> Option<String> {
        self.peek_result(action)?.from
    }

    /// What was asked for and found since the store was opened, or since this was asked last: actions, and whether their outputs
    /// are needed and not only the root of these.
    pub fn take_used(&self) -> Vec<(Digest, bool)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *used).into_iter().collect()
    }

    /// Keeps in mind that a result was used, and what it is of: older stores have results without their actions.
    fn note_use(&self, action: &Action, whole: bool) -> Result<Digest> {
        let key = match self.is_writable() {
            true => action.write(self)?,
            false => action.digest(),
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used.entry(key).or_default() |= whole;
        Ok(key)
    }

    fn first_of<T>(
        &self,
        shelf: Shelf,
        action: &Digest,
        progress: &dyn Progress,
        receive: impl Fn(&dyn Peer, &Kept) -> Result<T>,
    ) -> Option<T> {
        for peer in &self.peers {
            let receive = || -> Result<Option<T>> {
                let Some(bytes) = peer.result(shelf, action)? else { return Ok(None) };
                let kept = decode(&bytes).context("what it has is not a result")?;
                receive(peer.as_ref(), &kept).map(Some)
            };
            match receive() {
                Ok(None) => {}
                Ok(some) => return some,
                Err(error) => progress.note(&format!(
                    "nothing is taken from `{}` for the action {}: {error:#}",
                    peer.name(),
                    &action.hex()[..16]
                )),
            }
        }
        None
    }

    /// Brings what a result names, with all that it reaches.
    fn bring_outputs(&self, peer: &dyn Peer, kept: &Kept) -> Result<()> {
        // All directories in one, which saves a request for each.
        if let Some(tree) = kept.tree.filter(|_| !self.contains(&kept.result.outputs)) {
            ensure!(tree.size <= LARGEST_MESSAGE, "its outputs have too many directories");
            self.bring_all(peer, &[tree])?;
            unpack_tree(self, &tree)?;
        }
        let mut directories = HashSet::from([kept.result.outputs]);
        let mut files: HashSet<Digest> = kept.result.log.into_iter().collect();
        let mut level = vec![kept.result.outputs];
        while !level.is_empty() {
            self.bring_all(peer, &level)?;
            let mut below = Vec::new();
            for directory in &level {
                for_each(self, directory, &mut |child| match child {
                    Child::Directory(digest) => below.extend(directories.insert(digest).then_some(digest)),
                    Child::File(digest) => {
                        files.insert(digest);
                    }
                })?;
            }
            ensure!(directories.len() + files.len() <= MOST_ENTRIES, "its outputs have too many entries");
            level = below;
        }
        self.bring_all(peer, &files.into_iter().collect::<Vec<_>>())?;
        // Depth, names and the number of entries.
        crate::Tree::read(self, &kept.result.outputs).map(drop)
    }

    /// Brings the blobs that are not here. Afterwards all are.
    pub(crate) fn bring_all(&self, peer: &dyn Peer, blobs: &[Digest]) -> Result<()> {
        if blobs.iter().any(|blob| is_empty(&blob.sha256)) {
            self.put_bytes(b"")?;
        }
        let missing: Vec<Digest> = blobs.iter().copied().filter(|blob| !self.contains(blob)).collect();
        let size = missing.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.size));
        let free = self.free_bytes()?;
        ensure!(
            size <= free,
            "what is wanted has {} MB, and the disk of the store has {} MB free",
            size / 1_000_000,
            free / 1_000_000
        );
        if !missing.is_empty() {
            peer.bring(self, &missing)?;
        }
        match missing.iter().find(|blob| !self.contains(blob)) {
            Some(blob) => bail!("it lacks the blob {blob}"),
            None => Ok(()),
        }
    }

    /// What somebody said that work gives, if the root of it is here.
    fn claim(&self, work: &Digest) -> Option<Promise> {
        let outputs = self.peek_claim(work)?.result.outputs;
        self.contains(&outputs).then_some(Promise { outputs, whole: false })
    }

    pub(crate) fn peek_claim(&self, work: &Digest) -> Option<Kept> {
        decode(&store_file::read(&self.root.join(Shelf::Claim.path(work))).ok()?)
    }

    pub(crate) fn put_claim(&self, work: &Digest, outputs: &Digest, from: String) -> Result<()> {
        let result = ActionResult { outputs: *outputs, log: None };
        let kept = Kept { result, tree: None, from: Some(from) };
        let lock = self.lock.as_ref().context("the store has no lock")?;
        rustix::fs::syncfs(lock).with_hint(|| self.write_error())?;
        crate::store_file::make_directory(&self.root.join("claims"))?;
        self.write_note(&self.root.join(Shelf::Claim.path(work)), &kept.encode())
    }
}

/// What stands in a directory.
pub(crate) enum Child {
    Directory(Digest),
    File(Digest),
}

/// The name that a result is imported by: whom it comes from, and whom that one had it from.
pub(crate) fn named(peer: &str, before: Option<&str>) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || " ,._-".contains(*c);
    let before: String = before.unwrap_or_default().chars().filter(is_plain).collect();
    let mut name = match before.trim_matches(END) {
        "" => peer.to_owned(),
        before => format!("{peer}, which had it from {before}"),
    };
    name.truncate(LONGEST_NAME);
    name.truncate(name.trim_end_matches(END).len());
    name
}

/// A directory with the layout of a store: a store of somebody else, or what an exported archive unpacks to. Nothing is locked
/// or written there.
pub struct DirectoryPeer {
    name: String,
    root: PathBuf,
}

impl DirectoryPeer {
    /// # Errors
    /// If there is no such directory, or it has no results.
    pub fn open(name: &str, root: &Path) -> Result<Self> {
        let has_results = ["ac", "claims"].iter().any(|shelf| root.join(shelf).is_dir());
        ensure!(
            has_results && root.join("cas/sha256").is_dir(),
            hinted(
                format!("{} is neither a store nor an unpacked archive of results", root.display()),
                "`cargo xtask store export` writes such archives"
            )
        );
        Ok(Self { name: name.to_owned(), root: root.to_owned() })
    }
}

impl Peer for DirectoryPeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn result(&self, shelf: Shelf, action: &Digest) -> Result<Option<Vec<u8>>> {
        let path = self.root.join(shelf.path(action));
        match store_file::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn bring(&self, store: &Store, blobs: &[Digest]) -> Result<()> {
        blobs.par_iter().try_for_each(|blob| {
            let path = self.root.join(blob_path(blob));
            let reading = || format!("cannot read {}", path.display());
            let (file, metadata) = store_file::open(&path).with_context(reading)?;
            drop(file);
            ensure!(metadata.len() == blob.size, "{} is damaged: it has another size", path.display());
            let found = store.put_file(&path)?;
            ensure!(found == *blob, "{} is damaged: it has the SHA-256 {}", path.display(), found.hex());
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_went_through_many_hands_says_so_and_no_more() {
        assert_eq!(named("a", None), "a");
        let twice = named("b", Some(&named("a", None)));
        assert_eq!(twice, "b, which had it from a");
        assert_eq!(named("a", Some("x/../\u{202e}y\n")), "a, which had it from x..y");
        assert!(named("a", Some(&"x".repeat(1000))).len() <= LONGEST_NAME);
        assert_eq!(named("a", Some("...")), "a");
    }
}

//! What goes: `gc`. And what is there: `du`.

use crate::{
    Digest, Progress, Reference, Retention, Store,
    directory::Reached,
    message::from_message,
    removal::remove_tree,
    result::decode,
    shelf::{entries, shelves},
    store_file, temporary,
    work_lock::{Holder, wait_for},
};
use anyhow::{Context, Result};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

/// What `gc` removed, or would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Action results removed.
    pub results: u64,
    /// The actions whose results they are, by their hexadecimal SHA-256.
    pub actions: Vec<String>,
    /// Checkouts removed.
    pub checkouts: u64,
    /// Directories in `tmp/` of processes that have ended.
    pub temporary: u64,
    /// What did not belong into the store, and is removed: links, pipes, directories in place of files.
    pub foreign: u64,
    /// What could not be removed, and why.
    pub left: Vec<String>,
}

/// What the store holds: number and bytes of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Kind to (number, bytes).
    pub kinds: BTreeMap<String, (u64, u64)>,
}

/// A collection under way.
struct Collection<'a> {
    store: &'a Store,
    marked: HashSet<String>,
    dry_run: bool,
    collected: Collected,
}

impl Store {
    /// Removes everything that neither `kept` nor a root reaches: blobs, results, checkouts; and quarantine, unfinished
    /// downloads and what processes left that have ended. A result stays when it is named, or when its output tree is reached.
    /// Waits until no other process has the store open; other threads must not write to this [`Store`] meanwhile. A dry run
    /// waits for nobody and changes nothing.
    pub fn collect_garbage(
        &self,
        kept: &[Reference],
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<Collected> {
        self.collect_garbage_but(kept, &Retention::default(), dry_run, progress)
    }

    /// As [`Store::collect_garbage`], of what is not retained either.
    pub fn collect_garbage_but(
        &self,
        kept: &[Reference],
        retention: &Retention,
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<Collected> {
        if dry_run {
            return self.collect_alone(kept, retention, true);
        }
        let own = self.writable()?;
        let lock = self.lock.as_ref().context("the store has no lock")?;
        let others = |_: &Path| temporary::living(&self.root.join("tmp"), own);
        let path = self.root.join("lock");
        wait_for(&path, || lock.try_lock(), others, &|text| progress.note(text))?;
        // The lock has one file for all; who collects garbage says so in it, for those who want to open the store.
        let mut words = store_file::open_or_create(&path, false).context("cannot open the store's lock")?;
        Holder::write(&mut words, "collecting garbage").context("cannot write the store's lock")?;
        let collected = self.collect_alone(kept, retention, dry_run);
        words.set_len(0).context("cannot write the store's lock")?;
        lock.lock_shared().context("cannot share the store again")?;
        collected
    }

    fn collect_alone(&self, kept: &[Reference], retention: &Retention, dry_run: bool) -> Result<Collected> {
        let mut marked = self.mark_all(kept)?;
        if *retention != Retention::default() {
            self.mark_retained(&mut marked, retention)?;
        }
        let mut collection = Collection { store: self, marked, dry_run, collected: Collected::default() };
        // Names before blobs: a process killed in between leaves blobs without a name, never the other way round.
        collection.results()?;
        collection.derived()?;
        collection.left_behind();
        collection.blobs()?;
        if !dry_run {
            let marked = &collection.marked;
            self.shorten_hashed(&|name| marked.contains(name.split(' ').next().unwrap_or_default()))?;
        }
        Ok(collection.collected)
    }

    /// What stays, by hexadecimal SHA-256: blobs, and actions whose results stay. What is missing already is not an error.
    fn mark_all(&self, kept: &[Reference]) -> Result<HashSet<String>> {
        let mut references = kept.to_vec();
        references.extend(self.roots()?.into_iter().flat_map(|(_, named)| named));
        let mut marked = HashSet::new();
        let mut reached = Reached::default();
        for reference in &references {
            match reference {
                Reference::Blob(digest) => {
                    marked.insert(digest.hex());
                }
                Reference::Tree(digest) => {
                    marked.insert(digest.hex());
                    reached.add(self, digest)?;
                }
                Reference::Action(digest) => {
                    marked.insert(digest.hex());
                    if let Some((command, input_root)) = self.peek_action(digest) {
                        marked.insert(command.hex());
                        reached.add(self, &input_root)?;
                    }
                    if let Some(kept) = self.peek_result(digest) {
                        marked.extend(kept.blobs().map(|blob| blob.hex()));
                        reached.add(self, &kept.result.outputs)?;
                    }
                }
            }
        }
        marked.extend(reached.directories.iter().chain(&reached.files).map(Digest::hex));
        // A result whose outputs are here for another reason costs nothing, and saves doing the work again. Its action says
        // what it was made from.
        for found in shelves(&self.root.join("ac"))?.files {
            let Some(kept) = store_file::read(&found.path).ok().and_then(|bytes| decode(&bytes)) else {
                continue;
            };
            if reached.directories.contains(&kept.result.outputs) {
                let action = Digest { sha256: found.id, size: 0 };
                marked.extend(kept.blobs().map(|blob| blob.hex()));
                marked.extend(self.peek_action(&action).map(|(command, _)| command.hex()));
                marked.insert(action.hex());
            }
        }
        Ok(marked)
    }

    /// The command and the input root of an action.
    pub(crate) fn peek_action(&self, action: &Digest) -> Option<(Digest, Digest)> {
        let action = reapi::Action::decode(self.peek_id(&action.sha256)?.as_slice()).ok()?;
        let command = from_message(action.command_digest.as_ref()).ok()?;
        Some((command, from_message(action.input_root_digest.as_ref()).ok()?))
    }

    /// How much the store holds. Checkouts count their directories only: their files are the blobs'.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        let sum = |paths: &mut dyn Iterator<Item = PathBuf>| {
            paths.fold((0, 0), |(number, bytes), path| {
                (number + 1, bytes + std::fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len()))
            })
        };
        for (kind, directory) in
            [("blobs", "cas/sha256"), ("executable blobs", "cas/sha256-x"), ("results", "ac")]
        {
            let found = shelves(&self.root.join(directory))?;
            let mut paths = found.files.into_iter().map(|found| found.path);
            usage.kinds.insert(kind.to_owned(), sum(&mut paths));
        }
        let downloads = entries(&self.root.join("downloads"))?;
        let mut paths = downloads.into_iter().map(|(path, _)| path);
        usage.kinds.insert("unfinished downloads".to_owned(), sum(&mut paths));
        for kind in ["checkouts", "quarantine"] {
            usage.kinds.insert(kind.to_owned(), (entries(&self.root.join(kind))?.len() as u64, 0));
        }
        let left = temporary::left_behind(&self.root.join("tmp"), None, false);
        usage.kinds.insert("left behind".to_owned(), (left.len() as u64, 0));
        Ok(usage)
    }
}

impl Collection<'_> {
    fn is_marked(&self, path: &Path) -> bool {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| self.marked.contains(name))
    }

    fn results(&mut self) -> Result<()> {
        let found = shelves(&self.store.root.join("ac"))?;
        for path in found
            .files
            .into_iter()
            .map(|found| found.path)
            .filter(|path| !self.is_marked(path))
            .collect::<Vec<_>>()
        {
            self.collected.results += 1;
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            self.collected.actions.push(name.to_owned());
            self.remove(&path)?;
        }
        self.foreign(found.foreign);
        // A claim is of use as long as what was made from it stays: that holds the root of its outputs.
        let found = shelves(&self.store.root.join("claims"))?;
        for claim in found.files {
            let kept = store_file::read(&claim.path).ok().and_then(|bytes| decode(&bytes));
            let is_used = kept.is_some_and(|kept| self.marked.contains(&kept.result.outputs.hex()));
            if !is_used {
                self.collected.results += 1;
                self.remove(&claim.path)?;
            }
        }
        self.foreign(found.foreign);
        Ok(())
    }

    /// What can be made anew from blobs, and what is of no more use.
    fn derived(&mut self) -> Result<()> {
        for directory in ["checkouts", "quarantine", "locks", "downloads"] {
            for (path, _) in entries(&self.store.root.join(directory))? {
                if matches!(directory, "checkouts" | "locks") && self.is_marked(&path) {
                    continue;
                }
                self.collected.checkouts += u64::from(directory == "checkouts");
                self.remove_all(&path);
            }
        }
        // What the Nix backend imported.
        self.remove_all(&self.store.root.join("nix"));
        Ok(())
    }

    fn left_behind(&mut self) {
        let own = self.store.writable().ok().map(Path::to_owned);
        let is_alone = !self.dry_run;
        for directory in temporary::left_behind(&self.store.root.join("tmp"), own.as_deref(), is_alone) {
            self.collected.temporary += 1;
            self.remove_all(&directory);
            self.remove_all(&directory.with_extension("lock"));
        }
    }

    fn blobs(&mut self) -> Result<()> {
        for kind in ["cas/sha256", "cas/sha256-x"] {
            let found = shelves(&self.store.root.join(kind))?;
            for path in found.files.into_iter().map(|found| found.path) {
                if !self.is_marked(&path) {
                    self.collected.blobs += 1;
                    self.collected.bytes +=
                        std::fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
                    self.remove(&path)?;
                }
            }
            self.foreign(found.foreign);
        }
        Ok(())
    }

    fn foreign(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            self.collected.foreign += 1;
            self.remove_all(&path);
        }
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match self.dry_run {
            true => Ok(()),
            false => std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// Removes something whatever it is. What can't be removed keeps nothing else from being removed.
    fn remove_all(&mut self, path: &Path) {
        if self.dry_run {
            return;
        }
        if let Err(error) = remove_tree(path) {
            self.collected.left.push(format!("{}: {error}", path.display()));
        }
    }
}

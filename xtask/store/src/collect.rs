//! What is kept, what goes, and whether all is well: `gc`, `fsck`, `du`.

use crate::{Damaged, Digest, Entry, Progress, Store, Tree, Unit, result::decode};
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// Something that must stay in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// A blob.
    Blob(Digest),
    /// A tree, with all that is in it.
    Tree(Digest),
    /// An action: its messages, its input tree, its result with outputs and log.
    Action(Digest),
}

/// What `gc` removed, or would remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Action results removed.
    pub results: u64,
    /// Checkouts removed.
    pub checkouts: u64,
}

/// What `fsck` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// Blobs whose content was hashed.
    pub blobs: u64,
    /// Blobs that are not what their name says; they are in quarantine now.
    pub damaged: Vec<String>,
    /// Action results that named something missing; they are removed.
    pub incomplete: Vec<String>,
}

/// What the store holds: number and bytes of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Kind to (number, bytes).
    pub kinds: BTreeMap<String, (u64, u64)>,
}

impl Store {
    /// Names what must stay, under a name that can be given again to replace it.
    pub fn add_root(&self, name: &str, references: &[Reference]) -> Result<()> {
        ensure!(
            !name.is_empty() && !name.contains('/') && !name.starts_with('.'),
            "`{name}` can't name a root"
        );
        let mut file = self.temporary_file()?;
        serde_json::to_writer(&mut file, references)?;
        file.flush()?;
        file.as_file().sync_all().with_context(|| self.write_error())?;
        file.persist(self.root.join("roots").join(name)).with_context(|| self.write_error())?;
        Ok(())
    }

    /// Removes everything that neither `kept` nor a root reaches: blobs, results, checkouts, quarantine. A result
    /// stays when it is named, or when its output tree is reached. Waits until no other process has the store open.
    pub fn collect_garbage(
        &self,
        kept: &[Reference],
        dry_run: bool,
        progress: &dyn Progress,
    ) -> Result<Collected> {
        if self.lock.try_lock().is_err() {
            progress.note("waiting for other processes that have the store open");
            self.lock.lock().context("cannot lock the store")?;
        }
        let mut marked = HashSet::new();
        for reference in kept {
            self.mark(reference, &mut marked)?;
        }
        for path in files(&self.root.join("roots"))? {
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let references: Vec<Reference> = serde_json::from_slice(&text).with_context(|| {
                format!("{} is damaged\n  hint: remove it, and make its release again", path.display())
            })?;
            for reference in references {
                self.mark(&reference, &mut marked)?;
            }
        }
        let mut collected = Collected::default();
        let remove = |path: &Path| match dry_run {
            true => Ok(()),
            false => std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display())),
        };
        // Results before blobs: a process killed in between leaves blobs without a name, never the other way round.
        for path in files(&self.root.join("ac"))? {
            let result = std::fs::read(&path).ok().and_then(|bytes| decode(&bytes));
            let named =
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| marked.contains(name));
            match result {
                Some(result) if named || marked.contains(&result.outputs.hex()) => {
                    marked.extend(result.log.map(|log| log.hex()));
                }
                _ => {
                    collected.results += 1;
                    remove(&path)?;
                }
            }
        }
        for directory in ["checkouts", "quarantine", "history", "locks"] {
            for entry in std::fs::read_dir(self.root.join(directory)).into_iter().flatten().flatten() {
                let path = entry.path();
                let stays = entry.file_name().to_str().is_some_and(|name| marked.contains(name));
                if directory == "history" || stays {
                    continue;
                }
                collected.checkouts += u64::from(directory == "checkouts");
                if !dry_run && path.is_dir() {
                    std::fs::remove_dir_all(&path)
                        .with_context(|| format!("cannot remove {}", path.display()))?;
                } else {
                    remove(&path)?;
                }
            }
        }
        for path in files(&self.root.join("cas"))? {
            if !path.file_name().and_then(|name| name.to_str()).is_some_and(|name| marked.contains(name)) {
                collected.blobs += 1;
                collected.bytes += std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                remove(&path)?;
            }
        }
        self.lock.lock_shared().context("cannot share the store again")?;
        Ok(collected)
    }

    /// Marks what a reference reaches, by hexadecimal SHA-256. What is missing already is no error.
    fn mark(&self, reference: &Reference, marked: &mut HashSet<String>) -> Result<()> {
        match reference {
            Reference::Blob(digest) => {
                marked.insert(digest.hex());
            }
            Reference::Tree(digest) => self.mark_tree(digest, marked)?,
            Reference::Action(digest) => {
                marked.insert(digest.hex());
                if let Ok(action) = crate::Action::read(self, digest) {
                    marked.insert(action.command_digest().hex());
                    if let Some(input_root) = action.input_root {
                        self.mark_tree(&input_root, marked)?;
                    }
                }
                if let Ok(Some(result)) = self.result(digest) {
                    self.mark_tree(&result.outputs, marked)?;
                    marked.extend(result.log.map(|log| log.hex()));
                }
            }
        }
        Ok(())
    }

    fn mark_tree(&self, root: &Digest, marked: &mut HashSet<String>) -> Result<()> {
        if !marked.insert(root.hex()) {
            return Ok(());
        }
        match Tree::read_with(self, root, &mut |directory| {
            marked.insert(directory.hex());
        }) {
            Ok(tree) => {
                for (_, entry) in tree.iter() {
                    if let Entry::File { digest, .. } = entry {
                        marked.insert(digest.hex());
                    }
                }
                Ok(())
            }
            Err(error) if error.is::<Damaged>() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Hashes every blob and looks for everything that results name. Damaged blobs go to quarantine, results that lack
    /// something are removed, so that the next build makes them again.
    pub fn examine(&self, progress: &dyn Progress) -> Result<Examined> {
        let blobs = files(&self.root.join("cas"))?;
        let meter = progress.begin("hashing blobs", blobs.len() as u64, Unit::Items);
        let damaged: Vec<String> = blobs
            .par_iter()
            .map(|path| {
                let actual = Digest::of_file(path)?;
                meter.add(1);
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if actual.hex() == name {
                    return Ok(None);
                }
                self.quarantine_file(name, path)?;
                Ok(Some(name.to_owned()))
            })
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?;
        let mut examined = Examined { blobs: blobs.len() as u64, damaged, incomplete: Vec::new() };
        for path in files(&self.root.join("ac"))? {
            let complete = match std::fs::read(&path).ok().and_then(|bytes| decode(&bytes)) {
                Some(result) => self.is_complete(&result)?,
                None => false,
            };
            if !complete {
                std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                examined
                    .incomplete
                    .extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
            }
        }
        match std::fs::remove_file(self.root.join("incomplete")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context("cannot clear the store's mark")
            }
            _ => Ok(examined),
        }
    }

    fn quarantine_file(&self, name: &str, path: &Path) -> Result<()> {
        match Digest::from_hex(name, 0) {
            Ok(digest) => self.quarantine(&digest, path),
            Err(_) => std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// How much the store holds. Checkouts count their directories only: their files are the blobs'.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for (kind, directory) in
            [("blobs", "cas/sha256"), ("executable blobs", "cas/sha256-x"), ("results", "ac")]
        {
            let mut sum = (0, 0);
            for path in files(&self.root.join(directory))? {
                sum = (sum.0 + 1, sum.1 + std::fs::metadata(&path).map_or(0, |metadata| metadata.len()));
            }
            usage.kinds.insert(kind.to_owned(), sum);
        }
        let checkouts = std::fs::read_dir(self.root.join("checkouts"))?.count() as u64;
        usage.kinds.insert("checkouts".to_owned(), (checkouts, 0));
        Ok(usage)
    }
}

/// All files below a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => found.extend(files(&entry.path())?),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    Ok(found)
}

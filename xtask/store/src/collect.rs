//! What is kept, what goes, and whether all is well: `gc`, `fsck`, `du`.

use crate::{
    Digest, Progress, Store, Unit,
    blob::{is_stamped, stamp},
    directory::Reached,
    result::decode,
};
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fs::Permissions,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
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
    /// An action: its messages, its input tree (which holds the environment and, at `build/src`, the sources), its result
    /// with outputs and log.
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
        self.write_note(&self.root_place(name)?, &serde_json::to_vec(references)?)
    }

    /// Lets go of what a root kept. Nothing happens where there is no such root.
    pub fn remove_root(&self, name: &str) -> Result<()> {
        match std::fs::remove_file(self.root_place(name)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove the root `{name}`"))
            }
            _ => Ok(()),
        }
    }

    fn root_place(&self, name: &str) -> Result<PathBuf> {
        ensure!(
            !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.'),
            "`{}` can't name a root",
            name.escape_debug()
        );
        Ok(self.root.join("roots").join(name))
    }

    /// Removes everything that neither `kept` nor a root reaches: blobs, results, checkouts; and quarantine and
    /// unfinished downloads. A result stays when it is named, or when its output tree is reached. Waits until no other
    /// process has the store open; other threads must not write to this [`Store`] meanwhile.
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
        let collected = self.collect_alone(kept, dry_run);
        self.lock.lock_shared().context("cannot share the store again")?;
        collected
    }

    fn collect_alone(&self, kept: &[Reference], dry_run: bool) -> Result<Collected> {
        let marked = self.mark_all(kept)?;
        let is_marked = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| marked.contains(name))
        };
        let remove = |path: &Path| match dry_run {
            true => Ok(()),
            false => std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display())),
        };
        let mut collected = Collected::default();
        // Names before blobs: a process killed in between leaves blobs without a name, never the other way round.
        for path in files(&self.root.join("ac"))? {
            if !is_marked(&path) {
                collected.results += 1;
                remove(&path)?;
            }
        }
        for directory in ["checkouts", "quarantine", "locks", "downloads"] {
            for (path, is_directory) in entries(&self.root.join(directory))? {
                if matches!(directory, "checkouts" | "locks") && is_marked(&path) {
                    continue;
                }
                collected.checkouts += u64::from(directory == "checkouts");
                match is_directory {
                    true if dry_run => {}
                    true => std::fs::remove_dir_all(&path)
                        .with_context(|| format!("cannot remove {}", path.display()))?,
                    false => remove(&path)?,
                }
            }
        }
        // What the Nix backend imported: made anew when it is wanted, as checkouts are.
        let imported = self.root.join("nix");
        if imported.exists() && !dry_run {
            remove_read_only(&imported).with_context(|| format!("cannot remove {}", imported.display()))?;
        }
        for path in files(&self.root.join("cas"))? {
            if !is_marked(&path) {
                collected.blobs += 1;
                collected.bytes += std::fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
                remove(&path)?;
            }
        }
        Ok(collected)
    }

    /// What stays, by hexadecimal SHA-256: blobs, and actions whose results stay. What is missing already is no error.
    fn mark_all(&self, kept: &[Reference]) -> Result<HashSet<String>> {
        let mut references = kept.to_vec();
        for path in files(&self.root.join("roots"))? {
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let named: Vec<Reference> = serde_json::from_slice(&text).with_context(|| {
                format!("{} is damaged\n  hint: remove it, and make its release again", path.display())
            })?;
            references.extend(named);
        }
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
                    if let Ok(action) = crate::Action::read(self, digest) {
                        marked.insert(action.command_digest().hex());
                        if let Some(input_root) = action.input_root {
                            reached.add(self, &input_root)?;
                        }
                    }
                    if let Ok(Some(result)) = self.result(digest) {
                        // Its other blobs are marked below, as those of every result whose outputs stay.
                        reached.add(self, &result.outputs)?;
                    }
                }
            }
        }
        marked.extend(reached.directories.iter().chain(&reached.files).map(Digest::hex));
        // A result whose outputs are here for another reason costs nothing, and saves doing the work again.
        for path in files(&self.root.join("ac"))? {
            let Some(kept) = std::fs::read(&path).ok().and_then(|bytes| decode(&bytes)) else { continue };
            if reached.directories.contains(&kept.result.outputs) {
                marked.extend(kept.blobs().map(|blob| blob.hex()));
                marked.extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
            }
        }
        Ok(marked)
    }

    /// Hashes every blob and looks for everything that results name. Damaged blobs go to quarantine, results that lack
    /// something are removed, so that the next build makes them again.
    pub fn examine(&self, progress: &dyn Progress) -> Result<Examined> {
        let blobs = files(&self.root.join("cas"))?;
        let meter = progress.begin("hashing blobs", blobs.len() as u64, Unit::Items);
        let damaged: Vec<String> = blobs
            .par_iter()
            .map(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let sound = self.is_sound(path, name)?;
                meter.add(1);
                if sound {
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
                Some(kept) => self.is_complete(&kept)?,
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

    /// Whether a blob's content is what its name says; its stamp is then renewed where it does not fit. A blob that
    /// another process took away meanwhile is nobody's damage.
    fn is_sound(&self, path: &Path, name: &str) -> Result<bool> {
        let digest = match Digest::of_file(path) {
            Ok(digest) => digest,
            Err(_) if !path.exists() => return Ok(true),
            Err(error) => return Err(error),
        };
        if digest.hex() != name {
            return Ok(false);
        }
        let metadata =
            std::fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        if !is_stamped(&metadata, &digest) {
            stamp(path, path.starts_with(self.root.join("cas/sha256-x")))?;
        }
        Ok(true)
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
        for (kind, directory) in [
            ("blobs", "cas/sha256"),
            ("executable blobs", "cas/sha256-x"),
            ("results", "ac"),
            ("unfinished downloads", "downloads"),
        ] {
            let mut sum = (0, 0);
            for path in files(&self.root.join(directory))? {
                sum = (
                    sum.0 + 1,
                    sum.1 + std::fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len()),
                );
            }
            usage.kinds.insert(kind.to_owned(), sum);
        }
        for kind in ["checkouts", "quarantine"] {
            usage.kinds.insert(kind.to_owned(), (entries(&self.root.join(kind))?.len() as u64, 0));
        }
        Ok(usage)
    }
}

/// What stands in a directory, in order, and whether it is a directory; nothing where there is none.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let listed = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(|entries| {
            entries
                .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir()))))
                .collect::<std::io::Result<Vec<_>>>()
        }),
    };
    let mut found = listed.with_context(|| format!("cannot list {}", directory.display()))?;
    found.sort();
    Ok(found)
}

/// All files below a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for (path, is_directory) in entries(directory)? {
        match is_directory {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}
/// Removes a tree whose directories may not be written to, as those of a Nix store.
fn remove_read_only(directory: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => remove_read_only(&entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    std::fs::remove_dir(directory)
}

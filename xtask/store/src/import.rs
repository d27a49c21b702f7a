//! Directories of the file system to trees.

use crate::{Digest, Entry, Store, Tree, hinted, tree::check_path};
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use std::{
    fs::{Metadata, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

impl Tree {
    /// The tree of a directory of the file system, hashed on all processors; nothing is kept. Errors: devices,
    /// sockets, pipes, names or links that are not UTF-8, more than 256 directories below each other.
    pub fn of_directory(directory: &Path) -> Result<Self> {
        tree_of(walk(directory, Access::AsItIs)?, &Digest::of_file)
    }
}

impl Store {
    /// Imports a directory of the file system as a tree. Errors: as [`Tree::of_directory`], files that change while they are
    /// read.
    pub fn import(&self, directory: &Path) -> Result<Tree> {
        tree_of(walk(directory, Access::AsItIs)?, &|path| self.put_file(path))
    }

    /// Imports what a build wrote to a directory of its own, which is removed afterwards.
    ///
    /// As [`Store::import`], and for whoever runs us: what the build made unreadable (mode 000) is made readable first.
    ///
    /// # Errors
    /// As [`Store::import`]. If the files have more bytes than `most`, holes included, or than the disk has left; both are
    /// asked before anything is read.
    pub fn import_outputs(&self, directory: &Path, most: Option<u64>) -> Result<Tree> {
        let found = walk(directory, Access::Gain)?;
        self.check_size(&found, most)?;
        tree_of(found, &|path| self.put_file(path))
    }

    /// As [`Store::import_outputs`], of a directory that somebody keeps and nobody may change, as in Nix's store.
    ///
    /// # Errors
    /// As there.
    pub fn import_kept_outputs(&self, directory: &Path, most: Option<u64>) -> Result<Tree> {
        let found = walk(directory, Access::AsItIs)?;
        self.check_size(&found, most)?;
        tree_of(found, &|path| self.put_file(path))
    }

    fn check_size(&self, found: &[Found], most: Option<u64>) -> Result<()> {
        let files = found.iter().filter(|found| found.metadata.is_file());
        let (mut bytes, mut allocated) = (0_u64, 0_u64);
        for found in files.clone() {
            bytes = bytes.saturating_add(found.metadata.len());
            allocated = allocated.saturating_add(found.metadata.blocks().saturating_mul(512));
        }
        let free = self.free_bytes()?;
        // What shares its blocks with the blob needs no second place.
        let room = if self.may_clone() { free.saturating_add(allocated) } else { free };
        let Some(largest) = files.max_by_key(|found| found.metadata.len()) else { return Ok(()) };
        let largest = format!("`{}` has {}", largest.path.escape_debug(), size(largest.metadata.len()));
        ensure!(
            most.is_none_or(|most| bytes <= most),
            hinted(
                format!(
                    "the outputs are too large: {}, of which {largest}; the limit `outputs` is {}",
                    size(bytes),
                    size(most.unwrap_or_default())
                ),
                "holes of a sparse file count as well; write less, or raise the limit"
            )
        );
        ensure!(
            bytes <= room,
            hinted(
                format!(
                    "the outputs are too large to keep: {}, of which {largest}; the store {} has room for {}",
                    size(bytes),
                    self.root.display(),
                    size(room)
                ),
                "holes of a sparse file count as well; write less, \
                 free some space, or choose a store on a larger disk with `--store`"
            )
        );
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// Something below a directory that is imported.
struct Found {
    /// From that directory.
    path: String,
    full: PathBuf,
    metadata: Metadata,
}

/// What is done about modes that keep their owner out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// They are left as they are.
    AsItIs,
    /// They are changed.
    Gain,
}

fn tree_of(found: Vec<Found>, file: &(impl Fn(&Path) -> Result<Digest> + Sync)) -> Result<Tree> {
    let entries: Vec<(String, Entry)> = found
        .into_par_iter()
        .map(|found| Ok((found.path, entry(&found.full, &found.metadata, file)?)))
        .collect::<Result<_>>()?;
    let mut tree = Tree::new();
    for (path, entry) in entries {
        tree.insert(&path, entry)?;
    }
    Ok(tree)
}

fn entry(path: &Path, metadata: &Metadata, file: &impl Fn(&Path) -> Result<Digest>) -> Result<Entry> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        let target =
            std::fs::read_link(path).with_context(|| format!("cannot read the link {}", path.display()))?;
        let target = target.to_str().with_context(|| format!("the link {} is not UTF-8", path.display()))?;
        return Ok(Entry::Symlink { target: target.to_owned() });
    }
    if kind.is_dir() {
        return Ok(Entry::Directory);
    }
    let executable = metadata.permissions().mode() & 0o100 != 0;
    Ok(Entry::File { digest: file(path)?, executable })
}

/// All that is below a directory. How deep it is costs neither stack nor open files; what is too deep for a tree is refused
/// at once, before the file system would refuse its path.
fn walk(directory: &Path, access: Access) -> Result<Vec<Found>> {
    if access == Access::Gain {
        std::fs::set_permissions(directory, Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} readable", directory.display()))?;
    }
    let mut found = Vec::new();
    let mut pending = vec![(directory.to_owned(), String::new())];
    while let Some((directory, prefix)) = pending.pop() {
        let listing = || format!("cannot list {}", directory.display());
        for entry in std::fs::read_dir(&directory).with_context(listing)? {
            let entry = entry.with_context(listing)?;
            let (full, name) = (entry.path(), entry.file_name());
            let name = name.to_str().with_context(|| format!("the name {} is not UTF-8", full.display()))?;
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            check_path(&path)?;
            let metadata = std::fs::symlink_metadata(&full)
                .with_context(|| format!("cannot look at {}", full.display()))?;
            let kind = metadata.file_type();
            ensure!(
                kind.is_file() || kind.is_dir() || kind.is_symlink(),
                "{} is neither file, directory nor link",
                full.display()
            );
            let needed = if kind.is_dir() { 0o500 } else { 0o400 };
            let mode = metadata.permissions().mode();
            if access == Access::Gain && !kind.is_symlink() && mode & needed != needed {
                std::fs::set_permissions(&full, Permissions::from_mode(mode & 0o777 | needed))
                    .with_context(|| format!("cannot make {} readable", full.display()))?;
            }
            if kind.is_dir() {
                pending.push((full.clone(), path.clone()));
            }
            found.push(Found { path, full, metadata });
        }
    }
    Ok(found)
}

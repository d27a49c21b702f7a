//! Trees to and from directories of the file system.

use crate::{
    Digest, Entry, Progress, Store, Tree, Unit,
    blob::{has_blob_time, is_stamped, set_time, stamp},
};
use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions, Permissions},
    io::ErrorKind,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

impl Tree {
    /// The tree of a directory of the file system, hashed on all processors; nothing is kept. Errors: devices,
    /// sockets, pipes, names or links that are not UTF-8.
    pub fn of_directory(directory: &Path) -> Result<Self> {
        of_directory(directory, &Digest::of_file)
    }
}

impl Store {
    /// Imports a directory of the file system as a tree. Errors: devices, sockets, pipes, names or links that are not
    /// UTF-8, files that change while they are read.
    pub fn import(&self, directory: &Path) -> Result<Tree> {
        of_directory(directory, &|path| self.put_file(path))
    }

    /// Writes a tree to `destination`, which must not exist: read-only files, fixed times.
    ///
    /// Files share the blobs' blocks where the file system can (a reflink: what is done to them does not reach the
    /// blob). Else they are hard links, which take no space either. Where the file system has no more links for a blob,
    /// or the destination is on another one, the blob is copied.
    pub fn materialise(&self, tree: &Tree, destination: &Path) -> Result<()> {
        std::fs::create_dir(destination)
            .with_context(|| format!("cannot create {}", destination.display()))?;
        let directories = directories(tree);
        // Sorted, so that parents come first.
        for directory in &directories {
            let path = destination.join(directory);
            std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let entries: Vec<_> = tree.iter().collect();
        entries.par_iter().try_for_each(|(path, entry)| self.place_entry(entry, &destination.join(path)))?;
        for directory in directories.iter().rev() {
            finish_directory(&destination.join(directory))?;
        }
        finish_directory(destination)
    }

    /// A tree as files at `destination`, which must not exist: there whole, or not at all. As in
    /// [`Store::materialise`], its files may be links to blobs.
    pub fn export(&self, root: &Digest, destination: &Path) -> Result<()> {
        let parent = destination.parent().context("the root directory can't be written anew")?;
        let context = || format!("cannot write {}", destination.display());
        std::fs::create_dir_all(parent).with_context(context)?;
        let scratch = tempfile::Builder::new().prefix(".export-").tempdir_in(parent).with_context(context)?;
        let path = scratch.path().join("tree");
        self.materialise(&Tree::read(self, root)?, &path)?;
        std::fs::rename(&path, destination).with_context(context)
    }

    fn place_entry(&self, entry: &Entry, path: &Path) -> Result<()> {
        match entry {
            Entry::Directory => Ok(()),
            Entry::Symlink { target } => std::os::unix::fs::symlink(target, path)
                .and_then(|()| set_time(path))
                .with_context(|| format!("cannot create the link {}", path.display())),
            Entry::File { digest, executable } => {
                let blob = self.blob_path(digest, *executable)?;
                if self.may_clone() && self.place_clone(&blob, path, *executable)? {
                    return Ok(());
                }
                match std::fs::hard_link(&blob, path) {
                    Ok(()) => Ok(()),
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::TooManyLinks | ErrorKind::CrossesDevices | ErrorKind::PermissionDenied
                        ) =>
                    {
                        std::fs::copy(&blob, path)
                            .and_then(|_| set_time(path))
                            .with_context(|| format!("cannot copy a blob to {}", path.display()))
                    }
                    Err(error) => Err(error).with_context(|| format!("cannot create {}", path.display())),
                }
            }
        }
    }

    /// Places a clone of a blob; false where the file system has none, and then nothing is left at `path`.
    fn place_clone(&self, blob: &Path, path: &Path, executable: bool) -> Result<bool> {
        let from = File::open(blob).with_context(|| format!("cannot open {}", blob.display()))?;
        let to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        if self.clone_blocks(&from, &to) {
            return stamp(path, executable).map(|()| true);
        }
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        Ok(false)
    }

    /// A tree as files in `checkouts/HEX`, made once and kept. Several processes may ask for the same one at once.
    ///
    /// Before it is given out again it is compared with the tree, a `stat` for each file and directory: what changed
    /// since it was laid out is laid out anew. Errors: a blob that it needs is missing or damaged ([`crate::Damaged`]).
    pub fn checkout(&self, root: &Digest, progress: &dyn Progress) -> Result<PathBuf> {
        let place = self.root.join("checkouts").join(root.hex());
        let tree = Tree::read(self, root)?;
        if place.is_dir() {
            if is_laid_out(&tree, &place) {
                return Ok(place);
            }
            progress.note(&format!("{} was changed; it is laid out again", place.display()));
            self.set_aside(&place, "checkout")?;
        }
        let _meter = progress.begin(&format!("laying out tree {}", &root.hex()[..12]), 0, Unit::Items);
        let scratch = self.scratch()?;
        let path = scratch.path().join("tree");
        self.materialise(&tree, &path)?;
        match std::fs::rename(&path, &place) {
            // Another process was faster, with the same content.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => {
            }
            Err(error) => bail!("cannot keep the tree at {}: {error}", place.display()),
            Ok(()) => {}
        }
        Ok(place)
    }
}

/// All directories of a tree, parents first.
fn directories(tree: &Tree) -> BTreeSet<&str> {
    let mut directories = BTreeSet::new();
    for (path, entry) in tree.iter() {
        if matches!(entry, Entry::Directory) {
            directories.insert(path);
        }
        let mut parent = path;
        while let Some((above, _)) = parent.rsplit_once('/') {
            if !directories.insert(above) {
                break;
            }
            parent = above;
        }
    }
    directories
}

/// Whether `place` still is what [`Store::materialise`] made of the tree. A directory's time changes when something is
/// added, removed or replaced in it, a file's when it is written to.
fn is_laid_out(tree: &Tree, place: &Path) -> bool {
    let as_made = |path: &str| {
        std::fs::symlink_metadata(place.join(path))
            .is_ok_and(|metadata| metadata.is_dir() && has_blob_time(&metadata))
    };
    let entries: Vec<_> = tree.iter().collect();
    as_made("")
        && directories(tree).into_iter().all(as_made)
        && entries.par_iter().all(|(path, entry)| match entry {
            Entry::File { digest, .. } => std::fs::symlink_metadata(place.join(path))
                .is_ok_and(|metadata| is_stamped(&metadata, digest)),
            Entry::Symlink { .. } | Entry::Directory => true,
        })
}

fn of_directory(directory: &Path, file: &(impl Fn(&Path) -> Result<Digest> + Sync)) -> Result<Tree> {
    let mut found = Vec::new();
    walk(directory, "", &mut found)?;
    let entries: Vec<(String, Entry)> =
        found.into_par_iter().map(|(path, full)| Ok((path, entry(&full, file)?))).collect::<Result<_>>()?;
    let mut tree = Tree::new();
    for (path, entry) in entries {
        tree.insert(&path, entry)?;
    }
    Ok(tree)
}

fn entry(path: &Path, file: &impl Fn(&Path) -> Result<Digest>) -> Result<Entry> {
    let metadata =
        std::fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
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
    ensure!(kind.is_file(), "{} is neither file, directory nor link", path.display());
    let executable = metadata.permissions().mode() & 0o100 != 0;
    Ok(Entry::File { digest: file(path)?, executable })
}

/// Gives a directory its time, and a mode that does not depend on this process' mask.
fn finish_directory(path: &Path) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
        .and_then(|()| set_time(path))
        .with_context(|| format!("cannot set the mode and time of {}", path.display()))
}

fn walk(directory: &Path, prefix: &str, found: &mut Vec<(String, PathBuf)>) -> Result<()> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
        let name = entry.file_name();
        let name =
            name.to_str().with_context(|| format!("the name {} is not UTF-8", entry.path().display()))?;
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &path, found)?;
        }
        found.push((path, entry.path()));
    }
    Ok(())
}

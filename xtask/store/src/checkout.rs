//! Trees to directories of the file system.

use crate::{
    Digest, Entry, Progress, Store, Tree, Unit,
    blob::{has_blob_time, is_stamped, set_time, stamp},
    lookup::hashed_name,
    output::{is_same_file, sync_directory},
    sparse, store_file,
};
use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions, Permissions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

impl Store {
    /// Writes a tree to `destination`, which must not exist: read-only files, fixed times.
    ///
    /// Files share the blobs' blocks where the file system can (a reflink: what is done to them does not reach the
    /// blob). Else, inside the store (checkouts, the directories that builds run in), they are hard links, which take no
    /// space either. Everywhere else, and where the file system has no more links for a blob, the blob is copied: whoever
    /// writes to a file outside must not reach the store through it.
    pub fn materialise(&self, tree: &Tree, destination: &Path) -> Result<()> {
        std::fs::create_dir(destination)
            .with_context(|| format!("cannot create {}", destination.display()))?;
        let links = self.may_link(destination)?;
        let directories = directories(tree);
        // Sorted, so that parents come first.
        for directory in &directories {
            let path = destination.join(directory);
            std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let entries: Vec<_> = tree.iter().collect();
        entries
            .par_iter()
            .try_for_each(|(path, entry)| self.place_entry(entry, &destination.join(path), links))?;
        for directory in directories.iter().rev() {
            finish_directory(&destination.join(directory))?;
        }
        finish_directory(destination)
    }

    /// Writes a tree to `destination`, which must not exist: there whole and on the disk, or not at all. No file of it is
    /// one of the store's.
    ///
    /// # Errors
    /// If something is at `destination`, or its directory cannot be written.
    pub fn export(&self, root: &Digest, destination: &Path) -> Result<()> {
        let parent = destination.parent().context("the root directory can't be written anew")?;
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let context = || format!("cannot write {}", destination.display());
        std::fs::create_dir_all(parent).with_context(context)?;
        let scratch = tempfile::Builder::new().prefix(".export-").tempdir_in(parent).with_context(context)?;
        let path = scratch.path().join("tree");
        self.materialise(&Tree::read(self, root)?, &path)?;
        // One call for thousands of files.
        File::open(&path).and_then(|directory| Ok(rustix::fs::syncfs(&directory)?)).with_context(context)?;
        // Unlike `rename`, this does not replace an empty directory or a file that came meanwhile.
        match renameat_with(CWD, &path, CWD, destination, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                ensure!(!destination.exists(), "{} exists already", destination.display());
                std::fs::rename(&path, destination)
            }
            result => result.map_err(std::io::Error::from),
        }
        .with_context(context)?;
        sync_directory(parent)
    }

    /// Writes a blob to `path`, which must not exist, as [`Store::materialise`] does. A copy is not synced.
    ///
    /// # Errors
    /// If the blob is missing or damaged ([`crate::Damaged`]), or `path` cannot be written.
    pub fn materialise_blob(&self, digest: &Digest, path: &Path) -> Result<()> {
        let entry = Entry::File { digest: *digest, executable: false };
        self.place_entry(&entry, path, self.may_link(path)?)
    }

    /// Whether a file is a name of a blob of this store, so that writing to it would damage the store.
    pub fn is_shared(&self, path: &Path, digest: &Digest) -> bool {
        [false, true].into_iter().any(|executable| is_same_file(path, &self.place(digest, executable)))
    }

    /// Whether hard links to blobs may be made at `path`: inside the store, where nobody writes but us.
    fn may_link(&self, path: &Path) -> Result<bool> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = parent.canonicalize().with_context(|| format!("cannot find {}", parent.display()))?;
        Ok(parent.starts_with(&self.root))
    }

    fn place_entry(&self, entry: &Entry, path: &Path, links: bool) -> Result<()> {
        let (digest, executable) = match entry {
            Entry::Directory => return Ok(()),
            Entry::Symlink { target } => {
                return std::os::unix::fs::symlink(target, path)
                    .and_then(|()| set_time(path))
                    .with_context(|| format!("cannot create the link {}", path.display()));
            }
            Entry::File { digest, executable } => (digest, *executable),
        };
        // A copy needs no executable variant of the blob.
        let blob = self.blob_path(digest, executable && links)?;
        if self.may_clone() && self.place_clone(&blob, path, executable)? {
            return Ok(());
        }
        if links {
            match std::fs::hard_link(&blob, path) {
                Ok(()) => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::TooManyLinks | ErrorKind::CrossesDevices | ErrorKind::PermissionDenied
                    ) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot create {}", path.display()));
                }
            }
        }
        let (mut from, _) =
            store_file::open(&blob).with_context(|| format!("cannot open {}", blob.display()))?;
        let mut to = create_new(path)?;
        sparse::copy(&mut from, &mut to)
            .and_then(|_| stamp(&to, executable))
            .with_context(|| format!("cannot copy a blob to {}", path.display()))
    }

    /// Places a clone of a blob; false where the file system has none, and then nothing is left at `path`.
    fn place_clone(&self, blob: &Path, path: &Path, executable: bool) -> Result<bool> {
        let (from, _) = store_file::open(blob).with_context(|| format!("cannot open {}", blob.display()))?;
        let to = create_new(path)?;
        if self.clone_blocks(&from, &to) {
            stamp(&to, executable).with_context(|| format!("cannot stamp {}", path.display()))?;
            return Ok(true);
        }
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        Ok(false)
    }

    /// A tree as files in `checkouts/HEX`, made once and kept. Several processes may ask for the same one at once.
    ///
    /// Before it is given out again it is compared with the tree, a `stat` for each file and directory: what changed
    /// since it was laid out is laid out anew. Files that were hashed longer ago than [`crate::Rehash`] says are hashed again.
    /// Errors: a blob that it needs is missing or damaged ([`crate::Damaged`]).
    pub fn checkout(&self, root: &Digest, progress: &dyn Progress) -> Result<PathBuf> {
        let place = self.root.join("checkouts").join(root.hex());
        let tree = Tree::read(self, root)?;
        if std::fs::symlink_metadata(&place).is_ok_and(|metadata| metadata.is_dir()) {
            if is_laid_out(&tree, &place) && self.is_intact(root, &tree, &place)? {
                return Ok(place);
            }
            progress.note(&format!("{} was changed; it is laid out again", place.display()));
        }
        if std::fs::symlink_metadata(&place).is_ok() {
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

    /// Hashes those files of a checkout that are due. Errors: a blob is damaged, and so are the files that are links to it.
    fn is_intact(&self, root: &Digest, tree: &Tree, place: &Path) -> Result<bool> {
        let name = format!("{} checkout", root.hex());
        let due: Vec<_> = tree
            .iter()
            .filter_map(|(path, entry)| match entry {
                Entry::File { digest, executable } => Some((place.join(path), digest, *executable)),
                Entry::Symlink { .. } | Entry::Directory => None,
            })
            .filter_map(|(path, digest, executable)| {
                let metadata = std::fs::symlink_metadata(&path).ok()?;
                // A link to the blob is the blob, a clone or copy has an age of its own.
                let is_due = self.is_due(&metadata, &|| hashed_name(digest, executable))
                    || self.is_due(&metadata, &|| name.clone());
                is_due.then_some((path, metadata, digest, executable))
            })
            .collect();
        if due.is_empty() {
            return Ok(true);
        }
        let is_intact = due.par_iter().map(|(path, metadata, digest, executable)| {
            let blob = self.blob_path(digest, *executable)?;
            let is_link = std::fs::symlink_metadata(&blob)
                .is_ok_and(|blob| (blob.dev(), blob.ino()) == (metadata.dev(), metadata.ino()));
            Ok(is_link || self.is_content(digest, path)?)
        });
        if !is_intact.collect::<Result<Vec<_>>>()?.into_iter().all(|intact| intact) {
            return Ok(false);
        }
        self.note_hashed(name)?;
        Ok(true)
    }
}

fn create_new(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))
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

/// Gives a directory its time, and a mode that does not depend on this process' mask.
fn finish_directory(path: &Path) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
        .and_then(|()| set_time(path))
        .with_context(|| format!("cannot set the mode and time of {}", path.display()))
}

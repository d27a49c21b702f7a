//! Trees to and from directories of the file system.

use crate::{Digest, Entry, Progress, Store, Tree, Unit, store::set_time};
use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use std::{
    collections::BTreeSet,
    fs::Permissions,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

impl Store {
    /// Imports a directory of the file system as a tree. Errors: devices, sockets, pipes, names or links that are not
    /// UTF-8, files that change while they are read.
    pub fn import(&self, directory: &Path) -> Result<Tree> {
        let mut found = Vec::new();
        walk(directory, "", &mut found)?;
        let entries: Vec<(String, Entry)> = found
            .into_par_iter()
            .map(|(path, full)| Ok((path, self.import_entry(&full)?)))
            .collect::<Result<_>>()?;
        let mut tree = Tree::new();
        for (path, entry) in entries {
            tree.insert(&path, entry)?;
        }
        Ok(tree)
    }

    fn import_entry(&self, path: &Path) -> Result<Entry> {
        let metadata =
            std::fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(path)?;
            let target =
                target.to_str().with_context(|| format!("the link {} is not UTF-8", path.display()))?;
            return Ok(Entry::Symlink { target: target.to_owned() });
        }
        if kind.is_dir() {
            return Ok(Entry::Directory);
        }
        ensure!(kind.is_file(), "{} is neither file, directory nor link", path.display());
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Ok(Entry::File { digest: self.put_file(path)?, executable })
    }

    /// Writes a tree to `destination`, which must not exist: hard links to read-only blobs, fixed times.
    ///
    /// Hard links rather than copies, since they take no space and share the page cache; where the file system has no
    /// more links for a blob, or the destination is on another one, the blob is copied.
    pub fn materialise(&self, tree: &Tree, destination: &Path) -> Result<()> {
        std::fs::create_dir(destination)
            .with_context(|| format!("cannot create {}", destination.display()))?;
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

    fn place_entry(&self, entry: &Entry, path: &Path) -> Result<()> {
        match entry {
            Entry::Directory => Ok(()),
            Entry::Symlink { target } => std::os::unix::fs::symlink(target, path)
                .and_then(|()| set_time(path))
                .with_context(|| format!("cannot create the link {}", path.display())),
            Entry::File { digest, executable } => {
                let blob = self.blob_path(digest, *executable)?;
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

    /// A tree as files in `checkouts/HEX`, made once and kept. Several processes may ask for the same one at once.
    pub fn checkout(&self, root: &Digest, progress: &dyn Progress) -> Result<PathBuf> {
        let place = self.root.join("checkouts").join(root.hex());
        if place.is_dir() {
            return Ok(place);
        }
        let _meter = progress.begin(&format!("laying out tree {}", &root.hex()[..12]), 0, Unit::Items);
        let scratch = self.scratch()?;
        let path = scratch.path().join("tree");
        self.materialise(&Tree::read(self, root)?, &path)?;
        match std::fs::rename(&path, &place) {
            // Another process was faster, with the same content.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => {
            }
            Err(error) => bail!("cannot keep the tree at {}: {error}", place.display()),
            Ok(()) => {}
        }
        Ok(place)
    }

    pub(crate) fn drop_checkouts(&self) -> Result<()> {
        let directory = self.root.join("checkouts");
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            // Renamed first: a checkout that is half removed must not be found.
            let scratch = self.scratch()?;
            if std::fs::rename(&path, scratch.path().join("tree")).is_err() && path.exists() {
                bail!("cannot remove {}", path.display());
            }
        }
        Ok(())
    }
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

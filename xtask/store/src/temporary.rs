//! `tmp/`: a directory a process, and a lock file beside it that is locked while the process lives.

use anyhow::Result;
use std::{
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How old a directory without a lock file must be to count as left behind: its owner makes the lock right after it.
const GRACE: Duration = Duration::from_secs(60);

/// A directory for this process' temporary files, and the lock that says that it lives.
pub fn own(parent: &Path) -> Result<(PathBuf, File)> {
    loop {
        let directory = tempfile::Builder::new().prefix("process-").tempdir_in(parent)?.keep();
        let lock = File::create(directory.with_extension("lock"))?;
        lock.lock()?;
        // Another process may have swept the directory in the moment before it was locked.
        if directory.is_dir() {
            return Ok((directory, lock));
        }
    }
}

/// Removes the temporary files of processes that no longer live. Best effort; what stays does no harm.
pub fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let directory = path.with_extension("");
        let lock = path.with_extension("lock");
        // Held until all is removed, so that an owner that is about to lock it sees that its directory is gone.
        let held = File::open(&lock).ok().map(|file| file.try_lock().map(|()| file));
        let dead = match &held {
            Some(held) => held.is_ok(),
            None => age(&directory).is_some_and(|age| age > GRACE),
        };
        if dead {
            let _ = remove_tree(&directory);
            let _ = std::fs::remove_file(&lock);
        }
    }
}

/// A private directory, removed when dropped whatever a build made of it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new_in(parent: &Path) -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("work-").tempdir_in(parent)?;
        Ok(Self { path: directory.keep() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: a later process sweeps what stays.
        let _ = remove_tree(&self.path);
    }
}

/// Removes a directory with all that is in it, also what may be neither written to nor listed, and however deep it is:
/// directories are moved to the top before they are emptied, so that neither the stack nor a path grows with the depth.
pub(crate) fn remove_tree(top: &Path) -> std::io::Result<()> {
    let mut number = 0_u64;
    let mut pending = vec![top.to_owned()];
    while let Some(directory) = pending.pop() {
        open_up(&directory)?;
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                std::fs::remove_file(entry.path())?;
                continue;
            }
            // To move a directory, its `..` is written to.
            open_up(&entry.path())?;
            let moved = loop {
                number += 1;
                let moved = top.join(format!(".removed-{number}"));
                if !moved.exists() {
                    break moved;
                }
            };
            std::fs::rename(entry.path(), &moved)?;
            pending.push(moved);
        }
        if directory != top {
            std::fs::remove_dir(&directory)?;
        }
    }
    std::fs::remove_dir(top)
}

fn open_up(directory: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))
}

fn age(path: &Path) -> Option<Duration> {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    SystemTime::now().duration_since(modified).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_touched_goes_too() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new_in(parent.path()).unwrap();
        let outside = parent.path().join("outside");
        std::fs::write(&outside, "stays").unwrap();
        let closed = scratch.path().join("out/closed");
        std::fs::create_dir_all(closed.join("in")).unwrap();
        std::fs::create_dir_all(scratch.path().join("work/.removed-1/deeper")).unwrap();
        std::fs::write(closed.join("in/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, closed.join("in/link")).unwrap();
        std::os::unix::fs::symlink(parent.path(), scratch.path().join("up")).unwrap();
        for path in ["out/closed/in/file", "out/closed/in", "out/closed", "out"] {
            std::fs::set_permissions(scratch.path().join(path), Permissions::from_mode(0o000)).unwrap();
        }
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "stays");
    }

    /// Deeper than a path may be long, and than a thread's stack.
    #[test]
    fn depth_is_no_protection() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new_in(parent.path()).unwrap();
        // From the inside out, since no path names the innermost.
        let (inner, outer) = (scratch.path().join("a"), scratch.path().join("b"));
        std::fs::create_dir(&inner).unwrap();
        for _ in 0..5_000 {
            std::fs::create_dir(&outer).unwrap();
            std::fs::rename(&inner, outer.join("a")).unwrap();
            std::fs::rename(&outer, &inner).unwrap();
        }
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn what_the_dead_leave_goes_and_the_living_keep_theirs() {
        let parent = tempfile::tempdir().unwrap();
        let (living, _lock) = own(parent.path()).unwrap();
        let (dead, lock) = own(parent.path()).unwrap();
        std::fs::write(dead.join("half a blob"), "ha").unwrap();
        drop(lock);
        let lone = parent.path().join("process-lone.lock");
        std::fs::write(&lone, "").unwrap();
        sweep(parent.path());
        assert!(living.is_dir() && living.with_extension("lock").exists());
        assert!(!dead.exists() && !dead.with_extension("lock").exists() && !lone.exists());
    }
}

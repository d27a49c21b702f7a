//! `tmp/`: a directory a process, and a lock file beside it that is locked while the process lives.

use crate::{removal::remove_tree, store_file, work_lock::Holder};
use anyhow::Result;
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How old something without a lock file must be to count as left behind: its owner makes the lock right after it.
const GRACE: Duration = Duration::from_secs(60);

/// A private directory that is removed when it is dropped, whatever a build made of it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn new_in(parent: &Path) -> std::io::Result<Self> {
        Ok(Self { path: tempfile::Builder::new().prefix("work-").tempdir_in(parent)?.keep() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A directory for this process' temporary files, and the lock that says that it lives.
pub fn own(parent: &Path) -> Result<(PathBuf, File)> {
    loop {
        let directory = tempfile::Builder::new().prefix("process-").tempdir_in(parent)?.keep();
        let mut lock = File::create_new(directory.with_extension("lock"))?;
        lock.lock()?;
        // Another process may have swept the directory in the moment before it was locked.
        if directory.is_dir() {
            Holder::write(&mut lock, &command_line())?;
            return Ok((directory, lock));
        }
    }
}

/// What this process was asked for.
pub(crate) fn command_line() -> String {
    let words = std::env::args_os().enumerate().map(|(index, word)| match index {
        0 => Path::new(&word).file_name().unwrap_or(&word).to_string_lossy().into_owned(),
        _ => word.to_string_lossy().into_owned(),
    });
    format!("`{}`", words.collect::<Vec<_>>().join(" "))
}

/// Which processes beside this one have something in `tmp/`.
pub(crate) fn living(parent: &Path, own: &Path) -> Vec<Holder> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let locks = entries.flatten().map(|entry| entry.path()).filter(|path| {
        path.extension().is_some_and(|extension| extension == "lock") && path.with_extension("") != own
    });
    locks
        .filter(|path| store_file::open(path).is_ok_and(|(file, _)| file.try_lock_shared().is_err()))
        .filter_map(|path| Holder::read(&path))
        .collect()
}

/// What no living process owns. With `alone`, no other process has the store open: then that is all that is not `own`.
pub(crate) fn left_behind(parent: &Path, own: Option<&Path>, alone: bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut left: Vec<_> = entries.flatten().map(|entry| entry.path().with_extension("")).collect();
    left.sort();
    left.dedup();
    left.retain(|directory| {
        Some(directory.as_path()) != own
            && (alone
                || match store_file::open(&directory.with_extension("lock")) {
                    Ok((lock, _)) => lock.try_lock().is_ok(),
                    Err(_) => age(directory).is_some_and(|age| age > GRACE),
                })
    });
    left
}

/// Removes the temporary files of processes that no longer live. Best effort: what stays is tried again by the next process,
/// and `gc` says why.
pub fn sweep(parent: &Path) {
    for directory in left_behind(parent, None, false) {
        // Held until all is removed, so that an owner that is about to lock it sees that its directory is gone.
        let lock = directory.with_extension("lock");
        let held = store_file::open(&lock).ok().map(|(file, _)| file.try_lock().map(|()| file));
        if !matches!(held, Some(Err(_))) {
            let _ = remove(&directory);
        }
    }
}

/// Removes a directory of a process with its lock.
pub(crate) fn remove(directory: &Path) -> std::io::Result<()> {
    remove_tree(directory)?;
    remove_tree(&directory.with_extension("lock"))
}

fn age(path: &Path) -> Option<Duration> {
    let metadata =
        std::fs::symlink_metadata(path).or_else(|_| std::fs::symlink_metadata(path.with_extension("lock")));
    SystemTime::now().duration_since(metadata.ok()?.modified().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

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

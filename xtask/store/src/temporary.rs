//! `tmp/`: a directory a process, and a lock file beside it that is locked while the process lives.

use anyhow::Result;
use std::{
    fs::File,
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
            let _ = std::fs::remove_dir_all(&directory);
            let _ = std::fs::remove_file(&lock);
        }
    }
}

fn age(path: &Path) -> Option<Duration> {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    SystemTime::now().duration_since(modified).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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

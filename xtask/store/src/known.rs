//! Digests of files outside of the store, remembered while the files stay as they are.

use crate::{Digest, Store, store_file};
use anyhow::{Context, Result};
use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How old a change must be for the next one to have another time, whatever the file system's clock ticks like.
const SETTLED: Duration = Duration::from_secs(2);

impl Store {
    /// The digest of a file, which is hashed only when its inode, size or a time of it differs from when it was hashed
    /// last. For large files that are looked at again and again, such as checkpoints.
    pub fn known_digest(&self, path: &Path) -> Result<Digest> {
        let context = || format!("cannot look at {}", path.display());
        let path = path.canonicalize().with_context(context)?;
        let stamp = |metadata: &Metadata| {
            format!(
                "{} {} {} {}.{} {}.{}",
                metadata.dev(),
                metadata.ino(),
                metadata.len(),
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.ctime(),
                metadata.ctime_nsec()
            )
        };
        let before = std::fs::metadata(&path).with_context(context)?;
        let place = self.known_place(&path);
        if let Ok(bytes) = store_file::read(&place)
            && let Ok(text) = String::from_utf8(bytes)
            && let Some((known, digest)) = text.split_once(": ")
            && known == stamp(&before)
            && let Ok(digest) = digest.parse()
        {
            return Ok(digest);
        }
        let digest = Digest::of_file(&path)?;
        let after = std::fs::metadata(&path).with_context(context)?;
        let changed =
            SystemTime::UNIX_EPOCH + Duration::from_secs(after.ctime().try_into().unwrap_or(u64::MAX / 4));
        let is_settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED);
        if self.is_writable() && is_settled && stamp(&before) == stamp(&after) {
            self.write_note(&place, format!("{}: {digest}", stamp(&after)).as_bytes())?;
        }
        Ok(digest)
    }

    fn known_place(&self, path: &Path) -> PathBuf {
        self.root.join("known").join(Digest::of(path.as_os_str().as_encoded_bytes()).hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, FileTimes};

    /// A change that keeps the size is seen by the time of the change of the inode, which nobody can set back.
    #[test]
    fn a_file_is_hashed_again_when_it_changed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let path = directory.path().join("file");
        let old = SystemTime::now() - Duration::from_secs(100);
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_times(FileTimes::new().set_modified(old)).unwrap();
        };
        write("one");
        assert_eq!(store.known_digest(&path).unwrap(), Digest::of(b"one"));
        // It was made just now: its next change could have the same time, so nothing is remembered.
        assert!(!store.known_place(&path.canonicalize().unwrap()).exists());
        write("two");
        assert_eq!(store.known_digest(&path).unwrap(), Digest::of(b"two"));
    }

    #[test]
    fn a_file_that_settled_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        // This program was not linked in the last seconds, or the wait is for it to settle.
        let path = std::env::current_exe().unwrap();
        let place = store.known_place(&path.canonicalize().unwrap());
        while !place.exists() {
            assert_eq!(store.known_digest(&path).unwrap(), Digest::of_file(&path).unwrap());
            std::thread::sleep(Duration::from_millis(200));
        }
        let known = std::fs::read_to_string(&place).unwrap();
        let (stamp, _) = known.split_once(": ").unwrap();
        std::fs::write(&place, format!("{stamp}: {}", Digest::of(b"remembered"))).unwrap();
        assert_eq!(store.known_digest(&path).unwrap(), Digest::of(b"remembered"));
        std::fs::write(&place, format!("x{stamp}: {}", Digest::of(b"remembered"))).unwrap();
        assert_eq!(store.known_digest(&path).unwrap(), Digest::of_file(&path).unwrap());
    }
}

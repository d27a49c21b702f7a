//! Blobs that are there: found, checked, given out.

use crate::{
    Damaged, Digest, Store, WithHint,
    blob::{is_stamped, stamp},
    damage::Id,
    hinted, store_file,
};
use anyhow::{Context, Result, bail};
use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// The largest message (a directory, an action) that is looked for, in bytes.
pub const LARGEST_MESSAGE: u64 = 64 << 20;

/// What a look at a blob's file tells.
enum Sight {
    /// It is what it should be, as far as one `stat` tells, and was hashed not long ago.
    Trusted,
    /// It has to be hashed.
    Due,
    Missing,
}

impl Store {
    pub(crate) fn place(&self, digest: &Digest, executable: bool) -> PathBuf {
        let hex = digest.hex();
        let kind = if executable { "cas/sha256-x" } else { "cas/sha256" };
        self.root.join(kind).join(&hex[..2]).join(hex)
    }

    fn sight(&self, digest: &Digest, executable: bool, path: &Path) -> Result<Sight> {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if !is_stamped(&metadata, digest) => Ok(Sight::Due),
            Ok(metadata) if self.is_due(&metadata, &|| hashed_name(digest, executable)) => Ok(Sight::Due),
            Ok(_) => Ok(Sight::Trusted),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Sight::Missing),
            Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
        }
    }

    /// Whether the blob is there and intact. One `stat` where its stamp fits and it was hashed not long ago; else it is
    /// hashed, and a damaged one goes to quarantine, so that whoever asks before fetching or writing it heals the store.
    pub fn contains(&self, digest: &Digest) -> bool {
        let path = self.place(digest, false);
        match self.sight(digest, false, &path) {
            Ok(Sight::Trusted) => true,
            Ok(Sight::Due) => self.recheck(digest, false, path).is_ok(),
            Ok(Sight::Missing) | Err(_) => false,
        }
    }

    /// A blob's content, checked.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut file = self.open_blob(digest)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(|| format!("cannot read the blob {digest}"))?;
        Ok(bytes)
    }

    /// A checked blob, open for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest, false)?;
        let (file, _) = store_file::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(file)
    }

    /// A message's content where it is there and intact, found out by hashing it. Nothing is changed, and nothing healed.
    pub(crate) fn peek(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.peek_id(&digest.sha256).filter(|bytes| bytes.len() as u64 == digest.size)
    }

    /// As [`Store::peek`], for a message whose size is not known.
    pub(crate) fn peek_id(&self, id: &Id) -> Option<Vec<u8>> {
        if crate::message::is_empty(id) {
            return Some(Vec::new());
        }
        let (file, metadata) = store_file::open(&self.place(&Digest { sha256: *id, size: 0 }, false)).ok()?;
        if metadata.len() > LARGEST_MESSAGE {
            return None;
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
        file.take(LARGEST_MESSAGE).read_to_end(&mut bytes).ok()?;
        (Digest::of(&bytes).sha256 == *id).then_some(bytes)
    }

    /// The checked path of a blob; `executable` chooses the variant with mode 0555. Errors: [`Damaged`].
    pub fn blob_path(&self, digest: &Digest, executable: bool) -> Result<PathBuf> {
        let path = self.place(digest, executable);
        match self.sight(digest, executable, &path)? {
            Sight::Trusted => Ok(path),
            Sight::Due => self.recheck(digest, executable, path),
            Sight::Missing if executable => {
                let mut source = self.open_blob(digest)?;
                let file = match self.cloned(&source)? {
                    Some(file) => file,
                    None => {
                        let mut file = self.temporary_file()?;
                        crate::sparse::copy(&mut source, file.as_file_mut())
                            .with_hint(|| self.write_error())?;
                        file
                    }
                };
                self.publish(file, digest, true)?;
                Ok(path)
            }
            Sight::Missing => {
                if self.is_writable() {
                    self.mark_incomplete()?;
                }
                bail!(Damaged { digest: *digest, reason: "is missing".to_owned() })
            }
        }
    }

    /// Hashes a blob: stamps it again where that does not fit, or takes it out.
    fn recheck(&self, digest: &Digest, executable: bool, path: PathBuf) -> Result<PathBuf> {
        match self.is_content(digest, &path)? {
            true if !self.is_writable() => return Ok(path),
            true => {
                let (file, metadata) =
                    store_file::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
                if !is_stamped(&metadata, digest) {
                    self.check_shelf(&path)?;
                    stamp(&file, executable).with_context(|| format!("cannot stamp {}", path.display()))?;
                }
                self.note_hashed(hashed_name(digest, executable))?;
                return Ok(path);
            }
            false => {}
        }
        if !self.is_writable() {
            bail!(Damaged { digest: *digest, reason: "is damaged".to_owned() });
        }
        self.quarantine(digest, &path)?;
        if executable {
            return self.blob_path(digest, true);
        }
        bail!(Damaged { digest: *digest, reason: "was damaged, and is in quarantine now".to_owned() })
    }

    /// Whether a file has this content; not where it is not a regular file.
    pub(crate) fn is_content(&self, digest: &Digest, path: &Path) -> Result<bool> {
        let reading = || format!("cannot read {}", path.display());
        match store_file::open(path) {
            Ok((_, metadata)) if metadata.len() != digest.size => Ok(false),
            Ok((file, _)) => Ok(Digest::of_open_file(&file).with_context(reading)? == *digest),
            Err(error) if store_file::is_not_regular(&error) => Ok(false),
            Err(error) => Err(error).with_context(reading),
        }
    }

    /// Errors where the directory of a blob is a link: what is done to the blob would be done to a file elsewhere.
    pub(crate) fn check_shelf(&self, path: &Path) -> Result<()> {
        let shelf = path.parent().context("a blob has a directory")?;
        let metadata = std::fs::symlink_metadata(shelf);
        if !metadata.with_context(|| format!("cannot look at {}", shelf.display()))?.is_dir() {
            bail!(hinted(
                format!("{} is not a directory of the store", shelf.display()),
                "`cargo xtask store fsck` moves it out of the way"
            ));
        }
        Ok(())
    }
}

/// The name of a blob in the list of what was hashed.
pub(crate) fn hashed_name(digest: &Digest, executable: bool) -> String {
    match executable {
        true => format!("{} x", digest.hex()),
        false => digest.hex(),
    }
}

//! Blobs while they are written, and the stamp of a blob that was checked.

use crate::{Digest, HashWriter, Store, WithHint};
use anyhow::{Result, ensure};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::{
    fs::{File, Metadata, Permissions},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};
use tempfile::NamedTempFile;

/// Every blob's modification time: 1980-01-01, as in every archive that we write.
///
/// It is also the stamp that the content was checked: a blob is given this time when its digest is known, and
/// whoever writes to it afterwards changes the time. So a read needs one `stat` to trust a blob.
pub const BLOB_TIME: u64 = 315_532_800;

/// A blob being written; nothing is visible before [`BlobWriter::finish`].
pub struct BlobWriter<'a> {
    store: &'a Store,
    inner: HashWriter<Holes>,
}

/// The file of a blob. Zeros become a hole in it, so that what is sparse where it comes from stays so.
struct Holes {
    file: NamedTempFile,
    /// Zeros at the end that were not written.
    zeros: u64,
}

/// The fewest zeros in a piece that are worth a hole: a block of the usual file systems.
const HOLE: usize = 4096;

/// How much is looked at together.
const PIECE: usize = 64 * 1024;

impl Holes {
    /// The file with all that was written to it.
    fn finish(mut self) -> std::io::Result<NamedTempFile> {
        if self.zeros > 0 {
            let length = self.file.seek(SeekFrom::Current(self.zeros as i64))?;
            self.file.as_file().set_len(length)?;
        }
        Ok(self.file)
    }
}

impl Write for Holes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // A part, so that zeros in the middle of much else are seen too.
        let bytes = &bytes[..bytes.len().min(PIECE)];
        // A short piece makes no hole, but what a stream cuts short in one belongs to it.
        if (bytes.len() >= HOLE || self.zeros > 0) && bytes.iter().all(|byte| *byte == 0) {
            self.zeros += bytes.len() as u64;
            return Ok(bytes.len());
        }
        if self.zeros > 0 {
            self.file.seek(SeekFrom::Current(self.zeros as i64))?;
            self.zeros = 0;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // The error says where and how much is free: whoever copies into a blob knows only what it reads.
        self.inner
            .write(bytes)
            .map_err(|error| std::io::Error::new(error.kind(), self.store.write_error().because(error)))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<'a> BlobWriter<'a> {
    pub(crate) fn new(store: &'a Store) -> Result<Self> {
        Ok(Self { store, inner: HashWriter::new(Holes { file: store.temporary_file()?, zeros: 0 }) })
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.inner.size()
    }

    /// Makes the blob visible and gives its digest. With `expected`, a different content is an error and nothing is
    /// kept.
    pub fn finish(self, expected: Option<&Digest>) -> Result<Digest> {
        let (file, digest) = self.inner.finish();
        if let Some(expected) = expected {
            ensure!(
                digest == *expected,
                "the content is not what was expected\n  expected {expected}\n  found    {digest}"
            );
        }
        if !self.store.contains(&digest) {
            let file = file.finish().with_hint(|| self.store.write_error())?;
            self.store.publish(file, &digest, false)?;
        }
        Ok(digest)
    }
}

/// Whether size, time and mode are those of a blob that was checked.
pub(crate) fn is_stamped(metadata: &Metadata, digest: &Digest) -> bool {
    metadata.len() == digest.size
        && has_blob_time(metadata)
        && metadata.is_file()
        && metadata.mode() & 0o222 == 0
}

/// Whether a file still is what [`Store::materialise`] made of a blob, as far as one `stat` tells.
pub fn is_untouched(path: &Path, digest: &Digest) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| is_stamped(&metadata, digest))
}

/// Whether a file or directory has the time that was given to it when it was made.
pub(crate) fn has_blob_time(metadata: &Metadata) -> bool {
    metadata.mtime() == BLOB_TIME as i64 && metadata.mtime_nsec() == 0
}

/// Gives a checked blob its mode and time. By the open file, so that nothing else can get them.
pub(crate) fn stamp(file: &File, executable: bool) -> std::io::Result<()> {
    let mode = if executable { 0o555 } else { 0o444 };
    file.set_permissions(Permissions::from_mode(mode))?;
    rustix::fs::futimens(file, &blob_times())?;
    Ok(())
}

fn blob_times() -> Timestamps {
    let time = Timespec { tv_sec: BLOB_TIME as i64, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Sets a path's modification and access time to [`BLOB_TIME`], without following links.
pub(crate) fn set_time(path: &Path) -> std::io::Result<()> {
    rustix::fs::utimensat(CWD, path, &blob_times(), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

//! The store on disk: where it is, who shares it, its blobs.

use crate::{Digest, HashWriter};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::{
    fmt,
    fs::{File, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tempfile::{NamedTempFile, TempDir};

/// The layout of the directory, written to its `version` file.
const VERSION: &str = "1\n";

/// Every blob's modification time: 1980-01-01, as in every archive that we write.
///
/// It is also the stamp that the content was checked: a blob is given this time when its digest is known, and
/// whoever writes to it afterwards changes the time. So a read needs one `stat` to trust a blob.
pub const BLOB_TIME: u64 = 315_532_800;

/// Blobs from this size on are synced one by one; smaller ones all at once before a result names them.
const SYNC_ALONE: u64 = 1 << 20;

/// A blob that is missing or damaged. What needs it must be fetched or built again; results that name it are no
/// longer given out.
#[derive(Debug)]
pub struct Damaged {
    /// The blob.
    pub digest: Digest,
    /// What is wrong, and what was done.
    pub reason: String,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "blob {} of the store {}\n  hint: run the command again; it fetches or builds what is missing",
            self.digest, self.reason
        )
    }
}

impl std::error::Error for Damaged {}

/// A content-addressed store in a directory, safe for several threads and processes.
///
/// | path | content |
/// |---|---|
/// | `cas/sha256/ab/HEX` | blobs, mode 0444 |
/// | `cas/sha256-x/ab/HEX` | the same with mode 0555, where a tree needs it |
/// | `ac/ab/HEX` | REAPI `ActionResult` messages by the action's digest |
/// | `checkouts/HEX` | trees laid out as files, hard-linked to blobs |
/// | `roots/NAME` | what `gc` must keep |
/// | `tmp/` | a directory a process, locked while it lives |
/// | `quarantine/` | blobs that were found damaged |
pub struct Store {
    pub(crate) root: PathBuf,
    /// This process' part of `tmp/`. Its lock file tells other processes that we live.
    temporary: PathBuf,
    _temporary_lock: File,
    /// Held shared while the store is open; `gc` takes it alone.
    pub(crate) lock: File,
}

impl Store {
    /// Opens, or creates, the store at `root`, sharing it with other processes. Waits while another process collects
    /// garbage. Errors: the directory can't be created or written; it is a store of another version.
    pub fn open(root: &Path) -> Result<Self> {
        let explain = || {
            format!(
                "cannot use {} as a store\n  hint: it must be a directory that you may write to; choose another with `--store` or MLC_REPRO_STORE",
                root.display()
            )
        };
        for part in ["cas/sha256", "cas/sha256-x", "ac", "checkouts", "roots", "tmp"] {
            std::fs::create_dir_all(root.join(part)).with_context(explain)?;
        }
        let root = root.canonicalize().with_context(explain)?;
        let version = root.join("version");
        match std::fs::read_to_string(&version) {
            Ok(text) => ensure!(
                text == VERSION,
                "{} is a store of version {}, this program writes version {}\n  hint: choose another directory with `--store`",
                root.display(),
                text.trim().escape_debug(),
                VERSION.trim()
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::fs::write(&version, VERSION).with_context(explain)?;
            }
            Err(error) => return Err(error).with_context(explain),
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(root.join("lock"))
            .with_context(explain)?;
        lock.lock_shared().context("cannot lock the store")?;
        sweep(&root.join("tmp"));
        let (temporary, temporary_lock) = own_temporary(&root.join("tmp")).with_context(explain)?;
        Ok(Self { root, temporary, _temporary_lock: temporary_lock, lock })
    }

    /// `$XDG_CACHE_HOME/mlc-repro`, or `~/.cache/mlc-repro`.
    pub fn default_root() -> Result<PathBuf> {
        let directory =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        directory("XDG_CACHE_HOME")
            .or_else(|| directory("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join("mlc-repro"))
            .context("neither XDG_CACHE_HOME nor HOME is set\n  hint: name the store with `--store` or MLC_REPRO_STORE")
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn place(&self, digest: &Digest, executable: bool) -> PathBuf {
        let hex = digest.hex();
        let kind = if executable { "cas/sha256-x" } else { "cas/sha256" };
        self.root.join(kind).join(&hex[..2]).join(hex)
    }

    /// Whether the blob is there in its full size (not whether it is intact).
    pub fn contains(&self, digest: &Digest) -> bool {
        std::fs::symlink_metadata(self.place(digest, false))
            .is_ok_and(|metadata| metadata.len() == digest.size)
    }

    /// Keeps bytes.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.contains(&digest) {
            let mut file = self.temporary_file()?;
            file.write_all(bytes).with_context(|| self.write_error())?;
            self.publish(file, &digest, false)?;
        }
        Ok(digest)
    }

    /// Keeps a copy of a file's content.
    pub fn put_file(&self, path: &Path) -> Result<Digest> {
        let digest = Digest::of_file(path)?;
        if self.contains(&digest) {
            return Ok(digest);
        }
        let mut source = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut writer = self.writer()?;
        std::io::copy(&mut source, &mut writer).with_context(|| format!("cannot copy {}", path.display()))?;
        writer.finish(Some(&digest)).with_context(|| format!("{} changed while it was read", path.display()))
    }

    /// Makes a file on the store's file system a blob, by renaming it. The caller has hashed it.
    pub fn adopt(&self, path: &Path, digest: &Digest) -> Result<()> {
        stamp(path, false)?;
        let place = self.place(digest, false);
        std::fs::create_dir_all(place.parent().context("a blob has a directory")?)
            .with_context(|| self.write_error())?;
        File::open(path).and_then(|file| file.sync_all()).with_context(|| self.write_error())?;
        std::fs::rename(path, &place).with_context(|| format!("cannot keep {}", path.display()))
    }

    /// A blob to be written piece by piece.
    pub fn writer(&self) -> Result<BlobWriter<'_>> {
        Ok(BlobWriter { store: self, inner: HashWriter::new(self.temporary_file()?) })
    }

    /// A blob's content, checked.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest, false)?;
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// A checked blob, open for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest, false)?;
        File::open(&path).with_context(|| format!("cannot open {}", path.display()))
    }

    /// The checked path of a blob; `executable` chooses the variant with mode 0555. Errors: [`Damaged`].
    pub fn blob_path(&self, digest: &Digest, executable: bool) -> Result<PathBuf> {
        let path = self.place(digest, executable);
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if is_stamped(&metadata, digest) => Ok(path),
            Ok(_) => self.recheck(digest, executable, path),
            Err(error) if error.kind() == ErrorKind::NotFound && executable => {
                let mut file = self.temporary_file()?;
                let mut source = self.open_blob(digest)?;
                std::io::copy(&mut source, &mut file).with_context(|| self.write_error())?;
                self.publish(file, digest, true)?;
                Ok(path)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.mark_incomplete()?;
                bail!(Damaged { digest: *digest, reason: "is missing".to_owned() })
            }
            Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
        }
    }

    /// Hashes a blob whose stamp does not fit: stamps it again, or takes it out.
    fn recheck(&self, digest: &Digest, executable: bool, path: PathBuf) -> Result<PathBuf> {
        if Digest::of_file(&path)? == *digest {
            stamp(&path, executable)?;
            return Ok(path);
        }
        self.quarantine(digest, &path)?;
        if executable {
            return self.blob_path(digest, true);
        }
        bail!(Damaged { digest: *digest, reason: "was damaged, and is in quarantine now".to_owned() })
    }

    /// Takes a damaged blob out of the way, and every checkout, since they may share its file.
    pub(crate) fn quarantine(&self, digest: &Digest, path: &Path) -> Result<()> {
        self.mark_incomplete()?;
        let quarantine = self.root.join("quarantine");
        std::fs::create_dir_all(&quarantine)?;
        match std::fs::rename(path, quarantine.join(digest.hex())) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot quarantine {}", path.display()))
            }
            _ => self.drop_checkouts(),
        }
    }

    /// From now on, results are checked in depth before they are given out.
    pub(crate) fn mark_incomplete(&self) -> Result<()> {
        let path = self.root.join("incomplete");
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    /// A private directory on the store's file system, removed when dropped (or by a later process, after a crash).
    pub fn scratch(&self) -> Result<TempDir> {
        tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&self.temporary)
            .with_context(|| self.write_error())
    }

    pub(crate) fn temporary_file(&self) -> Result<NamedTempFile> {
        NamedTempFile::new_in(&self.temporary).with_context(|| self.write_error())
    }

    /// How many bytes may still be written.
    pub fn free_bytes(&self) -> Result<u64> {
        let status = rustix::fs::statvfs(&self.root)
            .with_context(|| format!("cannot look at the file system of {}", self.root.display()))?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    /// What to say when writing fails; a full disk is the usual reason.
    pub(crate) fn write_error(&self) -> String {
        let free = self
            .free_bytes()
            .map_or_else(|_| String::new(), |free| format!(" ({} MB free)", free / 1_000_000));
        format!(
            "cannot write to the store at {}{free}\n  hint: `cargo xtask store gc` frees what no release or lock needs",
            self.root.display()
        )
    }

    /// Makes a temporary file a blob. Losing a race against another process is fine: the content is the same.
    pub(crate) fn publish(&self, file: NamedTempFile, digest: &Digest, executable: bool) -> Result<()> {
        stamp(file.path(), executable)?;
        if digest.size >= SYNC_ALONE {
            file.as_file().sync_all().with_context(|| self.write_error())?;
        }
        let place = self.place(digest, executable);
        if let Err(error) = file.persist(&place) {
            // The two-digit directory is made when its first blob comes.
            ensure!(
                error.error.kind() == ErrorKind::NotFound,
                "cannot write {}: {}",
                place.display(),
                error.error
            );
            std::fs::create_dir_all(place.parent().context("a blob has a directory")?)
                .with_context(|| self.write_error())?;
            error.file.persist(&place).with_context(|| self.write_error())?;
        }
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Best effort: a later process sweeps what stays.
        let _ = std::fs::remove_dir_all(&self.temporary);
        let _ = std::fs::remove_file(self.temporary.with_extension("lock"));
    }
}

/// A blob being written; nothing is visible before [`BlobWriter::finish`].
pub struct BlobWriter<'a> {
    store: &'a Store,
    inner: HashWriter<NamedTempFile>,
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.inner.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl BlobWriter<'_> {
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
            self.store.publish(file, &digest, false)?;
        }
        Ok(digest)
    }
}

/// Whether size, time and mode are those of a blob that was checked.
fn is_stamped(metadata: &std::fs::Metadata, digest: &Digest) -> bool {
    metadata.len() == digest.size
        && metadata.mtime() == BLOB_TIME as i64
        && metadata.mtime_nsec() == 0
        && metadata.is_file()
        && metadata.mode() & 0o222 == 0
}

/// Gives a checked blob its mode and time.
fn stamp(path: &Path, executable: bool) -> Result<()> {
    let mode = if executable { 0o555 } else { 0o444 };
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .and_then(|()| set_time(path))
        .with_context(|| format!("cannot set the mode and time of {}", path.display()))
}

/// Sets a path's modification and access time to [`BLOB_TIME`], without following links.
pub(crate) fn set_time(path: &Path) -> std::io::Result<()> {
    let time = Timespec { tv_sec: BLOB_TIME as i64, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// A directory for this process' temporary files, and the lock that says that it lives.
fn own_temporary(parent: &Path) -> Result<(PathBuf, File)> {
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
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for directory in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let lock = directory.with_extension("lock");
        // Without a lock file it may be about to get one, if it is new.
        let age = |path: &Path| {
            let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
            modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok()).unwrap_or_default()
        };
        // Held until all is gone: a process that is about to take the lock then finds its directory missing, and makes
        // another.
        let held = match File::open(&lock) {
            Ok(file) if file.try_lock().is_ok() => Some(file),
            Ok(_) => continue,
            Err(_) if age(&directory) > Duration::from_secs(60) => None,
            Err(_) => continue,
        };
        let _ = std::fs::remove_dir_all(&directory);
        let _ = std::fs::remove_file(&lock);
        drop(held);
    }
}

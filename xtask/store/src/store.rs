//! The store on disk: where it is, who shares it, its blobs.

use crate::{
    Digest,
    blob::{BlobWriter, is_stamped, stamp},
    temporary::{self, Scratch},
};
use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use std::{
    fmt,
    fs::{File, OpenOptions, Permissions},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};
use tempfile::{NamedTempFile, TempPath};

/// The layout of the directory, written to its `version` file.
const VERSION: &str = "1\n";

/// Blobs from this size on are synced one by one; smaller ones all at once before a result names them.
const SYNC_ALONE: u64 = 1 << 20;

/// Files up to this size are imported through memory: read once, hashed, and written only if they are new.
const IN_MEMORY: u64 = 1 << 20;

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
/// | `known/` | digests of files elsewhere, with what tells whether they changed |
/// | `tmp/` | a directory a process, locked while it lives |
/// | `quarantine/` | blobs that were found damaged, and checkouts that may share their files, until the next `gc` |
pub struct Store {
    pub(crate) root: PathBuf,
    /// This process' part of `tmp/`. Its lock file tells other processes that we live.
    temporary: PathBuf,
    _temporary_lock: File,
    /// Held shared while the store is open; `gc` takes it alone.
    pub(crate) lock: File,
    /// Whether the file system is believed to share blocks between files; until it refuses.
    clones: AtomicBool,
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
        std::fs::create_dir_all(root).with_context(explain)?;
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
                // Renamed into place: another process finds the whole text or none, whenever this one is killed.
                let mut file = readable_file_in(&root).with_context(explain)?;
                file.write_all(VERSION.as_bytes()).with_context(explain)?;
                file.as_file().sync_all().with_context(explain)?;
                file.persist(&version).with_context(explain)?;
            }
            Err(error) => return Err(error).with_context(explain),
        }
        for part in ["cas/sha256", "cas/sha256-x", "ac", "checkouts", "roots", "tmp"] {
            std::fs::create_dir_all(root.join(part)).with_context(explain)?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(root.join("lock"))
            .with_context(explain)?;
        if lock.try_lock_shared().is_err() {
            tracing::warn!("waiting for the process that collects garbage in {}", root.display());
            lock.lock_shared().context("cannot lock the store")?;
        }
        temporary::sweep(&root.join("tmp"));
        let (temporary, temporary_lock) = temporary::own(&root.join("tmp")).with_context(explain)?;
        let clones = AtomicBool::new(true);
        Ok(Self { root, temporary, _temporary_lock: temporary_lock, lock, clones })
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

    /// Whether the blob is there and intact. One `stat` where its stamp fits; else it is hashed, and a damaged one goes
    /// to quarantine, so that whoever asks before fetching or writing it heals the store.
    pub fn contains(&self, digest: &Digest) -> bool {
        let path = self.place(digest, false);
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if is_stamped(&metadata, digest) => true,
            Ok(_) => self.recheck(digest, false, path).is_ok(),
            Err(_) => false,
        }
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

    /// Keeps a copy of a file's content. Errors: it can't be read, or changes while it is read.
    pub fn put_file(&self, path: &Path) -> Result<Digest> {
        let reading = || format!("cannot read {}", path.display());
        let mut source = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let size = source.metadata().with_context(reading)?.len();
        if size <= IN_MEMORY {
            let mut bytes = Vec::with_capacity(size as usize + 1);
            source.read_to_end(&mut bytes).with_context(reading)?;
            return self.put_bytes(&bytes);
        }
        if let Some(file) = self.cloned(&source)? {
            // The clone is ours alone, so that it has to be read only once.
            let digest = Digest::of_file(file.path())?;
            if !self.contains(&digest) {
                self.publish(file, &digest, false)?;
            }
            return Ok(digest);
        }
        let digest = Digest::of_reader(&source).with_context(reading)?;
        if self.contains(&digest) {
            return Ok(digest);
        }
        source.rewind().with_context(reading)?;
        let mut writer = self.writer()?;
        std::io::copy(&mut source, &mut writer).with_context(|| format!("cannot copy {}", path.display()))?;
        writer.finish(Some(&digest)).with_context(|| format!("{} changed while it was read", path.display()))
    }

    /// Makes a file on the store's file system a blob, by renaming it. The caller has hashed it.
    pub fn adopt(&self, path: &Path, digest: &Digest) -> Result<()> {
        stamp(path, false)?;
        File::open(path).and_then(|file| file.sync_all()).with_context(|| self.write_error())?;
        let file =
            TempPath::try_from_path(path).with_context(|| format!("cannot keep {}", path.display()))?;
        self.name_blob(file, &self.place(digest, false))
    }

    /// A blob to be written piece by piece.
    pub fn writer(&self) -> Result<BlobWriter<'_>> {
        BlobWriter::new(self)
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
                let mut source = self.open_blob(digest)?;
                let file = match self.cloned(&source)? {
                    Some(file) => file,
                    None => {
                        let mut file = self.temporary_file()?;
                        std::io::copy(&mut source, &mut file).with_context(|| self.write_error())?;
                        file
                    }
                };
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
        self.set_aside(path, &digest.hex())?;
        for entry in std::fs::read_dir(self.root.join("checkouts")).context("cannot list the checkouts")? {
            let entry = entry.context("cannot list the checkouts")?;
            self.set_aside(&entry.path(), "checkout")?;
        }
        Ok(())
    }

    /// Moves something to quarantine, whole. It is not removed before `gc` has the store alone: another process may be
    /// building in that checkout, and a compiler that finds half of its headers gone might draw the wrong conclusion.
    /// Nothing happens where another process was faster.
    pub(crate) fn set_aside(&self, path: &Path, name: &str) -> Result<()> {
        let context = || format!("cannot move {} to quarantine", path.display());
        let quarantine = self.root.join("quarantine");
        std::fs::create_dir_all(&quarantine).with_context(context)?;
        let place = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(&quarantine)
            .with_context(context)?;
        match std::fs::rename(path, place.path().join("content")) {
            Ok(()) => {
                let _ = place.keep();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(context),
        }
    }

    /// From now on, results are checked in depth before they are given out.
    pub(crate) fn mark_incomplete(&self) -> Result<()> {
        let path = self.root.join("incomplete");
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }

    /// A private directory on the store's file system, removed when dropped (or by a later process, after a crash).
    pub fn scratch(&self) -> Result<Scratch> {
        Scratch::new_in(&self.temporary).with_context(|| self.write_error())
    }

    /// Writes a small file that the store has beside its blobs, at a place below its root: whole or not at all, whenever
    /// the process is killed, and what it leaves behind then is swept away. Errors: the disk is full.
    pub fn write_note(&self, place: &Path, content: &[u8]) -> Result<()> {
        let explain = || self.write_error();
        let directory = place.parent().context("a note has a directory")?;
        std::fs::create_dir_all(directory).with_context(explain)?;
        let mut file = self.temporary_file()?;
        file.write_all(content).with_context(explain)?;
        file.as_file().sync_all().with_context(explain)?;
        file.persist(place).with_context(explain)?;
        Ok(())
    }

    pub(crate) fn temporary_file(&self) -> Result<NamedTempFile> {
        readable_file_in(&self.temporary).with_context(|| self.write_error())
    }

    /// A temporary file that shares `source`'s blocks, where the file system can (FICLONE: XFS, btrfs, bcachefs).
    fn cloned(&self, source: &File) -> Result<Option<NamedTempFile>> {
        if !self.clones.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let file = self.temporary_file()?;
        Ok(self.clone_blocks(source, file.as_file()).then_some(file))
    }

    /// As [`Store::cloned`], into an empty file. It is not tried again after the file system has refused.
    pub(crate) fn clone_blocks(&self, from: &File, to: &File) -> bool {
        if !self.clones.load(Ordering::Relaxed) {
            return false;
        }
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => true,
            // A file of another file system says nothing about this one.
            Err(Errno::XDEV) => false,
            Err(_) => {
                self.clones.store(false, Ordering::Relaxed);
                false
            }
        }
    }

    /// Whether [`Store::clone_blocks`] is worth a try.
    pub(crate) fn may_clone(&self) -> bool {
        self.clones.load(Ordering::Relaxed)
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

    /// Makes a temporary file a blob. Losing a race against another process is fine: the content is the same, and what
    /// is there stays. Replacing it would take the name from a file that others are just linking to.
    pub(crate) fn publish(&self, file: NamedTempFile, digest: &Digest, executable: bool) -> Result<()> {
        stamp(file.path(), executable)?;
        if digest.size >= SYNC_ALONE {
            file.as_file().sync_all().with_context(|| self.write_error())?;
        }
        self.name_blob(file.into_temp_path(), &self.place(digest, executable))
    }

    fn name_blob(&self, mut file: TempPath, place: &Path) -> Result<()> {
        // The two-digit directory is made when its first blob comes.
        for make_directory in [true, false] {
            match file.persist_noclobber(place) {
                Ok(()) => return Ok(()),
                Err(error) if error.error.kind() == ErrorKind::AlreadyExists => return Ok(()),
                Err(error) if error.error.kind() == ErrorKind::NotFound && make_directory => {
                    std::fs::create_dir_all(place.parent().context("a blob has a directory")?)
                        .with_context(|| self.write_error())?;
                    file = error.path;
                }
                Err(error) => return Err(error.error).with_context(|| self.write_error()),
            }
        }
        bail!("cannot write {}", place.display())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Best effort: a later process sweeps what stays.
        let _ = temporary::remove_tree(&self.temporary);
        let _ = std::fs::remove_file(self.temporary.with_extension("lock"));
    }
}

/// A temporary file that others may read once it has its name (by default, temporary files are private).
fn readable_file_in(directory: &Path) -> std::io::Result<NamedTempFile> {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(directory)
}

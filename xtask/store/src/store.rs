//! The store on disk: where it is, who shares it, its blobs.

use crate::{
    Digest, HashWriter, Hinted, Peer, Rehash, Scratch, WithHint,
    blob::{BlobWriter, stamp},
    damage::Id,
    hinted,
    rehash::Hashed,
    sparse,
    store_file::{self, make_directory, open_or_create},
    temporary,
    work_lock::{Holder, wait_for},
};
use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, Permissions},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::{NamedTempFile, TempPath};

/// The layout of the directory, written to its `version` file.
const VERSION: &str = "1\n";

/// Blobs from this size on are synced one by one; smaller ones all at once before a result names them.
const SYNC_ALONE: u64 = 1 << 20;

/// Files up to this size are imported through memory: read once, hashed, and written only if they are new.
const IN_MEMORY: u64 = 1 << 20;

/// A content-addressed store in a directory, safe for several threads and processes.
///
/// | path | content |
/// |---|---|
/// | `cas/sha256/ab/HEX` | blobs, mode 0444 |
/// | `cas/sha256-x/ab/HEX` | the same with mode 0555, where a tree needs it |
/// | `ac/ab/HEX` | REAPI `ActionResult` messages by the action's digest |
/// | `claims/ab/HEX` | what somebody said that work gave whose outputs are not here, but for their root |
/// | `checkouts/HEX` | trees laid out as files, hard-linked to blobs |
/// | `roots/NAME` | what `gc` must keep |
/// | `known/` | digests of files elsewhere, with what tells whether they changed |
/// | `tmp/` | a directory a process, locked while it lives |
/// | `quarantine/` | blobs that were found damaged, and checkouts that may share their files, until the next `gc` |
/// | `damaged` | SHA-256 of every blob that was found damaged; how much of the list has had its consequences is in `damaged.handled` |
/// | `hashed` | when blobs were hashed again, and found to be intact |
///
/// Nothing in it is a link: what is found in place of a file or directory is refused, and `fsck` moves it to quarantine.
pub struct Store {
    pub(crate) root: PathBuf,
    /// What a process has that may write.
    writer: Option<Writer>,
    /// Held shared while the store is open; `gc` takes it alone. Nothing where a store is only looked at that has no lock.
    pub(crate) lock: Option<File>,
    /// Whether the file system is believed to share blocks between files; until it refuses.
    clones: AtomicBool,
    pub(crate) rehash: Rehash,
    pub(crate) hashed: Hashed,
    /// How long the list of damaged blobs was when the store was opened.
    pub(crate) damaged_before: u64,
    /// How long it was when an action began.
    pub(crate) begun: Mutex<HashMap<Id, u64>>,
    /// Who else is asked for results, in this order.
    pub(crate) peers: Vec<Box<dyn Peer>>,
    /// Results that were asked for and found since this was opened: whether more than the root of their outputs is needed.
    pub(crate) used: Mutex<BTreeMap<Digest, bool>>,
}

struct Writer {
    /// This process' part of `tmp/`. Its lock file tells other processes that we live.
    temporary: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens, or creates, the store at `root`, sharing it with other processes. Waits while another process collects
    /// garbage. Errors: the directory can't be created or written; it is a store of another version.
    pub fn open(root: &Path) -> Result<Self> {
        let explain = || {
            hinted(
                format!("cannot use {} as a store", root.display()),
                "it must be a directory that you may write to; choose another with `--store` or MLC_REPRO_STORE",
            )
        };
        std::fs::create_dir_all(root).with_hint(explain)?;
        let root = root.canonicalize().with_hint(explain)?;
        if !check_version(&root)? {
            // Renamed into place: another process finds the whole text or none, whenever this one is killed.
            let mut file = readable_file_in(&root).with_hint(explain)?;
            file.write_all(VERSION.as_bytes()).with_hint(explain)?;
            file.as_file().sync_all().with_hint(explain)?;
            file.persist(root.join("version")).with_hint(explain)?;
        }
        for part in ["cas", "cas/sha256", "cas/sha256-x", "ac", "checkouts", "roots", "tmp"] {
            make_directory(&root.join(part)).with_hint(explain)?;
        }
        let path = root.join("lock");
        let lock = open_or_create(&path, false).map_err(|error| {
            let hinted = if store_file::is_not_regular(&error) { explain_lock(&path) } else { explain() };
            hinted.because(error)
        })?;
        let holders = |path: &Path| Holder::read(path).into_iter().collect();
        wait_for(&path, || lock.try_lock_shared(), holders, &|text| tracing::warn!("{text}"))?;
        temporary::sweep(&root.join("tmp"));
        let (temporary, temporary_lock) = temporary::own(&root.join("tmp")).with_hint(explain)?;
        Self::new(root, Some(lock), Some(Writer { temporary, _lock: temporary_lock }))
    }

    /// Opens the store at `root` to look at it: nothing in it is made, changed, healed or removed, also where there is none
    /// yet. What would write is an error. Errors: it is a store of another version.
    pub fn look(root: &Path) -> Result<Self> {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        check_version(&root)?;
        let path = root.join("lock");
        let lock = match store_file::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            opened => Some(opened.with_hint(|| explain_lock(&path))?.0),
        };
        if let Some(lock) = &lock {
            let holders = |path: &Path| Holder::read(path).into_iter().collect();
            wait_for(&path, || lock.try_lock_shared(), holders, &|text| tracing::warn!("{text}"))?;
        }
        Self::new(root, lock, None)
    }

    fn new(root: PathBuf, lock: Option<File>, writer: Option<Writer>) -> Result<Self> {
        let mut store = Self {
            root,
            writer,
            lock,
            clones: AtomicBool::new(true),
            rehash: Rehash::default(),
            hashed: Hashed::default(),
            damaged_before: 0,
            begun: Mutex::default(),
            peers: Vec::new(),
            used: Mutex::default(),
        };
        store.damaged_before = store.damaged_since(0)?.1;
        Ok(store)
    }

    /// Whether the store may be written, and was not only opened to look at it.
    pub(crate) fn is_writable(&self) -> bool {
        self.writer.is_some()
    }

    /// Errors where the store was only opened to look at it. Gives this process' part of `tmp/`.
    pub(crate) fn writable(&self) -> Result<&Path> {
        let writer = self.writer.as_ref();
        writer.map(|writer| writer.temporary.as_path()).with_context(|| {
            format!(
                "the store {} was opened only to look at it, and this would write to it",
                self.root.display()
            )
        })
    }

    /// `$XDG_CACHE_HOME/mlc-repro`, or `~/.cache/mlc-repro`.
    pub fn default_root() -> Result<PathBuf> {
        let directory =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The XDG Base Directory specification has relative paths ignored.
        directory("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| directory("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join("mlc-repro"))
            .with_hint(|| {
                hinted(
                    "neither XDG_CACHE_HOME nor HOME is set",
                    "name the store with `--store` or MLC_REPRO_STORE",
                )
            })
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps bytes.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.contains(&digest) {
            let mut file = self.temporary_file()?;
            file.write_all(bytes).with_hint(|| self.write_error())?;
            self.publish(file, &digest, false)?;
        }
        Ok(digest)
    }

    /// Keeps a copy of a file's content. Errors: it can't be read, or changes while it is read.
    pub fn put_file(&self, path: &Path) -> Result<Digest> {
        let reading = || format!("cannot read {}", path.display());
        let (mut source, metadata) =
            store_file::open_any(path).with_context(|| format!("cannot open {}", path.display()))?;
        let size = metadata.len();
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
        let mut file = self.temporary_file()?;
        let mut hash = HashWriter::new(std::io::sink());
        sparse::copy_with(&mut source, file.as_file_mut(), &mut |piece| hash.update(piece))
            .with_hint(|| self.write_error())
            .with_context(|| format!("cannot copy {}", path.display()))?;
        ensure!(hash.finish().1 == digest, "{} changed while it was read", path.display());
        self.publish(file, &digest, false)?;
        Ok(digest)
    }

    /// Makes a file on the store's file system a blob, by renaming it. The caller has hashed it.
    pub fn adopt(&self, path: &Path, digest: &Digest) -> Result<()> {
        self.writable()?;
        let (opened, _) =
            store_file::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        stamp(&opened, false).with_context(|| format!("cannot stamp {}", path.display()))?;
        opened.sync_all().with_hint(|| self.write_error())?;
        let file =
            TempPath::try_from_path(path).with_context(|| format!("cannot keep {}", path.display()))?;
        self.name_blob(file, &self.place(digest, false))
    }

    /// A blob to be written piece by piece.
    pub fn writer(&self) -> Result<BlobWriter<'_>> {
        BlobWriter::new(self)
    }

    /// A private directory on the store's file system, removed when dropped (or by a later process, after a crash).
    pub fn scratch(&self) -> Result<Scratch> {
        Scratch::new_in(self.writable()?).with_hint(|| self.write_error())
    }

    /// Writes a small file that the store has beside its blobs, at a place below its root: whole or not at all, whenever
    /// the process is killed, and what it leaves behind then is swept away. Errors: the disk is full.
    pub fn write_note(&self, place: &Path, content: &[u8]) -> Result<()> {
        let explain = || self.write_error();
        let directory = place.parent().context("a note has a directory")?;
        make_directory(directory)?;
        let mut file = self.temporary_file()?;
        file.write_all(content).with_hint(explain)?;
        file.as_file().sync_all().with_hint(explain)?;
        if std::fs::symlink_metadata(place).is_ok_and(|metadata| metadata.is_dir()) {
            self.set_aside(place, "directory")?;
        }
        file.persist(place).with_hint(explain)?;
        Ok(())
    }

    /// What [`Store::write_note`] wrote; nothing where there is nothing, or what is not a regular file.
    pub fn read_note(&self, place: &Path) -> Option<Vec<u8>> {
        store_file::read(place).ok()
    }

    pub(crate) fn temporary_file(&self) -> Result<NamedTempFile> {
        let directory = self.writable()?;
        readable_file_in(directory).with_hint(|| self.write_error())
    }

    /// A temporary file that shares `source`'s blocks, where the file system can (FICLONE: XFS, btrfs, bcachefs).
    pub(crate) fn cloned(&self, source: &File) -> Result<Option<NamedTempFile>> {
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
    pub(crate) fn write_error(&self) -> Hinted {
        let free = self
            .free_bytes()
            .map_or_else(|_| String::new(), |free| format!(" ({} MB free)", free / 1_000_000));
        hinted(
            format!("cannot write to the store at {}{free}", self.root.display()),
            "`cargo xtask store gc` frees what no release or lock needs",
        )
    }

    /// Makes a temporary file a blob. Losing a race against another process is fine: the content is the same, and what
    /// is there stays. Replacing it would take the name from a file that others are just linking to.
    pub(crate) fn publish(&self, file: NamedTempFile, digest: &Digest, executable: bool) -> Result<()> {
        stamp(file.as_file(), executable).with_hint(|| self.write_error())?;
        if digest.size >= SYNC_ALONE {
            file.as_file().sync_all().with_hint(|| self.write_error())?;
        }
        self.name_blob(file.into_temp_path(), &self.place(digest, executable))
    }

    fn name_blob(&self, mut file: TempPath, place: &Path) -> Result<()> {
        if place.parent().is_some_and(|shelf| shelf.symlink_metadata().is_ok()) {
            self.check_shelf(place)?;
        }
        // The two-digit directory is made when its first blob comes.
        for make_directory in [true, false] {
            match file.persist_noclobber(place) {
                Ok(()) => return Ok(()),
                Err(error) if error.error.kind() == ErrorKind::AlreadyExists => return Ok(()),
                Err(error) if error.error.kind() == ErrorKind::NotFound && make_directory => {
                    std::fs::create_dir_all(place.parent().context("a blob has a directory")?)
                        .with_hint(|| self.write_error())?;
                    file = error.path;
                }
                Err(error) => return Err(error.error).with_hint(|| self.write_error()),
            }
        }
        bail!("cannot write {}", place.display())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            // Best effort: a later process sweeps what stays.
            let _ = temporary::remove(&writer.temporary);
        }
    }
}

/// Whether a store of our version is there; not where there is nothing yet. Errors: it has another version.
fn check_version(root: &Path) -> Result<bool> {
    let path = root.join("version");
    let bytes = match store_file::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    ensure!(
        bytes == VERSION.as_bytes(),
        hinted(
            format!(
                "{} is a store of version {}, this program writes version {}",
                root.display(),
                String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).trim().escape_debug(),
                VERSION.trim()
            ),
            "choose another directory with `--store`"
        )
    );
    Ok(true)
}

fn explain_lock(path: &Path) -> Hinted {
    hinted(
        format!("cannot open the lock {}", path.display()),
        "it must be a regular file; remove what stands there",
    )
}

/// A temporary file that others may read once it has its name (by default, temporary files are private).
fn readable_file_in(directory: &Path) -> std::io::Result<NamedTempFile> {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(directory)
}

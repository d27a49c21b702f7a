//! The store on disk.

use crate::{Digest, Progress, Tree};
use anyhow::{Result, bail};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

/// What running an action gave (a subset of REAPI `ActionResult`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionResult {
    /// Root of the output tree.
    pub outputs: Digest,
    /// The log (stdout and stderr as they came), if there is one.
    pub log: Option<Digest>,
}

/// A content-addressed store in a directory. Cheap to clone the reference of; safe for several threads and processes.
pub struct Store {
    root: PathBuf,
}

/// A blob being written; nothing is visible before [`BlobWriter::finish`].
pub struct BlobWriter<'a> {
    store: &'a Store,
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        unreachable!()
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl BlobWriter<'_> {
    /// Makes the blob visible (fsync, rename) and gives its digest. With `expected`, a different content is an error
    /// and nothing is kept.
    pub fn finish(self, expected: Option<&Digest>) -> Result<Digest> {
        let _ = (self.store, expected);
        bail!("not written yet")
    }
}

impl Store {
    /// Opens, or creates, the store at `root`, sharing it with other processes.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self { root: root.to_owned() })
    }
    /// `$XDG_CACHE_HOME/mlc-repro`, or `~/.cache/mlc-repro`.
    pub fn default_root() -> Result<PathBuf> {
        bail!("not written yet")
    }
    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Whether the blob is there (not whether it is intact).
    pub fn contains(&self, digest: &Digest) -> bool {
        let _ = digest;
        false
    }
    /// Keeps bytes.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let _ = bytes;
        bail!("not written yet")
    }
    /// Keeps a copy of a file's content.
    pub fn put_file(&self, path: &Path) -> Result<Digest> {
        let _ = path;
        bail!("not written yet")
    }
    /// A blob to be written piece by piece.
    pub fn writer(&self) -> Result<BlobWriter<'_>> {
        bail!("not written yet")
    }
    /// A blob's content, checked. A damaged blob is quarantined, and an error that says so.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let _ = digest;
        bail!("not written yet")
    }
    /// A checked blob, open for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let _ = digest;
        bail!("not written yet")
    }
    /// The checked path of a blob, for programs that want a file; `executable` chooses the variant with mode 0555.
    pub fn blob_path(&self, digest: &Digest, executable: bool) -> Result<PathBuf> {
        let _ = (digest, executable);
        bail!("not written yet")
    }
    /// Imports a directory of the file system as a tree. Devices, sockets and names that are not UTF-8 are errors.
    pub fn import(&self, directory: &Path) -> Result<Tree> {
        let _ = directory;
        bail!("not written yet")
    }
    /// Writes a tree to `destination`, which must not exist: hard links (or reflinks) to read-only blobs, fixed times.
    pub fn materialise(&self, tree: &Tree, destination: &Path) -> Result<()> {
        let _ = (tree, destination);
        bail!("not written yet")
    }
    /// As [`Store::materialise`], into `checkouts/HEX` of the store, kept there; made at most once over all processes.
    pub fn checkout(&self, root: &Digest, progress: &dyn Progress) -> Result<PathBuf> {
        let _ = (root, progress);
        bail!("not written yet")
    }
    /// A private directory on the store's file system, removed when dropped (or by the next process, after a crash).
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        bail!("not written yet")
    }
    /// The result kept for an action's digest, if there is one and its outputs are complete.
    pub fn result(&self, action: &Digest) -> Result<Option<ActionResult>> {
        let _ = action;
        bail!("not written yet")
    }
    /// Keeps an action's result.
    pub fn put_result(&self, action: &Digest, result: &ActionResult) -> Result<()> {
        let _ = (action, result);
        bail!("not written yet")
    }
    /// The NAR hash of a tree in SRI form (`sha256-…`), as Nix computes it.
    pub fn nar_hash(&self, tree: &Tree) -> Result<String> {
        let _ = tree;
        bail!("not written yet")
    }
}

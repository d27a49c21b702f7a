//! Archives whose bytes depend on their content alone.
//!
//! Entries are sorted; times are 1980-01-01, the first that zip knows; owners are 0 without names; modes are 0644 and
//! 0755; one thread compresses at a fixed level. The compressor's version is a part of the bytes: Cargo.lock pins it,
//! and a test holds the digest of a known archive, so that an update which changes bytes is noticed.

use anyhow::{Context, Result, bail};
use flate2::{Compression, GzBuilder, write::GzEncoder};
use std::{
    fs::File,
    io::{BufWriter, ErrorKind, Read, Seek, Write},
};
use store::{BLOB_TIME, Digest, Entry, Store, Tree};
use tar::{EntryType, Header};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// The kind of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// tar, compressed by gzip.
    TarGz,
    /// zip.
    Zip,
}

impl Kind {
    /// By a file's name. Wheels, AARs and jars are zip archives.
    pub fn of(file_name: &str) -> Option<Self> {
        if file_name.ends_with(".tar.gz") {
            return Some(Self::TarGz);
        }
        [".zip", ".whl", ".aar", ".jar"].iter().any(|end| file_name.ends_with(end)).then_some(Self::Zip)
    }

    /// What a file name ends with.
    pub fn extension(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::Zip => "zip",
        }
    }
}

/// Writes a tree as an archive into the store, everything below the directory `top`.
pub fn write_archive(store: &Store, tree: &Tree, top: &str, kind: Kind) -> Result<Digest> {
    let explain = |path: &str| format!("cannot archive `{path}`");
    match kind {
        Kind::TarGz => {
            let mut tar = TarFile::new(store.writer()?);
            for (path, entry) in tree.iter() {
                let place = format!("{top}/{path}");
                match entry {
                    Entry::File { digest, executable } => {
                        tar.file(&place, digest.size, *executable, store.open_blob(digest)?)
                    }
                    Entry::Symlink { target } => tar.link(&place, target),
                    Entry::Directory => tar.directory(&place),
                }
                .with_context(|| explain(path))?;
            }
            tar.finish()?.finish(None)
        }
        Kind::Zip => {
            let mut zip = ZipFile::new(store)?;
            for (path, entry) in tree.iter() {
                let place = format!("{top}/{path}");
                match entry {
                    Entry::File { digest, executable } => zip.file(store, &place, digest, *executable),
                    Entry::Directory => zip.directory(&place),
                    Entry::Symlink { target } => {
                        bail!("zip archives are for Windows, which has no links like the one to `{target}`")
                    }
                }
                .with_context(|| explain(path))?;
            }
            zip.finish(store)
        }
    }
}

/// A compressed tar archive being written: members in the order they are given.
pub(crate) struct TarFile<W: Write> {
    builder: tar::Builder<GzEncoder<W>>,
}

impl<W: Write> TarFile<W> {
    /// An empty archive, written to `writer`.
    pub fn new(writer: W) -> Self {
        let gzip = GzBuilder::new().mtime(0).operating_system(255).write(writer, Compression::new(6));
        Self { builder: tar::Builder::new(gzip) }
    }

    /// Adds a file of `size` bytes.
    pub fn file(&mut self, path: &str, size: u64, executable: bool, content: impl Read) -> Result<()> {
        tar_file(&mut self.builder, path, size, executable, content)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        tar_link(&mut self.builder, path, target)
    }

    /// Adds an empty directory.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        tar_directory(&mut self.builder, path)
    }

    /// Ends it, and gives the writer back.
    pub fn finish(self) -> Result<W> {
        Ok(self.builder.into_inner()?.finish()?)
    }
}

/// Adds a file of `size` bytes to an archive that is not compressed.
pub(crate) fn tar_file(
    builder: &mut tar::Builder<impl Write>,
    path: &str,
    size: u64,
    executable: bool,
    content: impl Read,
) -> Result<()> {
    let mut header = plain_header(EntryType::Regular, if executable { 0o755 } else { 0o644 });
    header.set_size(size);
    Ok(builder.append_data(&mut header, path, Whole(content))?)
}

/// A reader that fills the buffer it is given, but at the end. What a compressor makes of a file depends on the pieces in which
/// it is given, and a file, a pipe and another archive's member come in different pieces.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut count = 0;
        while count < buffer.len() {
            match self.0.read(&mut buffer[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

/// Adds a symbolic link to an archive that is not compressed.
pub(crate) fn tar_link(builder: &mut tar::Builder<impl Write>, path: &str, target: &str) -> Result<()> {
    Ok(builder.append_link(&mut plain_header(EntryType::Symlink, 0o777), path, target)?)
}

/// Adds an empty directory to an archive that is not compressed.
pub(crate) fn tar_directory(builder: &mut tar::Builder<impl Write>, path: &str) -> Result<()> {
    let mut header = plain_header(EntryType::Directory, 0o755);
    Ok(builder.append_data(&mut header, format!("{path}/"), std::io::empty())?)
}

pub(crate) fn plain_header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_mtime(BLOB_TIME);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header
}

/// A zip archive being written: members in the order they are given. zip writes sizes back into headers, so in the store it is
/// a file of the scratch space until it is finished; of the members, no more than a buffer is ever in memory.
pub(crate) struct ZipFile<W: Write + Seek> {
    zip: ZipWriter<W>,
}

impl<W: Write + Seek> ZipFile<W> {
    /// An empty archive, written to `writer`.
    pub fn to(writer: W) -> Self {
        Self { zip: ZipWriter::new(writer) }
    }

    /// Adds a file of `size` bytes.
    pub fn add(&mut self, path: &str, size: u64, executable: bool, content: impl Read) -> Result<()> {
        let mode = if executable { 0o755 } else { 0o644 };
        self.zip.start_file(path, options().large_file(size >= LARGE).unix_permissions(mode))?;
        std::io::copy(&mut Whole(content), &mut self.zip)?;
        Ok(())
    }

    /// Adds an empty directory.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        Ok(self.zip.add_directory(path, options().unix_permissions(0o755))?)
    }

    /// Ends it, and gives the writer back.
    pub fn end(self) -> Result<W> {
        self.zip.finish().context("cannot finish the zip archive")
    }
}

impl ZipFile<BufWriter<File>> {
    /// An empty archive in the store's scratch space.
    pub fn new(store: &Store) -> Result<Self> {
        // The directory and with it the file's name are gone at once; the file itself, when it is closed.
        let directory = store.scratch()?;
        let path = directory.path().join("archive.zip");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self::to(BufWriter::with_capacity(BUFFER, file)))
    }

    /// Adds a blob of the store at `path`.
    pub fn file(&mut self, store: &Store, path: &str, digest: &Digest, executable: bool) -> Result<()> {
        self.add(path, digest.size, executable, store.open_blob(digest)?)
    }

    /// Makes a blob of it.
    pub fn finish(self, store: &Store) -> Result<Digest> {
        let mut file = self.end()?.into_inner().context("cannot finish the zip archive")?;
        file.rewind()?;
        let mut writer = store.writer()?;
        std::io::copy(&mut file, &mut writer)?;
        writer.finish(None)
    }
}

/// Bytes that are kept back before they are written.
const BUFFER: usize = 256 * 1024;

/// From this size in bytes on, zip needs its 64-bit fields.
const LARGE: u64 = u32::MAX as u64;

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(6))
        .last_modified_time(DateTime::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Limits, Member, list_archive, list_in_form};
    use std::{collections::BTreeMap, io::Cursor};

    const LIMITS: Limits = Limits { bytes: 1 << 20, members: 10 };

    fn members(bytes: &[u8], kind: Kind) -> Vec<Member> {
        list_archive(Cursor::new(bytes), kind, LIMITS).unwrap()
    }

    fn tree(store: &Store) -> Tree {
        let mut tree = Tree::new();
        for (path, text, executable) in [("lib/b", "two", false), ("bin/a", "one", true)] {
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable }).unwrap();
        }
        tree
    }

    #[test]
    fn archives_have_known_bytes_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for (kind, expected) in [
            (Kind::TarGz, "c3751895ac0d1d086888275027f5e5ab40a739b559a79b910923c063204488b2"),
            (Kind::Zip, "68043deccd978ea35f25e2b13dc69277bd0cb766cd28e71535b8b9470a9fc13f"),
        ] {
            let digest = write_archive(&store, &tree(&store), "top-1", kind).unwrap();
            assert_eq!(digest, write_archive(&store, &tree(&store), "top-1", kind).unwrap());
            let file = |path: &str, text: &str, executable| Member {
                path: path.into(),
                content: Content::File { digest: Digest::of(text.as_bytes()), executable },
            };
            assert_eq!(
                members(&store.read(&digest).unwrap(), kind),
                [file("top-1/bin/a", "one", true), file("top-1/lib/b", "two", false)]
            );
            assert_eq!(digest.hex(), expected, "{kind:?}: the compressor writes other bytes than before");
        }
    }

    #[test]
    fn the_compressor_is_the_one_that_releases_were_made_with() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        // Long enough for several blocks, and with repetitions near and far: short texts look alike in any compressor.
        let mut seed = 1u64;
        let text: String = (0..60_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                format!("word{} ", (seed >> 33) % 2000)
            })
            .collect();
        let mut tree = Tree::new();
        let digest = store.put_bytes(text.as_bytes()).unwrap();
        tree.insert("text", Entry::File { digest, executable: false }).unwrap();
        let digest = write_archive(&store, &tree, "top", Kind::TarGz).unwrap();
        assert_eq!(
            digest.hex(),
            "540c418715c2f1698bd3cf9be31aa5cf0db7fb867e51bb543f616bdb4c196cb4",
            "the compressor writes other bytes than before"
        );
        // A member of an archive comes in other pieces than a file, and is compressed to the same bytes all the same.
        for kind in [Kind::TarGz, Kind::Zip] {
            let digest = write_archive(&store, &tree, "top", kind).unwrap();
            let bytes = store.read(&digest).unwrap();
            let listing = list_in_form(&bytes.as_slice(), kind, LIMITS, &BTreeMap::new()).unwrap();
            assert_eq!(listing.deviation, None, "{kind:?}");
        }
    }

    #[test]
    fn nothing_hides_behind_the_first_gzip_member() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let archive = write_archive(&store, &tree(&store), "top", Kind::TarGz).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*store.read(&archive).unwrap()).read_to_end(&mut plain).unwrap();
        let mut bytes = Vec::new();
        // Each file takes two blocks: the first file, then a second gzip member with the other.
        for part in [&plain[..1024], &plain[1024..]] {
            let mut gzip = GzBuilder::new().write(&mut bytes, Compression::new(6));
            gzip.write_all(part).unwrap();
            gzip.finish().unwrap();
        }
        let members = members(&bytes, Kind::TarGz);
        let paths: Vec<_> = members.iter().map(|member| member.path.as_str()).collect();
        assert_eq!(paths, ["top/bin/a", "top/lib/b"]);
    }

    #[test]
    fn other_programs_read_them() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        for (kind, list) in [(Kind::TarGz, ["tar", "-tvzf"]), (Kind::Zip, ["python3", "-mzipfile"])] {
            let digest = write_archive(&store, &tree(&store), "top-1", kind).unwrap();
            let path = store.blob_path(&digest, false).unwrap();
            let mut command = std::process::Command::new(list[0]);
            command.arg(list[1]);
            if kind == Kind::Zip {
                command.arg("-l");
            }
            let output = command.arg(path).env("TZ", "UTC").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success() && text.contains("top-1/lib/b") && text.contains("1980-01-01"),
                "{text}"
            );
        }
    }

    #[test]
    fn links_have_no_place_in_a_zip() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut tree = Tree::new();
        tree.insert("link", Entry::Symlink { target: "x".into() }).unwrap();
        assert!(write_archive(&store, &tree, "top", Kind::TarGz).is_ok());
        assert!(write_archive(&store, &tree, "top", Kind::Zip).is_err());
    }
}

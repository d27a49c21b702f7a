//! Archives become trees. Archives come from strangers: what would leave the tree, fill the disk or mean two things at
//! once is refused.

mod deb;
mod links;
mod tar;
mod zip;

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Seek, SeekFrom};
use store::{Action, ActionResult, Digest, Entry, Store, Tree, hinted};

/// Raised when the same archive would become another tree.
const VERSION: &str = "1";

/// More entries than any archive that we use has (LLVM's source: 150,000).
const MOST_ENTRIES: usize = 1_000_000;

/// What an archive may unpack to: 200 times its size, and at least this.
const LEAST_LIMIT: u64 = 1 << 30;

/// How an archive is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A Debian binary package: the `data` member of its `ar` archive.
    Deb,
    /// tar, plain or compressed by gzip, xz or zstd.
    Tar,
    /// zip, and so wheels.
    Zip,
}

impl Format {
    /// By a file's name; what is neither a package nor a zip is taken for a tar.
    pub fn of(file_name: &str) -> Self {
        let ends = |ending: &str| file_name.to_ascii_lowercase().ends_with(ending);
        if ends(".deb") {
            return Self::Deb;
        }
        if ends(".zip") || ends(".whl") {
            return Self::Zip;
        }
        Self::Tar
    }

    /// What keys call it.
    fn name(self) -> &'static str {
        match self {
            Self::Deb => "Deb",
            Self::Tar => "Tar",
            Self::Zip => "Zip",
        }
    }
}

/// Which part of an archive is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Leading path components to take off; what has fewer is left out.
    pub strip: usize,
    /// Files and directories to keep, after `strip`; everything when empty.
    pub subtrees: Vec<String>,
}

impl Part {
    /// Where an entry of the archive goes; nothing when it is not wanted.
    fn place<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = (0..self.strip).try_fold(path, |rest, _| Some(rest.split_once('/')?.1))?;
        let wanted = self.subtrees.is_empty()
            || self.subtrees.iter().any(|subtree| {
                path.strip_prefix(subtree.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
        wanted.then_some(path)
    }
}

/// Unpacks a part of an archive of the store; done once ever for each archive and part.
///
/// Kept: regular files, their executable bit, symbolic links, hard links (as files), empty directories. Errors:
/// absolute paths and `..`; links that leave the tree, be it by way of another link (in Debian packages absolute links are fine:
/// they are relative to the root that the package is unpacked to); devices and pipes; a path that stands there twice with different
/// contents; what programs read differently (two headers that disagree, bytes that belong to nothing); more than 200 times the
/// archive's size, of whatever; damaged or truncated archives; a subtree that is not there.
pub fn unpack(store: &Store, archive: &Digest, format: Format, part: &Part) -> Result<Tree> {
    let work = work(archive, format, part);
    if let Some(result) = store.result(&work.digest())? {
        return Tree::read(store, &result.outputs);
    }
    // So that it is known what the tree was made from.
    let key = work.write(store)?;
    let mut file = store.open_blob(archive)?;
    let mut unpacker = Unpacker::new(store, archive.size, format, part);
    match format {
        Format::Deb => deb::read(&mut file, &mut unpacker)?,
        Format::Tar => tar::read(decompress(file, unpacker.left)?, &mut unpacker)?,
        Format::Zip => zip::read(file, &mut unpacker)?,
    }
    let tree = unpacker.finish()?;
    let outputs = tree.write(store)?;
    store.put_result(&key, &ActionResult { outputs, log: None })?;
    Ok(tree)
}

/// What [`unpack`] gave before, if it did: nothing is unpacked.
pub fn unpacked(store: &Store, archive: &Digest, format: Format, part: &Part) -> Result<Option<Tree>> {
    let result = store.result(&work(archive, format, part).digest())?;
    result.map(|result| Tree::read(store, &result.outputs)).transpose()
}

fn work(archive: &Digest, format: Format, part: &Part) -> Action {
    let mut words = vec![
        "unpack".to_owned(),
        VERSION.to_owned(),
        format.name().to_owned(),
        archive.to_string(),
        part.strip.to_string(),
    ];
    words.extend(part.subtrees.iter().cloned());
    Action::named(words)
}

/// The tree of a directory that a container engine packed as a tar archive, without the directory's own name.
///
/// As of [`unpack`], but that links may lead anywhere, as in every tree that a build leaves, and that the directory may be
/// empty and large.
///
/// # Errors
/// As of [`unpack`]. If the files have more than `most` bytes together: a file is refused by what the archive says of its size,
/// before any of it is read.
pub fn unpack_outputs(store: &Store, archive: impl Read, most: u64) -> Result<Tree> {
    let part = Part { strip: 1, subtrees: Vec::new() };
    let mut unpacker = Unpacker {
        store,
        part: &part,
        links: Links::Anywhere,
        tree: Tree::new(),
        entries: 0,
        left: most.min(u64::MAX - 1),
    };
    tar::read(archive, &mut unpacker)?;
    Ok(unpacker.tree)
}

/// Where the links of an archive may lead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    /// Into the tree.
    Inside,
    /// The same; absolute ones are relative to the root of the tree.
    FromItsRoot,
    /// Anywhere.
    Anywhere,
}

/// The most memory that a decompressor may ask for, in bytes: four times what `xz -9` needs.
const DECOMPRESSOR_MEMORY: u64 = 256 << 20;

/// Chooses the decompressor by the first bytes. Whoever reads more than `limit` bytes gets an error, whatever they are: contents,
/// names, padding.
fn decompress<'a>(mut file: impl Read + Seek + 'a, limit: u64) -> Result<impl Read + 'a> {
    let mut magic = Vec::new();
    file.by_ref().take(6).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let file = std::io::BufReader::with_capacity(1 << 17, file);
    let stream: Box<dyn Read + 'a> = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                DECOMPRESSOR_MEMORY,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    };
    Ok(Bounded { stream, left: limit })
}

/// Why reading stops.
const BOMB: &str = "the archive unpacks to more than 200 times its size; it looks like a bomb";

/// Gives an error behind so many bytes.
struct Bounded<R> {
    stream: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| std::io::Error::other(BOMB))?;
        Ok(count)
    }
}

/// Collects entries, and refuses what must not be there.
struct Unpacker<'a> {
    store: &'a Store,
    part: &'a Part,
    links: Links,
    tree: Tree,
    entries: usize,
    left: u64,
}

impl<'a> Unpacker<'a> {
    fn new(store: &'a Store, size: u64, format: Format, part: &'a Part) -> Self {
        let left = size.saturating_mul(200).max(LEAST_LIMIT);
        let links = if format == Format::Deb { Links::FromItsRoot } else { Links::Inside };
        Self { store, part, links, tree: Tree::new(), entries: 0, left }
    }

    /// Refuses a file by the size that the archive says it has.
    fn announce(&self, path: &str, size: u64) -> Result<()> {
        ensure!(
            self.links != Links::Anywhere || size <= self.left,
            hinted(
                format!(
                    "the outputs are too large to keep: `{}` has {} MB, and there is room for {} MB more",
                    path.escape_debug(),
                    size / 1_000_000,
                    self.left / 1_000_000
                ),
                "holes of a sparse file count \
             as well; write less, raise the limit `outputs` if one is set, free some space, or choose a store on a larger disk with `--store`"
            )
        );
        Ok(())
    }

    /// Counts an entry, or a record of one.
    fn count(&mut self) -> Result<()> {
        self.entries += 1;
        ensure!(self.entries <= MOST_ENTRIES, "the archive has more than {MOST_ENTRIES} entries");
        Ok(())
    }

    /// Makes a path of the archive one of the tree. Nothing for the top itself and for what is not wanted.
    fn place(&mut self, raw: &str) -> Result<Option<String>> {
        self.count()?;
        let path = self.clean(raw)?;
        if path.is_empty() {
            return Ok(None);
        }
        Ok(self.part.place(&path).map(str::to_owned))
    }

    fn file(&mut self, raw: &str, executable: bool, mut content: impl Read) -> Result<()> {
        let Some(path) = self.place(raw)? else {
            let skipped = std::io::copy(&mut content.take(self.left + 1), &mut std::io::sink())
                .with_context(|| format!("the archive is damaged at `{}`", raw.escape_debug()))?;
            return self.spend(skipped);
        };
        // Small files, nearly all, need no temporary file when the store has them already.
        const SMALL: u64 = 1 << 22;
        let mut start = Vec::new();
        let damaged = || format!("the archive is damaged at `{}`", raw.escape_debug());
        content.by_ref().take(SMALL.min(self.left + 1)).read_to_end(&mut start).with_context(damaged)?;
        self.spend(start.len() as u64)?;
        let digest = if (start.len() as u64) < SMALL {
            self.store.put_bytes(&start)?
        } else {
            let mut writer = self.store.writer()?;
            std::io::Write::write_all(&mut writer, &start)?;
            let rest = std::io::copy(&mut content.take(self.left + 1), &mut writer).with_context(damaged)?;
            self.spend(rest)?;
            writer.finish(None)?
        };
        self.insert(&path, Entry::File { digest, executable })
    }

    fn spend(&mut self, bytes: u64) -> Result<()> {
        self.left = self.left.checked_sub(bytes).context(BOMB)?;
        Ok(())
    }

    fn directory(&mut self, raw: &str) -> Result<()> {
        match self.place(raw)? {
            Some(path) => self.insert(&path, Entry::Directory),
            None => Ok(()),
        }
    }

    fn symlink(&mut self, raw: &str, target: &str) -> Result<()> {
        let full = self.clean(raw)?;
        ensure!(!target.is_empty() && !target.contains('\0'), "the link `{full}` has no target");
        if self.links == Links::Anywhere {
            // A build's own business: nothing here follows it.
        } else if target.starts_with('/') {
            ensure!(
                self.links == Links::FromItsRoot,
                "the link `{full}` is absolute: {}",
                target.escape_debug()
            );
        } else {
            let mut depth = full.split('/').count() as i64 - 1;
            for component in target.split('/') {
                match component {
                    "" | "." => {}
                    ".." => depth -= 1,
                    _ => depth += 1,
                }
                ensure!(depth >= 0, "the link `{full}` leaves the archive: {}", target.escape_debug());
            }
        }
        match self.place(raw)? {
            Some(path) => self.insert(&path, Entry::Symlink { target: target.to_owned() }),
            None => Ok(()),
        }
    }

    fn hard_link(&mut self, raw: &str, target: &str) -> Result<()> {
        let Some(path) = self.place(raw)? else { return Ok(()) };
        let target = self.clean(target)?;
        let entry = self.part.place(&target).and_then(|target| self.tree.get(target)).cloned();
        match entry {
            Some(entry @ Entry::File { .. }) => self.insert(&path, entry),
            _ => bail!("`{path}` is a hard link to `{target}`, which is not a file before it"),
        }
    }

    /// As of [`clean`]. podman calls the directory that outputs come from `/`.
    fn clean(&self, raw: &str) -> Result<String> {
        match self.links == Links::Anywhere && raw.starts_with('/') {
            true => clean(&format!("out{raw}")),
            false => clean(raw),
        }
    }

    fn insert(&mut self, path: &str, entry: Entry) -> Result<()> {
        self.tree.insert(path, entry).context("the archive contradicts itself")
    }

    fn finish(self) -> Result<Tree> {
        ensure!(self.entries > 0, "the archive is empty");
        for subtree in &self.part.subtrees {
            let there = self.tree.get(subtree).is_some() || !self.tree.subtree(subtree).is_empty();
            ensure!(
                there,
                "the archive has no `{subtree}` (after taking {} leading parts off)",
                self.part.strip
            );
        }
        ensure!(!self.tree.is_empty(), "nothing is left after taking {} leading parts off", self.part.strip);
        if self.links == Links::Inside {
            links::check(&self.tree)?;
        }
        Ok(self.tree)
    }
}

/// `./a//b/` to `a/b`. Errors: absolute paths, `..`, NUL.
fn clean(raw: &str) -> Result<String> {
    ensure!(!raw.starts_with('/'), "the archive has an absolute path: `{}`", raw.escape_debug());
    ensure!(!raw.contains('\0'), "the archive has a path with a NUL: `{}`", raw.escape_debug());
    let parts: Vec<&str> = raw.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    ensure!(!parts.contains(&".."), "the archive has a path with `..`: `{}`", raw.escape_debug());
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests;

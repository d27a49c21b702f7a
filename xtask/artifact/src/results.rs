//! Results of a store in one file, for another store.
//!
//! A tar archive without compression, since most of its content is compressed already, and parts of it are to be found without
//! reading all of it. Its members stand at their places in a store, so that what it unpacks to can be served:
//!
//! | member | content |
//! |---|---|
//! | `results.json`, the first | [`ResultIndex`] |
//! | `ac/ab/HEX` | `ActionResult` messages by the action's SHA-256; all that they name is in the archive |
//! | `cas/sha256/ab/HEX` | blobs |
//! | `claims/ab/HEX` | `ActionResult` messages of work of our own; of their outputs, the root alone is in the archive |
//!
//! Sorted, each once; times, owners and modes as in every archive of ours: the same results give the same bytes.

use crate::archive::{plain_header, tar_file};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{BufReader, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};
use store::{
    Accepted, Digest, LARGEST_RESULT, Peer, Portable, Progress, Shelf, Store, Unit, blob_path, open_regular,
};
use tar::{EntryType, Header};

/// The format, and its version.
const FORMAT: &str = "mlc-repro/results/1";

/// The member that says what the others are.
const CONTENTS: &str = "results.json";

/// The most that it may have, in bytes.
const LARGEST_CONTENTS: u64 = 1 << 20;

/// How many members an archive may have.
const MOST_MEMBERS: usize = 4_000_000;

/// Members are padded to this many bytes.
const BLOCK: u64 = 512;

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultIndex {
    /// The format: `mlc-repro/results/1`.
    pub format: String,
    /// The releases and nodes that it was made for.
    pub holds: Vec<String>,
    /// How many results are in it.
    pub results: usize,
    /// Of how many more it says what they are.
    pub claims: usize,
    /// How many blobs are in it.
    pub blobs: usize,
}

impl ResultIndex {
    fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let contents: Self = serde_json::from_slice(bytes).context("it is not a list of contents")?;
        ensure!(
            contents.format == FORMAT,
            "it has the format `{}`, and this program reads `{FORMAT}`",
            contents.format.escape_debug()
        );
        ensure!(contents.to_json()?.as_bytes() == bytes, "it is not written as this program writes it");
        Ok(contents)
    }
}

/// Writes an archive of results: actions, and whether the outputs go along and not their roots alone.
///
/// # Errors
/// If a result or blob is missing or damaged, or `out` can't be written.
pub fn write_results(
    store: &Store,
    holds: &[String],
    results: &[(Digest, bool)],
    out: &mut impl Write,
) -> Result<ResultIndex> {
    let mut messages = BTreeMap::new();
    let mut blobs = BTreeMap::new();
    let mut claims = 0;
    for (action, whole) in results {
        let (Portable { action, shelf, message }, reached) = store.portable(action, *whole)?;
        claims += usize::from(shelf == Shelf::Claim);
        messages.insert(shelf.path(&action), message);
        blobs.extend(reached.into_iter().map(|blob| (blob_path(&blob), blob)));
    }
    let contents = ResultIndex {
        format: FORMAT.to_owned(),
        holds: holds.to_vec(),
        results: messages.len() - claims,
        claims,
        blobs: blobs.len(),
    };
    let mut tar = tar::Builder::new(out);
    let json = contents.to_json()?;
    tar_file(&mut tar, CONTENTS, json.len() as u64, false, json.as_bytes())?;
    let mut paths: Vec<&String> = messages.keys().chain(blobs.keys()).collect();
    paths.sort();
    for path in paths {
        match (messages.get(path), blobs.get(path)) {
            (Some(message), _) => tar_file(&mut tar, path, message.len() as u64, false, message.as_slice()),
            (None, Some(blob)) => tar_file(&mut tar, path, blob.size, false, store.open_blob(blob)?),
            (None, None) => Ok(()),
        }
        .with_context(|| format!("cannot write `{path}`"))?;
    }
    tar.into_inner().context("cannot finish the archive")?;
    Ok(contents)
}

/// Takes the results of an archive into a store, by the name `from`. All of the archive is checked before the first result has
/// its name: blobs by their digests, results as [`Store::accept`] says, the archive itself byte for byte. What a process that is
/// killed leaves are blobs without a name.
///
/// # Errors
/// If the archive is not what [`write_results`] would write: nothing is taken in then.
pub fn read_results(
    store: &Store,
    path: &Path,
    from: &str,
    progress: &dyn Progress,
) -> Result<(ResultIndex, Accepted)> {
    let explain = || format!("{} is not an archive of results that can be taken in", path.display());
    let (file, size) = open(path)?;
    let meter = progress.begin(&format!("reading {}", path.display()), size, Unit::Bytes);
    let mut contents = None;
    let mut blobs = BTreeSet::new();
    let mut messages = BTreeMap::new();
    walk(&file, size, &mut |member, content| {
        meter.add(member.size);
        match &member.kind {
            Kind::Contents => contents = Some(ResultIndex::read(&whole(member, content, LARGEST_CONTENTS)?)?),
            Kind::Message(shelf, hex) => {
                let message = whole(member, content, LARGEST_RESULT)?;
                messages.insert((*shelf, hex.clone()), message);
            }
            Kind::Blob(digest) => {
                let free = store.free_bytes()?;
                ensure!(digest.size <= free, "it has {} bytes, and the disk {free} free", digest.size);
                if store.contains(digest) {
                    let found = Digest::of_reader(content)?;
                    ensure!(found == *digest, "it has the SHA-256 {}", found.hex());
                } else {
                    let mut writer = store.writer()?;
                    std::io::copy(content, &mut writer)?;
                    writer.finish(Some(digest))?;
                }
                blobs.insert(*digest);
            }
        }
        Ok(())
    })
    .with_context(explain)?;
    let contents = contents.context("it is empty").with_context(explain)?;
    let by_hex: HashMap<String, Digest> = blobs.iter().map(|blob| (blob.hex(), *blob)).collect();
    let results = messages
        .into_iter()
        .map(|((shelf, hex), message)| {
            let action = *by_hex.get(&hex).with_context(|| format!("it lacks the action {hex}"))?;
            Ok(Portable { action, shelf, message })
        })
        .collect::<Result<Vec<_>>>()
        .with_context(explain)?;
    let claims = results.iter().filter(|result| result.shelf == Shelf::Claim).count();
    let found = (results.len() - claims, claims, blobs.len());
    ensure!(
        found == (contents.results, contents.claims, contents.blobs),
        "{}: `{CONTENTS}` says that it has another number of members",
        explain()
    );
    let accepted = store.accept(&results, &blobs, from).with_context(explain)?;
    Ok((contents, accepted))
}

fn open(path: &Path) -> Result<(File, u64)> {
    let file = open_regular(path).with_context(|| format!("cannot open {}", path.display()))?;
    let size = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
    Ok((file, size))
}

/// A member, by its header.
struct Member {
    kind: Kind,
    size: u64,
    /// Where its content begins in the archive.
    offset: u64,
}

enum Kind {
    Contents,
    Message(Shelf, String),
    Blob(Digest),
}

impl Kind {
    /// Nothing where no member has this path.
    fn of(path: &str, size: u64) -> Option<Self> {
        if path == CONTENTS {
            return Some(Self::Contents);
        }
        let hex = path.rsplit('/').next()?;
        let digest = Digest::from_hex(hex, size).ok()?;
        for shelf in [Shelf::Whole, Shelf::Claim] {
            if path == shelf.path(&digest) {
                return Some(Self::Message(shelf, hex.to_owned()));
            }
        }
        (path == blob_path(&digest)).then_some(Self::Blob(digest))
    }
}

/// Reads a member that is kept in memory.
fn whole(member: &Member, content: &mut dyn Read, most: u64) -> Result<Vec<u8>> {
    ensure!(member.size <= most, "it has {} bytes, at most {most} are allowed", member.size);
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Gives every member, with its content. Every byte between them is held against what [`write_results`] writes.
fn walk(file: &File, size: u64, each: &mut dyn FnMut(&Member, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut position, mut members, mut last) = (0u64, 0usize, String::new());
    loop {
        let mut block = [0; BLOCK as usize];
        reader.read_exact(&mut block).context("it ends too early")?;
        position += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            let mut rest = Vec::new();
            reader.take(BLOCK + 1).read_to_end(&mut rest)?;
            ensure!(rest == [0; BLOCK as usize], "it goes on behind its end, or ends too early");
            ensure!(members > 0, "it is empty");
            return Ok(());
        }
        let (path, length) = parse(&block).with_context(|| format!("at byte {}", position - BLOCK))?;
        let shown = path.escape_debug().to_string();
        ensure!(
            if members == 0 { path == CONTENTS } else { path != CONTENTS && last < path },
            "`{shown}` is not at its place"
        );
        members += 1;
        ensure!(members <= MOST_MEMBERS, "it has more than {MOST_MEMBERS} members");
        ensure!(length <= size.saturating_sub(position), "it ends within `{shown}`");
        let kind = Kind::of(&path, length).with_context(|| format!("`{shown}` does not belong there"))?;
        let member = Member { kind, size: length, offset: position };
        let mut content = (&mut reader).take(length);
        each(&member, &mut content).with_context(|| format!("in `{shown}`"))?;
        // What was not read.
        std::io::copy(&mut content, &mut std::io::sink())?;
        let padding = length.next_multiple_of(BLOCK) - length;
        let mut rest = Vec::new();
        (&mut reader).take(padding).read_to_end(&mut rest)?;
        ensure!(
            rest.len() as u64 == padding && rest.iter().all(|byte| *byte == 0),
            "behind `{shown}` is something else than zeros"
        );
        position += length + padding;
        // The contents stand before all that is sorted.
        last = if path == CONTENTS { String::new() } else { path };
    }
}

/// Path and size of a member. Errors: this is not the header that is written for these.
fn parse(block: &[u8; BLOCK as usize]) -> Result<(String, u64)> {
    let mut found = Header::new_old();
    found.as_mut_bytes().copy_from_slice(block);
    let path = String::from_utf8(found.path_bytes().into_owned()).context("a name is not UTF-8")?;
    let size = found.entry_size().context("a member has no size")?;
    let mut expected = plain_header(EntryType::Regular, 0o644);
    expected.set_size(size);
    expected.set_path(&path).context("a name can't stand in an archive")?;
    expected.set_cksum();
    if expected.as_bytes() != block {
        bail!("the header of `{}` is not as this program writes it", path.escape_debug());
    }
    Ok((path, size))
}

/// An archive of results that is asked for single ones.
pub struct ArchivePeer {
    name: String,
    file: File,
    /// Where blobs begin, and how long they are.
    blobs: HashMap<Digest, u64>,
    messages: HashMap<String, Vec<u8>>,
}

impl ArchivePeer {
    /// Looks through an archive; blobs are hashed when they are asked for.
    ///
    /// # Errors
    /// If it is not what [`write_results`] would write.
    pub fn open(name: &str, path: &Path) -> Result<Self> {
        let explain = || format!("{} is not an archive of results", path.display());
        let (file, size) = open(path)?;
        let (mut blobs, mut messages) = (HashMap::new(), HashMap::new());
        walk(&file, size, &mut |member, content| {
            match &member.kind {
                Kind::Contents => {
                    ResultIndex::read(&whole(member, content, LARGEST_CONTENTS)?)?;
                }
                Kind::Message(shelf, hex) => {
                    let action = Digest::from_hex(hex, 0)?;
                    messages.insert(shelf.path(&action), whole(member, content, LARGEST_RESULT)?);
                }
                Kind::Blob(digest) => {
                    blobs.insert(*digest, member.offset);
                }
            }
            Ok(())
        })
        .with_context(explain)?;
        Ok(Self { name: name.to_owned(), file, blobs, messages })
    }
}

impl Peer for ArchivePeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn result(&self, shelf: Shelf, action: &Digest) -> Result<Option<Vec<u8>>> {
        Ok(self.messages.get(&shelf.path(action)).cloned())
    }

    fn bring(&self, store: &Store, blobs: &[Digest]) -> Result<()> {
        for blob in blobs {
            let offset = *self.blobs.get(blob).with_context(|| format!("it lacks the blob {blob}"))?;
            let mut writer = store.writer()?;
            let mut buffer = vec![0; 256 * 1024];
            let mut done = 0;
            while done < blob.size {
                let piece =
                    usize::try_from(blob.size - done).map_or(buffer.len(), |left| left.min(buffer.len()));
                self.file.read_exact_at(&mut buffer[..piece], offset + done)?;
                writer.write_all(&buffer[..piece])?;
                done += piece as u64;
            }
            writer.finish(Some(blob)).with_context(|| format!("the blob {blob} is damaged"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Whether an archive of a stranger is, byte for byte, the one that this program writes of the same members.
//!
//! What a reader makes of an archive depends on the reader: records that rename a member, a header in front of a member
//! that contradicts the directory at the end, modes, owners, bytes in gaps. So the bytes are checked, not one reader's view:
//! while the members stream by they are written again, into a writer that compares with the archive and keeps nothing.

mod place;

use crate::{
    Content, Kind, Limits, Member,
    archive::{TarFile, ZipFile},
    member::{Seen, visit},
};
use anyhow::Result;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Error, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
};
use store::HashWriter;

/// Bytes at an offset, whoever else reads. Few bytes mean that there are no more.
pub trait ReadAt {
    /// Reads up to `buffer.len()` bytes at `offset`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize>;

    /// How many bytes there are.
    fn size(&self) -> std::io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// What an archive holds, and whether its bytes are those that this program writes.
#[derive(Debug)]
pub struct Listing {
    /// The members, in the archive's order.
    pub members: Vec<Member>,
    /// The contents that were asked for, by the member's path.
    pub kept: BTreeMap<String, Vec<u8>>,
    /// Where the archive differs first from the one that this program writes of the same members in the same order, in
    /// words; nothing when it is that one.
    pub deviation: Option<String>,
}

/// Lists an archive and compares it with the one form that its members have. Neither the archive nor a member is ever in
/// memory as a whole, but for the members that `keep` names, up to so many bytes each; a longer one is not kept.
///
/// # Errors
/// As [`crate::list_archive`]: if the archive is damaged, ambiguous, or holds more than `limits` allow.
pub fn list_in_form(
    archive: &dyn ReadAt,
    kind: Kind,
    limits: Limits,
    keep: &BTreeMap<String, u64>,
) -> Result<Listing> {
    let state = RefCell::new(State::default());
    let mut again = Again::new(kind, Compare { archive, position: 0, state: &state });
    let (mut members, mut kept) = (Vec::new(), BTreeMap::new());
    visit(At::new(archive)?, kind, limits, &mut |path, seen| {
        let content = match seen {
            Seen::File { executable, size, content } => {
                let most = keep.get(path).filter(|most| size <= **most);
                let copy = Copy { bytes: Vec::new(), most: most.copied() };
                let mut hashing = Hashing { content, hash: HashWriter::new(copy) };
                again.write(&state, |again| again.file(path, size, executable, &mut hashing));
                std::io::copy(&mut hashing, &mut std::io::sink())?;
                let (copy, digest) = hashing.hash.finish();
                if copy.most.is_some() {
                    kept.insert(path.to_owned(), copy.bytes);
                }
                Content::File { digest, executable }
            }
            Seen::Link { target } => {
                again.write(&state, |again| again.link(path, &target));
                Content::Link { target }
            }
            Seen::Directory => {
                again.write(&state, |again| again.directory(path));
                Content::Directory
            }
        };
        members.push(Member { path: path.to_owned(), content });
        Ok(())
    })?;
    again.finish(&state);
    let size = archive.size()?;
    let state = state.into_inner();
    let deviation = match (state.first(), state.refused) {
        (Some(offset), _) => Some(place::describe(archive, kind, limits, offset)),
        (None, Some(reason)) => Some(format!("it can't be written again: {reason}")),
        (None, None) if state.end != size => {
            Some(format!("it has {size} bytes, and {} when it is written again", state.end))
        }
        (None, None) => None,
    };
    Ok(Listing { members, kept, deviation })
}

/// How the archive that is written compares with the one that is there.
#[derive(Default)]
struct State {
    /// Offsets of bytes that differ. zip writes a header with zeros, and its sizes over them after the content.
    differing: BTreeSet<u64>,
    /// The length of what is written.
    end: u64,
    /// Too much differs to be written over later, so nothing is compared any more.
    lost: bool,
    /// Why a member can't be written.
    refused: Option<String>,
}

/// More than zip ever writes over, in bytes.
const MOST_DIFFERING: usize = 512;

impl State {
    fn first(&self) -> Option<u64> {
        self.differing.first().copied()
    }

    /// Notes which of the bytes written at `position` differ from those that are there.
    fn compare(&mut self, position: u64, bytes: &[u8], there: &[u8]) {
        let end = position + bytes.len() as u64;
        let before: Vec<u64> = self.differing.range(position..end).copied().collect();
        before.iter().for_each(|offset| _ = self.differing.remove(offset));
        if there == bytes {
            return;
        }
        for (index, byte) in bytes.iter().enumerate() {
            if there.get(index) != Some(byte) {
                self.differing.insert(position + index as u64);
            }
            if self.differing.len() > MOST_DIFFERING {
                self.lost = true;
                return;
            }
        }
    }
}

/// A writer that compares with what is there.
struct Compare<'a> {
    archive: &'a dyn ReadAt,
    position: u64,
    state: &'a RefCell<State>,
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let mut there = vec![0; bytes.len().min(64 * 1024)];
        let bytes = &bytes[..there.len()];
        let mut count = 0;
        while !state.lost && count < there.len() {
            match self.archive.read_at(&mut there[count..], self.position + count as u64)? {
                0 => break,
                more => count += more,
            }
        }
        if !state.lost {
            state.compare(self.position, bytes, &there[..count]);
        }
        self.position += bytes.len() as u64;
        state.end = state.end.max(self.position);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Compare<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.position = target(to, self.position, self.state.borrow().end)?;
        Ok(self.position)
    }
}

fn target(to: SeekFrom, position: u64, end: u64) -> std::io::Result<u64> {
    let new = match to {
        SeekFrom::Start(offset) => Some(offset),
        SeekFrom::Current(delta) => position.checked_add_signed(delta),
        SeekFrom::End(delta) => end.checked_add_signed(delta),
    };
    new.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a position before the first byte"))
}

/// The archive, written once more.
enum Again<'a> {
    Tar(Box<TarFile<Compare<'a>>>),
    Zip(Box<ZipFile<Compare<'a>>>),
}

impl<'a> Again<'a> {
    fn new(kind: Kind, compare: Compare<'a>) -> Self {
        match kind {
            Kind::TarGz => Self::Tar(Box::new(TarFile::new(compare))),
            Kind::Zip => Self::Zip(Box::new(ZipFile::to(compare))),
        }
    }

    /// Writes a member, unless it is known already that the archive is another one.
    fn write(&mut self, state: &RefCell<State>, write: impl FnOnce(&mut Self) -> Result<()>) {
        let is_over = {
            let state = state.borrow();
            state.lost || state.refused.is_some()
        };
        if is_over {
            return;
        }
        if let Err(error) = write(self) {
            state.borrow_mut().refused = Some(format!("{error:#}"));
        }
    }

    fn file(&mut self, path: &str, size: u64, executable: bool, content: impl Read) -> Result<()> {
        match self {
            Self::Tar(tar) => tar.file(path, size, executable, content),
            Self::Zip(zip) => zip.add(path, size, executable, content),
        }
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        match self {
            Self::Tar(tar) => tar.link(path, target),
            Self::Zip(_) => anyhow::bail!("a link has no place in a zip archive"),
        }
    }

    fn directory(&mut self, path: &str) -> Result<()> {
        match self {
            Self::Tar(tar) => tar.directory(path),
            Self::Zip(zip) => zip.directory(path),
        }
    }

    fn finish(self, state: &RefCell<State>) {
        let result = match self {
            Self::Tar(tar) => tar.finish().map(|_| ()),
            Self::Zip(zip) => zip.end().map(|_| ()),
        };
        let mut state = state.borrow_mut();
        if let (Err(error), None) = (result, &state.refused) {
            state.refused = Some(format!("{error:#}"));
        }
    }
}

/// Reads an archive from its first byte on, or from anywhere.
pub(crate) struct At<'a> {
    archive: &'a dyn ReadAt,
    position: u64,
    size: u64,
}

impl<'a> At<'a> {
    /// From the first byte on.
    pub fn new(archive: &'a dyn ReadAt) -> std::io::Result<Self> {
        Ok(Self { archive, position: 0, size: archive.size()? })
    }
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.archive.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.position = target(to, self.position, self.size)?;
        Ok(self.position)
    }
}

/// Hashes what is read through it.
struct Hashing<'a> {
    content: &'a mut dyn Read,
    hash: HashWriter<Copy>,
}

/// A content in memory, when it is wanted and not longer than it may be.
struct Copy {
    bytes: Vec<u8>,
    most: Option<u64>,
}

impl Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(most) = self.most {
            match (self.bytes.len() + bytes.len()) as u64 <= most {
                true => self.bytes.extend_from_slice(bytes),
                // It is longer than it says.
                false => *self = Self { bytes: Vec::new(), most: None },
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.hash.write_all(&buffer[..count])?;
        Ok(count)
    }
}

//! What stands at an offset of an archive, in words: the member, and the field of its header.

use super::{At, ReadAt, State};
use crate::{
    Kind, Limits,
    archive::{tar_directory, tar_file, tar_link},
    member::tar_limit,
};
use flate2::read::MultiGzDecoder;
use std::{
    cell::RefCell,
    io::{BufReader, Read, Write},
};
use tar::EntryType;

const CHECKSUM: &str = "checksum";

/// Where fields begin in a record of tar (the header of GNU tar).
const TAR: [(u64, &str); 17] = [
    (0, "name"),
    (100, "mode"),
    (108, "owner"),
    (116, "group"),
    (124, "size"),
    (136, "time"),
    (148, CHECKSUM),
    (156, "kind"),
    (157, "link's text"),
    (257, "magic number"),
    (265, "owner's name"),
    (297, "group's name"),
    (329, "device number"),
    (345, "times and offset"),
    (386, "sparse map"),
    (495, "padding"),
    (512, "content"),
];

/// Where fields begin in the header of gzip (RFC 1952).
const GZIP: [(u64, &str); 7] = [
    (0, "magic number"),
    (2, "method"),
    (3, "flags (a name, a comment or an extra field)"),
    (4, "time"),
    (8, "level"),
    (9, "operating system"),
    (10, "compressed data, which other settings made"),
];

/// Where fields begin in the header before a member of a zip archive.
const LOCAL: [(u64, &str); 11] = [
    (0, "signature"),
    (4, "version"),
    (6, "flags"),
    (8, "method"),
    (10, "time"),
    (14, "CRC"),
    (18, "compressed size"),
    (22, "size"),
    (26, "length of the name"),
    (28, "length of the extra field"),
    (30, "name, extra field or compressed data"),
];

/// Where fields begin in an entry of a zip archive's directory.
const CENTRAL: [(u64, &str); 17] = [
    (0, "signature"),
    (4, "version and system"),
    (6, "version"),
    (8, "flags"),
    (10, "method"),
    (12, "time"),
    (16, "CRC"),
    (20, "compressed size"),
    (24, "size"),
    (28, "length of the name"),
    (30, "length of the extra field"),
    (32, "length of the comment"),
    (34, "disk"),
    (36, "internal attributes"),
    (38, "attributes (mode)"),
    (42, "offset"),
    (46, "name, extra field or comment"),
];

fn field(table: &[(u64, &'static str)], offset: u64) -> &'static str {
    table.iter().rev().find(|(start, _)| *start <= offset).map_or("", |(_, name)| name)
}

/// What the first byte is of that this program would write in another way.
pub fn describe(archive: &dyn ReadAt, kind: Kind, limits: Limits, offset: u64) -> String {
    let place = match kind {
        Kind::TarGz => in_tar(archive, limits).unwrap_or_else(|| {
            let end = archive.size().unwrap_or_default();
            match field(&GZIP, offset) {
                _ if offset >= end => "it is cut off".to_owned(),
                name => format!("the gzip stream has another {name}"),
            }
        }),
        Kind::Zip => in_zip(archive, offset).unwrap_or_else(|| "a part of it that no member has".to_owned()),
    };
    format!("{place} (at byte {offset})")
}

/// What differs in the tar archive below the compression; nothing when only the compression does.
fn in_tar(archive: &dyn ReadAt, limits: Limits) -> Option<String> {
    let stream = || Some(MultiGzDecoder::new(BufReader::new(At::new(archive).ok()?)).take(tar_limit(limits)));
    let state = RefCell::new(State::default());
    let mut builder = tar::Builder::new(Follow { stream: stream()?, offset: 0, state: &state });
    // Where each member's own record begins, and how long its content is.
    let mut places = Vec::new();
    let mut read = tar::Archive::new(stream()?);
    for entry in read.entries().ok()? {
        let mut entry = entry.ok()?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        places.push((entry.raw_header_position(), entry.size(), path.clone()));
        let written = match entry.header().entry_type() {
            EntryType::Symlink => {
                let target = String::from_utf8_lossy(&entry.link_name_bytes()?).into_owned();
                tar_link(&mut builder, &path, &target)
            }
            EntryType::Directory => tar_directory(&mut builder, &path),
            _ => {
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                tar_file(&mut builder, &path, entry.size(), executable, &mut entry)
            }
        };
        if written.is_err() || !state.borrow().differing.is_empty() {
            break;
        }
    }
    if state.borrow().differing.is_empty() {
        let mut follow = builder.into_inner().ok()?;
        let more = follow.stream.read(&mut [0]).is_ok_and(|count| count > 0);
        if more && state.borrow().differing.is_empty() {
            return Some("there are more bytes behind the end of the tar archive".to_owned());
        }
    }
    let offset = state.borrow().first()?;
    let index = places.iter().rposition(|(start, ..)| *start <= offset);
    let last = places.last().map_or("", |(.., path)| path);
    let Some((start, size, path)) = index.and_then(|index| places.get(index)) else {
        return Some(format!("an extension record in front of `{last}` that changes what it is"));
    };
    let end = start + 512 + size;
    Some(match offset {
        _ if offset < start + 512 => {
            // The checksum differs whenever something else does.
            let state = state.borrow();
            let mut fields = state.differing.iter().map(|offset| field(&TAR, offset - start));
            let name = fields.find(|name| *name != CHECKSUM).unwrap_or(CHECKSUM);
            format!("the record of `{path}` has another {name}")
        }
        _ if offset < end => format!("the content of `{path}`"),
        _ if offset < end.next_multiple_of(512) => format!("the padding behind `{path}` is not empty"),
        _ if path == last => format!("what stands behind `{path}`, the last member, is another end"),
        _ => format!("an extension record in front of `{last}` that changes what it is"),
    })
}

/// Compares what is written with a stream, and notes what differs in the first piece that does.
struct Follow<'a, R> {
    stream: R,
    offset: u64,
    state: &'a RefCell<State>,
}

impl<R: Read> Write for Follow<'_, R> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.state.borrow_mut();
        if state.differing.is_empty() {
            let mut there = Vec::new();
            self.stream.by_ref().take(bytes.len() as u64).read_to_end(&mut there)?;
            let differing = (0..bytes.len()).filter(|index| there.get(*index) != bytes.get(*index));
            state.differing.extend(differing.map(|index| self.offset + index as u64));
            self.offset += bytes.len() as u64;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn in_zip(archive: &dyn ReadAt, offset: u64) -> Option<String> {
    let mut zip = zip::ZipArchive::new(BufReader::new(At::new(archive).ok()?)).ok()?;
    let directory = zip.central_directory_start();
    let mut last = None;
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).ok()?;
        if entry.header_start() <= offset {
            let place = (entry.header_start(), String::from_utf8_lossy(entry.name_raw()).into_owned());
            last = last.max(Some(place));
        }
    }
    if offset < directory {
        let (start, name) = last?;
        return Some(format!("the header before `{name}` has another {}", field(&LOCAL, offset - start)));
    }
    // Entries of the directory follow one another; their lengths are in them.
    let mut start = directory;
    for _ in 0..zip.len() {
        let mut entry = [0; 46];
        let count = archive.read_at(&mut entry, start).ok()?;
        let length = |at: usize| u64::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
        let end = start + 46 + length(28) + length(30) + length(32);
        if count < entry.len() {
            return None;
        }
        if offset < end {
            let mut name = vec![0; usize::try_from(length(28)).ok()?];
            let count = archive.read_at(&mut name, start + 46).ok()?;
            name.truncate(count);
            let name = String::from_utf8_lossy(&name);
            return Some(format!(
                "the entry of `{name}` in the directory has another {}",
                field(&CENTRAL, offset - start)
            ));
        }
        start = end;
    }
    Some("the end record is another".to_owned())
}

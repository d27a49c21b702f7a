//! The first byte in which two artifacts differ: in which member of an archive, in which section of a library.

use crate::{Content, Kind, Limits, inspect_elf, inspect_pe, list_archive, member::read_member};
use object::read::archive::ArchiveFile;
use serde::Serialize;
use std::{fmt, io::Cursor};

/// Bytes shown of each side.
const SHOWN: usize = 16;

/// Where two files differ first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The file, then the member in it, then the section, as far as they are known.
    pub place: Vec<String>,
    /// Offset in bytes from the start of the innermost file.
    pub offset: u64,
    /// Hexadecimal bytes of the first file from there on.
    pub expected: String,
    /// Hexadecimal bytes of the second file from there on.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} differs at offset {:#x}\n    expected {}\n    found    {}",
            self.place.join(" > "),
            self.offset,
            self.expected,
            self.found
        )
    }
}

/// How much an archive may hold that is compared: more than any release does.
const LIMITS: Limits = Limits { bytes: 64 << 30, members: 1 << 20 };

/// Compares two files; `name` tells what they are.
pub fn first_difference(name: &str, expected: &[u8], found: &[u8]) -> Option<Difference> {
    if expected == found {
        return None;
    }
    let mut place = vec![name.to_owned()];
    match inside(name, expected, found) {
        Some(Inside::Member(inner)) => {
            place.extend(inner.place);
            return Some(Difference { place, ..*inner });
        }
        // The members are equal: the difference is in the container itself.
        Some(Inside::Container) => place.push("(container)".to_owned()),
        None => {}
    }
    let offset = expected.iter().zip(found).take_while(|(left, right)| left == right).count();
    place.extend(section(expected, offset as u64).or_else(|| section(found, offset as u64)));
    let show = |bytes: &[u8]| match bytes.get(offset..) {
        Some(rest) if !rest.is_empty() => {
            rest.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        }
        _ => "(end of file)".to_owned(),
    };
    Some(Difference { place, offset: offset as u64, expected: show(expected), found: show(found) })
}

/// Where two archives of the same kind differ.
enum Inside {
    Member(Box<Difference>),
    Container,
}

/// Looks into archives. Nothing when these are none, or damaged ones.
fn inside(name: &str, expected: &[u8], found: &[u8]) -> Option<Inside> {
    const LIBRARY: &[u8] = b"!<arch>\n";
    if expected.starts_with(LIBRARY) && found.starts_with(LIBRARY) {
        return library(&library_members(expected)?, &library_members(found)?);
    }
    let kind = Kind::of(name)?;
    let list = |bytes| list_archive(Cursor::new(bytes), kind, LIMITS).ok();
    let (left, right) = (list(expected)?, list(found)?);
    for index in 0..left.len().max(right.len()) {
        let (left, right) = match (left.get(index), right.get(index)) {
            (Some(left), Some(right)) if left.path == right.path => (left, right),
            (left, right) => return Some(words(left.map(|it| &*it.path), right.map(|it| &*it.path))),
        };
        if left.content == right.content {
            continue;
        }
        let read = |bytes| read_member(Cursor::new(bytes), kind, LIMITS, &left.path).ok();
        return Some(match (&left.content, &right.content) {
            (Content::File { digest: a, .. }, Content::File { digest: b, .. }) if a != b => {
                Inside::Member(Box::new(first_difference(&left.path, &read(expected)?, &read(found)?)?))
            }
            (left_content, right_content) => {
                told(&left.path, &format!("{left_content:?}"), &format!("{right_content:?}"))
            }
        });
    }
    Some(Inside::Container)
}

/// The members of a static or import library (the `ar` format, as COFF and ELF have it). Many have the same name, so the
/// number is a part of it.
fn library_members(bytes: &[u8]) -> Option<Vec<(String, &[u8])>> {
    let archive = ArchiveFile::parse(bytes).ok()?;
    let mut members = Vec::new();
    for member in archive.members() {
        let member = member.ok()?;
        let name = format!("{} (member {})", String::from_utf8_lossy(member.name()), members.len() + 1);
        members.push((name, member.data(bytes).ok()?));
    }
    Some(members)
}

fn library(left: &[(String, &[u8])], right: &[(String, &[u8])]) -> Option<Inside> {
    for index in 0..left.len().max(right.len()) {
        match (left.get(index), right.get(index)) {
            (Some((name, left)), Some((other, right))) if name == other => {
                if let Some(difference) = first_difference(name, left, right) {
                    return Some(Inside::Member(Box::new(difference)));
                }
            }
            (left, right) => {
                return Some(words(left.map(|(name, _)| &**name), right.map(|(name, _)| &**name)));
            }
        }
    }
    Some(Inside::Container)
}

/// Another member stands where one is expected.
fn words(left: Option<&str>, right: Option<&str>) -> Inside {
    match (left, right) {
        (Some(left), None) => told(left, "(there)", "(missing)"),
        (None, Some(right)) => told(right, "(missing)", "(there)"),
        (left, right) => {
            let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
            told(left, left, right)
        }
    }
}

fn told(path: &str, expected: &str, found: &str) -> Inside {
    Inside::Member(Box::new(Difference {
        place: vec![path.to_owned()],
        offset: 0,
        expected: expected.to_owned(),
        found: found.to_owned(),
    }))
}

/// The section of a library that an offset falls into.
fn section(bytes: &[u8], offset: u64) -> Option<String> {
    let sections = inspect_pe(bytes)
        .map(|pe| pe.sections)
        .or_else(|_| inspect_elf(bytes).map(|elf| elf.sections))
        .ok()?;
    let inside = |(_, start, size): &&(String, u64, u64)| {
        offset.checked_sub(*start).is_some_and(|within| within < *size)
    };
    Some(
        sections.iter().find(inside).map_or("(headers)".to_owned(), |(name, _, _)| format!("section {name}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_archive;
    use store::{Entry, Store, Tree};

    fn archive(store: &Store, kind: Kind, files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tree = Tree::new();
        for (path, content) in files {
            let digest = store.put_bytes(content).unwrap();
            tree.insert(path, Entry::File { digest, executable: false }).unwrap();
        }
        store.read(&write_archive(store, &tree, "top", kind).unwrap()).unwrap()
    }

    #[test]
    fn the_member_and_offset_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for kind in [Kind::TarGz, Kind::Zip] {
            let name = format!("x.{}", kind.extension());
            let left = archive(&store, kind, &[("a", b"same"), ("b", b"0123456789")]);
            let right = archive(&store, kind, &[("a", b"same"), ("b", b"01234X6789")]);
            let difference = first_difference(&name, &left, &right).unwrap();
            assert_eq!(difference.place, [name.as_str(), "top/b"]);
            assert_eq!((difference.offset, difference.expected.as_str()), (5, "35 36 37 38 39"));
            assert_eq!(first_difference(&name, &left, &left), None);
            let more = archive(&store, kind, &[("a", b"same"), ("b", b"0123456789"), ("c", b"")]);
            assert_eq!(first_difference(&name, &left, &more).unwrap().expected, "(missing)");
        }
    }

    #[test]
    fn members_of_import_and_static_libraries_are_told_apart() {
        // Import libraries have the DLL's name on every member.
        let library = |members: &[&[u8]]| {
            let mut bytes = b"!<arch>\n".to_vec();
            for member in members {
                bytes.extend(format!("{:<48}{:<10}`\n", "x.dll/", member.len()).bytes());
                bytes.extend(*member);
                bytes.extend(vec![b'\n'; member.len() % 2]);
            }
            bytes
        };
        let left = library(&[b"same", b"one", b"1234"]);
        let difference = first_difference("x.lib", &left, &library(&[b"same", b"one", b"1X34"])).unwrap();
        assert_eq!(difference.place, ["x.lib", "x.dll (member 3)"]);
        assert_eq!(difference.offset, 1);
        let difference = first_difference("x.lib", &left, &library(&[b"same"])).unwrap();
        assert_eq!(
            (difference.place[1].as_str(), difference.found.as_str()),
            ("x.dll (member 2)", "(missing)")
        );
        // The same members with another date: it stands in the container.
        let mut dated = left.clone();
        dated[8 + 16] = b'7';
        assert_eq!(first_difference("x.lib", &left, &dated).unwrap().place, ["x.lib", "(container)"]);
    }

    #[test]
    fn a_members_mode_is_a_difference() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let digest = store.put_bytes(b"x").unwrap();
        let [left, right] = [false, true].map(|executable| {
            let mut tree = Tree::new();
            tree.insert("x", Entry::File { digest, executable }).unwrap();
            store.read(&write_archive(&store, &tree, "top", Kind::Zip).unwrap()).unwrap()
        });
        let difference = first_difference("x.zip", &left, &right).unwrap();
        assert_eq!(difference.place, ["x.zip", "top/x"]);
        assert!(difference.found.contains("executable: true"), "{difference}");
    }

    #[test]
    fn the_section_of_a_library_is_named() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = inspect_elf(&bytes).unwrap();
        let (_, start, _) = elf.sections.iter().find(|(name, _, _)| name == ".text").unwrap();
        let mut other = bytes.clone();
        other[*start as usize + 7] ^= 1;
        let difference = first_difference("program", &bytes, &other).unwrap();
        assert_eq!(difference.place, ["program", "section .text"]);
        assert_eq!(difference.offset, start + 7);
    }

    #[test]
    fn sections_beyond_all_bounds_are_no_place() {
        let mut bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        // The second section header's offset and size (gABI: Elf64_Ehdr and Elf64_Shdr, 64 bytes each).
        let headers = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
        bytes[headers + 64 + 24..headers + 64 + 40].fill(0xff);
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        let difference = first_difference("program", &bytes, &other).unwrap();
        assert_eq!(difference.offset, bytes.len() as u64 - 1);
    }

    #[test]
    fn a_longer_file_differs_at_the_end() {
        let difference = first_difference("f", b"ab", b"abc").unwrap();
        assert_eq!(
            (difference.offset, difference.expected.as_str(), difference.found.as_str()),
            (2, "(end of file)", "63")
        );
    }
}

//! The first byte in which two artifacts differ: in which member of an archive, in which section of a library.

use crate::{Kind, inspect_elf, inspect_pe, read_archive};
use serde::Serialize;
use std::fmt;

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

/// Compares two files; `name` tells what they are.
pub fn first_difference(name: &str, expected: &[u8], found: &[u8]) -> Option<Difference> {
    if expected == found {
        return None;
    }
    let mut place = vec![name.to_owned()];
    if let Some(kind) = Kind::of(name)
        && let (Ok(left), Ok(right)) = (read_archive(expected, kind), read_archive(found, kind))
    {
        for (index, (path, content)) in left.iter().enumerate() {
            let Some((other, other_content)) = right.get(index) else {
                return Some(words(place, path, "(there)", "(missing)"));
            };
            if other != path {
                return Some(words(place, path, path, other));
            }
            if let Some(inner) = first_difference(path, content, other_content) {
                place.extend(inner.place);
                return Some(Difference { place, ..inner });
            }
        }
        if let Some((path, _)) = right.get(left.len()) {
            return Some(words(place, path, "(missing)", "(there)"));
        }
        // The members are equal: the difference is in the container itself.
        place.push("(container)".to_owned());
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

fn words(mut place: Vec<String>, path: &str, expected: &str, found: &str) -> Difference {
    place.push(path.to_owned());
    Difference { place, offset: 0, expected: expected.to_owned(), found: found.to_owned() }
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

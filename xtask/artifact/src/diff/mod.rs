//! How two files, directories or archives differ, down to the member, section, symbol and byte, and why, where the
//! pattern is known.
//!
//! Whatever is compared may be a stranger's. Nothing is trusted to be sound: what can't be taken apart is compared as
//! bytes. Memory, depth and the length of the answer are bounded; what is left out is counted.

mod archive;
mod bytes;
mod cause;
mod class;
mod fact;
mod json;
mod library;
mod object;
mod path;
#[cfg(test)]
mod tests;
mod text;
mod windows;

pub use cause::Cause;
pub use path::compare_paths;
use serde::Serialize;
use store::Digest;

/// Bytes of files that are held at a time, both sides together. What is longer is compared as it streams by.
const MEMORY: u64 = 1 << 30;

/// Changes that are listed of one file.
const MOST_CHANGES: usize = 90;

/// Changes that are listed of one place in it: a hundred imports must not hide the bytes of a section.
const MOST_OF_PLACE: usize = 15;

/// Files that are looked into, of all.
const MOST_FILES: usize = 400;

/// Archives in archives that are opened.
const DEPTH: usize = 6;

/// How two things differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What is compared: a file's name, or a member's path.
    pub name: String,
    /// What it is: `zip archive`, `PE file`, `JSON`, …
    pub kind: String,
    /// Whether both are the same, byte for byte.
    pub same: bool,
    /// The first side; nothing when it lacks this.
    pub expected: Option<Side>,
    /// The second side.
    pub found: Option<Side>,
    /// What differs in it, its members aside.
    pub changes: Vec<Change>,
    /// Members and files in it that differ.
    pub members: Vec<Comparison>,
    /// Changes and members that are not listed.
    pub left_out: usize,
    /// What could not be looked into, and why.
    pub notes: Vec<String>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// One thing that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where: `headers`, `section .text`, `imports`, `member bin/a.dll`, …
    pub place: String,
    /// What: a field's name, a symbol, a JSON Pointer.
    pub what: String,
    /// Its value on the first side; nothing when it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Its value on the second side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// Offset in bytes from the start of the first side's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The symbol that the offset belongs to, with the distance: `main+0x10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// The likely cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

impl Comparison {
    /// The likely causes of all that differs, each once, with how often it was seen.
    pub fn causes(&self) -> Vec<(Cause, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        let mut open = vec![self];
        while let Some(comparison) = open.pop() {
            for cause in comparison.changes.iter().filter_map(|change| change.cause) {
                *counts.entry(cause).or_insert(0) += 1;
            }
            open.extend(&comparison.members);
        }
        counts.into_iter().collect()
    }

    /// Adds a change, or counts it.
    fn add(&mut self, change: Change) {
        let of_place = self.changes.iter().filter(|known| known.place == change.place).count();
        match self.changes.len() < MOST_CHANGES && of_place < MOST_OF_PLACE {
            true => self.changes.push(change),
            false => self.left_out += 1,
        }
    }
}

/// What may still be looked into.
pub(crate) struct Work {
    /// Bytes that may still be held.
    memory: u64,
    /// Files that may still be looked into.
    files: usize,
}

impl Work {
    fn new() -> Self {
        Self { memory: MEMORY, files: MOST_FILES }
    }
}

/// Compares two files; `name` is for the answer alone: what they are is told by their content.
pub fn compare_bytes(name: &str, expected: &[u8], found: &[u8]) -> Comparison {
    inside(name, expected, found, &mut Work::new(), 0)
}

fn side(bytes: &[u8]) -> Option<Side> {
    Some(Side { sha256: Digest::of(bytes).hex(), size: bytes.len() as u64 })
}

pub(crate) fn inside(name: &str, expected: &[u8], found: &[u8], work: &mut Work, depth: usize) -> Comparison {
    let mut comparison = Comparison {
        name: name.to_owned(),
        same: expected == found,
        expected: side(expected),
        found: side(found),
        ..Comparison::default()
    };
    if comparison.same {
        return comparison;
    }
    if work.files == 0 {
        comparison.notes.push("not looked into: enough other files differ".to_owned());
        return comparison;
    }
    work.files -= 1;
    let kind = Kind::of(expected);
    comparison.kind = kind.to_string();
    if kind != Kind::of(found) {
        comparison.notes.push(format!("a {kind} on one side, a {} on the other", Kind::of(found)));
        comparison.kind = "file".to_owned();
        bytes::compare(&mut comparison, expected, found, 0, &[]);
        return comparison;
    }
    let open = depth < DEPTH;
    match kind {
        Kind::Zip | Kind::Tar | Kind::Gzip if open => {
            archive::compare(&mut comparison, &archive::Sides { expected, found, kind }, work, depth);
        }
        Kind::Library if open => library::compare(&mut comparison, expected, found, work, depth),
        Kind::Pe | Kind::Elf | Kind::Coff => object::compare(&mut comparison, expected, found),
        Kind::Class => class::compare(&mut comparison, expected, found),
        Kind::Json => json::compare(&mut comparison, expected, found),
        Kind::Text => text::compare(&mut comparison, expected, found),
        _ => {}
    }
    // What no reader sees differs all the same.
    if comparison.changes.is_empty() && comparison.members.is_empty() {
        bytes::compare(&mut comparison, expected, found, 0, &[]);
    }
    comparison
}

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Zip,
    Tar,
    Gzip,
    Library,
    Pe,
    Elf,
    Coff,
    Class,
    Json,
    Text,
    Data,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip archive",
            Self::Tar => "tar archive",
            Self::Gzip => "gzip stream",
            Self::Library => "static or import library",
            Self::Pe => "PE file",
            Self::Elf => "ELF file",
            Self::Coff => "COFF object",
            Self::Class => "Java class",
            Self::Json => "JSON text",
            Self::Text => "text",
            Self::Data => "data",
        })
    }
}

impl Kind {
    fn of(bytes: &[u8]) -> Self {
        /// Where a tar archive's first header says `ustar`.
        const USTAR: std::ops::Range<usize> = 257..262;
        /// Before this version, the number of a universal binary's parts stands here (JVM specification, table 4.1-A).
        const FIRST_CLASS: u8 = 45;
        match bytes {
            [b'P', b'K', 1 | 3 | 5, ..] => Self::Zip,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Self::Library,
            [b'M', b'Z', ..] => Self::Pe,
            [0x7f, b'E', b'L', b'F', ..] => Self::Elf,
            [0xca, 0xfe, 0xba, 0xbe, _, _, _, major, ..] if *major >= FIRST_CLASS => Self::Class,
            // IMAGE_FILE_MACHINE_AMD64 and _ARM64, and the header of an object with many sections or an import.
            [0x64, 0x86, ..] | [0x64, 0xaa, ..] | [0, 0, 0xff, 0xff, ..] => Self::Coff,
            _ if bytes.get(USTAR) == Some(b"ustar") => Self::Tar,
            _ => match std::str::from_utf8(bytes) {
                Ok(text) if text.contains('\0') => Self::Data,
                Ok(text) if text.trim_start().starts_with(['{', '[']) => Self::Json,
                Ok(_) => Self::Text,
                Err(_) => Self::Data,
            },
        }
    }
}

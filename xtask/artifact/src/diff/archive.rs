//! zip and tar archives, compressed by gzip or not: headers of members, their order, and the members that differ.

use super::{
    Change, Comparison, Kind, Side, Work, bytes,
    cause::Cause,
    fact::{self, Facts},
    inside,
};
use anyhow::Result;
use flate2::read::MultiGzDecoder;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufReader, Cursor, Read, Seek},
    path::Path,
};
use store::Digest;

/// Bytes of all members of an archive, at most: beyond, it is a bomb.
const MOST_BYTES: u64 = 16 << 30;

/// Members that are looked at.
const MOST_MEMBERS: usize = 1 << 18;

/// Where an archive is.
pub trait Open {
    /// A reader from its beginning.
    fn open(&self) -> std::io::Result<Box<dyn ReadSeek + '_>>;
}

/// A reader that can start again.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

impl Open for [u8] {
    fn open(&self) -> std::io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(Cursor::new(self)))
    }
}

impl Open for Path {
    fn open(&self) -> std::io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(BufReader::new(File::open(self)?)))
    }
}

/// Two archives of one kind.
pub struct Sides<'a, T: Open + ?Sized> {
    pub expected: &'a T,
    pub found: &'a T,
    pub kind: Kind,
}

/// A member's content.
#[derive(PartialEq)]
struct Member {
    sha256: String,
    size: u64,
}

/// A member by its name and, where a name stands there several times, its number.
type Key = (String, usize);

#[derive(Default)]
struct Listing {
    members: BTreeMap<Key, Member>,
    facts: Facts,
    /// Why there may be more.
    damage: Option<String>,
}

/// Compares two archives.
pub fn compare<T: Open + ?Sized>(
    comparison: &mut Comparison,
    sides: &Sides<T>,
    work: &mut Work,
    depth: usize,
) {
    let mut tops = (String::new(), String::new());
    let mut left = list(sides.expected, sides.kind, "");
    let mut right = list(sides.found, sides.kind, "");
    // Of two versions, the directory at the top has the version in its name, and all below it is compared.
    if let (Some(a), Some(b)) = (top(&left), top(&right))
        && a != b
    {
        comparison.add(Change {
            place: "members".to_owned(),
            what: "directory at the top".to_owned(),
            expected: Some(fact::shown(&a)),
            found: Some(fact::shown(&b)),
            ..Change::default()
        });
        tops = (a, b);
        left = list(sides.expected, sides.kind, &tops.0);
        right = list(sides.found, sides.kind, &tops.1);
    }
    fact::compare(comparison, &left.facts, &right.facts);
    for damage in [&left.damage, &right.damage].into_iter().flatten() {
        comparison.notes.push(format!("can't be read to its end: {damage}"));
    }
    let common = left.members.keys().filter(|key| right.members.contains_key(*key));
    let mut wanted: BTreeSet<Key> = BTreeSet::new();
    let mut memory = work.memory;
    for key in common.filter(|key| left.members[*key] != right.members[*key]) {
        let (a, b) = (&left.members[key], &right.members[key]);
        let need = a.size.saturating_add(b.size);
        if need <= memory && wanted.len() < work.files {
            memory -= need;
            wanted.insert(key.clone());
        } else {
            let side = |member: &Member| Some(Side { sha256: member.sha256.clone(), size: member.size });
            comparison.members.push(Comparison {
                name: shown(key),
                kind: "file".to_owned(),
                expected: side(a),
                found: side(b),
                notes: vec!["not looked into: it is too long, or enough others differ".to_owned()],
                ..Comparison::default()
            });
        }
    }
    let held = std::mem::replace(&mut work.memory, memory);
    let mut expected = contents(sides.expected, sides.kind, &tops.0, &wanted);
    let mut found = contents(sides.found, sides.kind, &tops.1, &wanted);
    for key in &wanted {
        if let (Some(a), Some(b)) = (expected.remove(key), found.remove(key)) {
            comparison.members.push(inside(&shown(key), &a, &b, work, depth + 1));
        }
    }
    work.memory = held;
    if comparison.changes.is_empty() && comparison.members.is_empty() && comparison.notes.is_empty() {
        comparison.add(Change {
            place: "container".to_owned(),
            what: "the same members with the same headers, in other bytes".to_owned(),
            cause: Some(Cause::Compression),
            ..Change::default()
        });
    }
}

/// Compares two files that are no archive as they stream by, when they are too long to be held.
pub fn stream(comparison: &mut Comparison, left: &Path, right: &Path) -> Result<()> {
    let (mut left, mut right) = (BufReader::new(File::open(left)?), BufReader::new(File::open(right)?));
    let mut start = 0u64;
    loop {
        const PIECE: u64 = 1 << 20;
        let (mut a, mut b) = (Vec::new(), Vec::new());
        left.by_ref().take(PIECE).read_to_end(&mut a)?;
        right.by_ref().take(PIECE).read_to_end(&mut b)?;
        if a != b {
            bytes::compare(comparison, &a, &b, start, &[]);
            comparison
                .notes
                .push("too long to be looked into: only the first bytes that differ are shown".to_owned());
            return Ok(());
        }
        if a.is_empty() {
            return Ok(());
        }
        start += a.len() as u64;
    }
}

fn shown((name, number): &Key) -> String {
    let name = fact::shown(name);
    if *number == 0 { name } else { format!("{name} (number {})", number + 1) }
}

/// The directory that all members are in, with the slash behind it.
fn top(listing: &Listing) -> Option<String> {
    let mut names = listing.members.keys().map(|(name, _)| name.as_str());
    let (first, _) = names.next()?.split_once('/')?;
    let top = format!("{first}/");
    (!first.is_empty() && listing.members.len() > 1 && names.all(|name| name.starts_with(&top)))
        .then_some(top)
}

/// Lists an archive. `top` is what names begin with and what is left out of them.
fn list<T: Open + ?Sized>(archive: &T, kind: Kind, top: &str) -> Listing {
    let mut listing = Listing::default();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let result = visit(archive, kind, &mut |name, headers, content| {
        let name = name.strip_prefix(top).unwrap_or(name);
        let key = (name.to_owned(), next(&mut counts, name));
        listing.facts.name("members", name.as_bytes());
        for (what, value, cause) in headers {
            let what = format!("{}: {what}", shown(&key));
            match cause {
                Some(cause) => listing.facts.add_with(*cause, fact::MEMBER_HEADERS, what, value),
                None => listing.facts.add(fact::MEMBER_HEADERS, what, value),
            }
        }
        let digest = Digest::of_reader(content)?;
        listing.members.insert(key, Member { sha256: digest.hex(), size: digest.size });
        Ok(())
    });
    if kind == Kind::Gzip {
        gzip(archive, &mut listing.facts);
    }
    listing.damage = result.err().map(|error| format!("{error:#}"));
    listing
}

fn next(counts: &mut BTreeMap<String, usize>, name: &str) -> usize {
    let count = counts.entry(name.to_owned()).or_default();
    *count += 1;
    *count - 1
}

fn contents<T: Open + ?Sized>(
    archive: &T,
    kind: Kind,
    top: &str,
    wanted: &BTreeSet<Key>,
) -> BTreeMap<Key, Vec<u8>> {
    let mut contents = BTreeMap::new();
    let mut counts = BTreeMap::new();
    // What is damaged is told by the list.
    _ = visit(archive, kind, &mut |name, _, content| {
        let name = name.strip_prefix(top).unwrap_or(name);
        let key = (name.to_owned(), next(&mut counts, name));
        if wanted.contains(&key) {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            contents.insert(key, bytes);
        }
        Ok(())
    });
    contents
}

/// A header's field, its value, and the cause if it differs.
type Header = (&'static str, String, Option<Cause>);

type Visitor<'a> = dyn FnMut(&str, &[Header], &mut dyn Read) -> std::io::Result<()> + 'a;

fn visit<T: Open + ?Sized>(archive: &T, kind: Kind, visitor: &mut Visitor) -> Result<()> {
    match kind {
        Kind::Zip => visit_zip(archive.open()?, visitor),
        Kind::Tar => visit_tar(archive.open()?, visitor),
        _ => {
            // A compressed tar archive, or one compressed file.
            let mut begin = Vec::new();
            let start = MultiGzDecoder::new(archive.open()?).take(512).read_to_end(&mut begin);
            let content = MultiGzDecoder::new(archive.open()?).take(MOST_BYTES);
            match start.is_ok() && Kind::of(&begin) == Kind::Tar {
                true => visit_tar(content, visitor),
                false => {
                    let mut content = content;
                    Ok(visitor("(content)", &[], &mut content)?)
                }
            }
        }
    }
}

fn visit_tar(file: impl Read, visitor: &mut Visitor) -> Result<()> {
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries()?.take(MOST_MEMBERS) {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let header = entry.header();
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let time = header.mtime().unwrap_or_default();
        let mut headers: Vec<Header> = vec![
            ("time", format!("{time} ({})", super::text::time(time.min(1 << 40))), Some(Cause::TimeStamp)),
            ("mode", format!("{:04o}", header.mode().unwrap_or_default()), Some(Cause::Permissions)),
            (
                "owner",
                format!("{} {}", header.uid().unwrap_or_default(), text(header.username_bytes())),
                Some(Cause::UserName),
            ),
            (
                "group",
                format!("{} {}", header.gid().unwrap_or_default(), text(header.groupname_bytes())),
                Some(Cause::UserName),
            ),
            ("type", format!("{:?}", header.entry_type()), None),
        ];
        if let Some(target) = entry.link_name_bytes() {
            headers.push(("link", String::from_utf8_lossy(&target).into_owned(), None));
        }
        if let Ok(Some(extensions)) = entry.pax_extensions() {
            let list: Vec<_> = extensions
                .flatten()
                .take(64)
                .map(|it| {
                    format!(
                        "{}={}",
                        String::from_utf8_lossy(it.key_bytes()),
                        String::from_utf8_lossy(it.value_bytes())
                    )
                })
                .collect();
            headers.push(("extension records", list.join(", "), None));
        }
        visitor(&name, &headers, &mut entry)?;
    }
    Ok(())
}

fn visit_zip(file: Box<dyn ReadSeek + '_>, visitor: &mut Visitor) -> Result<()> {
    let mut archive = zip::ZipArchive::new(file)?;
    let mut left = MOST_BYTES;
    for index in 0..archive.len().min(MOST_MEMBERS) {
        let mut entry = archive.by_index(index)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let time = entry.last_modified().map(|time| time.to_string()).unwrap_or_default();
        let headers: Vec<Header> = vec![
            ("time", time, Some(Cause::TimeStamp)),
            (
                "mode",
                entry.unix_mode().map_or_else(|| "none".to_owned(), |mode| format!("{mode:06o}")),
                Some(Cause::Permissions),
            ),
            ("method", entry.compression().to_string(), Some(Cause::Compression)),
            ("comment", entry.comment().to_owned(), None),
            ("extra fields", format!("{:02x?}", entry.extra_data().unwrap_or_default()), None),
        ];
        let mut content = entry.by_ref().take(left);
        visitor(&name, &headers, &mut content)?;
        left = content.limit();
    }
    Ok(())
}

/// The header of a gzip stream (RFC 1952).
fn gzip<T: Open + ?Sized>(archive: &T, facts: &mut Facts) {
    let mut header = [0; 10];
    let Ok(mut file) = archive.open() else { return };
    if file.read_exact(&mut header).is_err() {
        return;
    }
    let time = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    facts.add_with(
        Cause::TimeStamp,
        "gzip header",
        "time",
        format!("{time} ({})", super::text::time(time.into())),
    );
    facts.add_with(Cause::Compression, "gzip header", "level", header[8]);
    facts.add_with(Cause::Tool, "gzip header", "system", header[9]);
    const NAME: u8 = 8;
    let mut name = Vec::new();
    if header[3] & NAME != 0 && file.take(4096).read_to_end(&mut name).is_ok() {
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        facts.add_with(Cause::Path, "gzip header", "name", String::from_utf8_lossy(name));
    }
}

//! What an archive of a stranger holds, without unpacking it: members are hashed as they stream by, within limits.
//!
//! Programs differ in what they make of an archive that says two things: a name that stands in it twice, bytes that belong to
//! no member, a second gzip stream. So none of that is accepted: what is listed here is what everybody gets.

use crate::Kind;
use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use std::io::{BufReader, Read, Seek};
use store::Digest;
use tar::EntryType;

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path as the archive has it, without the `/` that ends a directory's.
    pub path: String,
    /// What it is.
    pub content: Content,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File {
        /// Its content.
        digest: Digest,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// The link's text.
        target: String,
    },
    /// A directory.
    Directory,
}

/// How much an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all members together.
    pub bytes: u64,
    /// Members.
    pub members: usize,
}

/// What a tar archive may hold besides contents, a member: headers, long names, padding.
const OVERHEAD: u64 = 16 * 1024;

/// Lists an archive in its own order. Errors: it is damaged, has a member that is neither file, symbolic link nor
/// directory, a name that is not UTF-8, or more than `limits` allow.
pub fn list_archive(file: impl Read + Seek, kind: Kind, limits: Limits) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    visit(file, kind, limits, &mut |path, seen| {
        let content = match seen {
            Seen::File { executable, content, .. } => {
                Content::File { digest: Digest::of_reader(content)?, executable }
            }
            Seen::Link { target } => Content::Link { target },
            Seen::Directory => Content::Directory,
        };
        members.push(Member { path: path.to_owned(), content });
        Ok(())
    })?;
    Ok(members)
}

/// The content of the file at `path`, of an archive that can be listed.
pub fn read_member(file: impl Read + Seek, kind: Kind, limits: Limits, path: &str) -> Result<Vec<u8>> {
    let mut bytes = None;
    visit(file, kind, limits, &mut |member, seen| {
        if let (Seen::File { content, .. }, true) = (seen, member == path) {
            content.read_to_end(bytes.insert(Vec::new()))?;
        }
        Ok(())
    })?;
    bytes.with_context(|| format!("there is no file `{}`", path.escape_debug()))
}

/// A member as it streams by.
pub(crate) enum Seen<'a> {
    /// A file, and how long it says that it is, in bytes.
    File {
        executable: bool,
        size: u64,
        content: &'a mut dyn Read,
    },
    Link {
        target: String,
    },
    Directory,
}

/// What is done with each member: its path and itself. A file's content need not be read.
type Visitor<'a> = dyn FnMut(&str, Seen) -> std::io::Result<()> + 'a;

pub(crate) fn visit(file: impl Read + Seek, kind: Kind, limits: Limits, visitor: &mut Visitor) -> Result<()> {
    match kind {
        Kind::TarGz => visit_tar(file, limits, visitor),
        Kind::Zip => visit_zip(file, limits, visitor),
    }
}

/// Where a decompressed tar archive is cut off, since no honest one goes on: names and extensions count as well.
pub(crate) fn tar_limit(limits: Limits) -> u64 {
    limits.bytes.saturating_add(OVERHEAD.saturating_mul(limits.members as u64 + 2))
}

fn visit_tar(file: impl Read, limits: Limits, visitor: &mut Visitor) -> Result<()> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(BufReader::new(file)).take(tar_limit(limits)));
    let mut left = limits.bytes;
    for (index, entry) in archive.entries().context("this is not a tar archive")?.enumerate() {
        let mut entry = entry.context("the tar archive is damaged, or holds more than it may")?;
        ensure!(index < limits.members, "it holds more than {} members", limits.members);
        let path = text(entry.path_bytes().into_owned())?;
        let seen = match entry.header().entry_type() {
            EntryType::Regular => {
                left = take(left, entry.size(), &path, limits)?;
                let executable = entry.header().mode().context("the tar archive is damaged")? & 0o100 != 0;
                Seen::File { executable, size: entry.size(), content: &mut entry }
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().context("a link without a target")?.into_owned();
                Seen::Link { target: text(target)? }
            }
            EntryType::Directory => Seen::Directory,
            other => {
                bail!("`{}` is neither file, symbolic link nor directory, but {other:?}", path.escape_debug())
            }
        };
        visitor(path.trim_end_matches('/'), seen).context("the tar archive is damaged")?;
    }
    // Where one program stops at the end mark, another reads on.
    let mut rest = Vec::new();
    archive.into_inner().read_to_end(&mut rest).context("the tar archive is damaged")?;
    ensure!(rest.iter().all(|byte| *byte == 0), "something stands behind the end of the tar archive");
    Ok(())
}

fn visit_zip(file: impl Read + Seek, limits: Limits, visitor: &mut Visitor) -> Result<()> {
    const KIND: u32 = 0o170_000;
    const LINK: u32 = 0o120_000;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).context("this is not a zip archive")?;
    ensure!(archive.len() <= limits.members, "it holds more than {} members", limits.members);
    ensure!(!archive.has_duplicate_names(), "it holds two members of one name");
    let mut left = limits.bytes;
    let mut places = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).context("the zip archive is damaged")?;
        let path = text(entry.name_raw().to_vec())?;
        let mode = entry.unix_mode().unwrap_or(0);
        ensure!(mode & KIND != LINK, "`{}` is a link, which a zip archive may not hold", path.escape_debug());
        let damaged = || format!("`{}` is damaged", path.escape_debug());
        if path.ends_with('/') {
            visitor(path.trim_end_matches('/'), Seen::Directory).with_context(damaged)?;
        } else {
            // The size in the header is a claim; what is read is what counts. It is read to the end, and its checksum checked.
            let size = entry.size();
            let mut content = entry.by_ref().take(left.saturating_add(1));
            let seen = Seen::File { executable: mode & 0o100 != 0, size, content: &mut content };
            visitor(&path, seen).with_context(damaged)?;
            std::io::copy(&mut content, &mut std::io::sink()).with_context(damaged)?;
            let size = left.saturating_add(1) - content.limit();
            left = take(left, size, &path, limits)?;
        }
        let start = entry.data_start().context("the zip archive is damaged")?;
        places.push((entry.header_start(), start.saturating_add(entry.compressed_size())));
    }
    // Members stand one behind the other from the first byte to the directory: some programs read the directory, others
    // go from member to member.
    places.sort_unstable();
    let end = places.iter().try_fold(0, |end, (start, next)| (*start == end).then_some(*next));
    ensure!(
        archive.offset() == 0
            && end == Some(archive.central_directory_start())
            && archive.comment().is_empty(),
        "it holds bytes that belong to no member"
    );
    Ok(())
}

fn take(left: u64, size: u64, path: &str, limits: Limits) -> Result<u64> {
    left.checked_sub(size).with_context(|| {
        format!("with `{}` it holds more than {} bytes in all", path.escape_debug(), limits.bytes)
    })
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|error| anyhow::anyhow!("the name `{}` is not UTF-8", error.as_bytes().escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write_archive;
    use std::io::{Cursor, Write};
    use store::{Entry, Store, Tree};

    const LIMITS: Limits = Limits { bytes: 100, members: 3 };

    fn list(bytes: &[u8], kind: Kind) -> Result<Vec<Member>> {
        list_archive(Cursor::new(bytes), kind, LIMITS)
    }

    fn refused(bytes: &[u8], kind: Kind, expected: &str) {
        let error = format!("{:#}", list(bytes, kind).unwrap_err());
        assert!(error.contains(expected), "{expected} is not in: {error}");
    }

    fn file(path: &str, content: &str, executable: bool) -> Member {
        let content = Content::File { digest: Digest::of(content.as_bytes()), executable };
        Member { path: path.into(), content }
    }

    #[test]
    fn both_kinds_are_listed_with_modes() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut tree = Tree::new();
        for (path, text, executable) in [("bin/a", "one", true), ("lib/b", "two", false)] {
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable }).unwrap();
        }
        let expected = vec![file("top/bin/a", "one", true), file("top/lib/b", "two", false)];
        for kind in [Kind::TarGz, Kind::Zip] {
            let archive = write_archive(&store, &tree, "top", kind).unwrap();
            assert_eq!(list(&store.read(&archive).unwrap(), kind).unwrap(), expected);
        }
        tree.insert("lib/c", Entry::Symlink { target: "b".into() }).unwrap();
        let archive = write_archive(&store, &tree, "top", Kind::TarGz).unwrap();
        let listed = list(&store.read(&archive).unwrap(), Kind::TarGz).unwrap();
        assert_eq!(listed[2].content, Content::Link { target: "b".into() });
    }

    fn tar(write: impl Fn(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        write(&mut builder);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&builder.into_inner().unwrap()).unwrap();
        gzip.finish().unwrap()
    }

    fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, kind: EntryType, size: usize) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, vec![0; size].as_slice()).unwrap();
    }

    #[test]
    fn bombs_are_cut_off() {
        let large = tar(|builder| append(builder, "zeros", EntryType::Regular, 101));
        refused(&large, Kind::TarGz, "with `zeros` it holds more than 100 bytes");
        let many = tar(|builder| (0..4).for_each(|i| append(builder, &i.to_string(), EntryType::Regular, 0)));
        refused(&many, Kind::TarGz, "more than 3 members");
        let name = "n".repeat(200_000);
        let long = tar(|builder| append(builder, &name, EntryType::Regular, 0));
        refused(&long, Kind::TarGz, "holds more than it may");

        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("zeros", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&[0; 101]).unwrap();
        refused(zip.finish().unwrap().get_ref(), Kind::Zip, "with `zeros` it holds more than 100 bytes");
    }

    #[test]
    fn what_programs_would_read_differently_is_refused() {
        let mut gzip = tar(|builder| append(builder, "a", EntryType::Regular, 1));
        gzip.extend(tar(|builder| append(builder, "b", EntryType::Regular, 1)));
        refused(&gzip, Kind::TarGz, "behind the end");
        let mut garbage = tar(|builder| append(builder, "a", EntryType::Regular, 1));
        garbage.extend(b"garbage");
        refused(&garbage, Kind::TarGz, "damaged");

        let zip = |names: &[&str]| {
            let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for name in names {
                zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
                zip.write_all(name.as_bytes()).unwrap();
            }
            zip.finish().unwrap().into_inner()
        };
        // The writer refuses a second `a`, so it is made of a `b` of the same length.
        let twice: Vec<u8> =
            zip(&["a", "b"]).iter().map(|byte| if *byte == b'b' { b'a' } else { *byte }).collect();
        refused(&twice, Kind::Zip, "two members of one name");
        let whole = zip(&["a"]);
        assert!(list(&whole, Kind::Zip).is_ok());
        refused(&[b"before", whole.as_slice()].concat(), Kind::Zip, "belong to no member");
        let mut comment = zip::ZipWriter::new_append(Cursor::new(whole)).unwrap();
        comment.set_comment("hello").unwrap();
        refused(comment.finish().unwrap().get_ref(), Kind::Zip, "belong to no member");
    }

    #[test]
    fn a_hidden_member_is_found() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in ["shown", "other"] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        let mut bytes = zip.finish().unwrap().into_inner();
        // The directory's second entry goes, the member stays: 46 bytes and a name of 5, counted and sized anew.
        let signature = b"PK\x01\x02";
        let second = bytes.windows(4).rposition(|window| window == signature).unwrap();
        let first = bytes.windows(4).position(|window| window == signature).unwrap();
        let length = second - first;
        bytes.drain(second..second + length);
        let end = bytes.len() - 22;
        bytes[end + 8] = 1;
        bytes[end + 10] = 1;
        bytes[end + 12..end + 16].copy_from_slice(&(length as u32).to_le_bytes());
        refused(&bytes, Kind::Zip, "belong to no member");
    }

    #[test]
    fn odd_members_and_damage_are_refused() {
        let device = tar(|builder| append(builder, "null", EntryType::Char, 0));
        refused(&device, Kind::TarGz, "neither file, symbolic link nor directory");
        refused(b"no archive", Kind::TarGz, "tar archive");
        refused(b"no archive", Kind::Zip, "not a zip archive");
        let mut cut = tar(|builder| append(builder, "a", EntryType::Regular, 100));
        cut.truncate(cut.len() / 2);
        refused(&cut, Kind::TarGz, "damaged");

        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("link", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
        refused(zip.finish().unwrap().get_ref(), Kind::Zip, "is a link");
    }
}

//! Rows on zip archives: one part of a header, of the directory or of a gap is another.

use super::{
    Case, Release, case,
    raw::{Member, Zip, put16, put32},
};
use crate::example::ARCHIVE;
use ::zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};
use std::io::{Cursor, Write};

/// Changes one part of an archive.
pub fn edit(release: &mut Release, name: &str, change: impl FnOnce(&mut Zip)) {
    let mut zip = Zip::read(&release.read(name));
    change(&mut zip);
    release.forge_archive(name, &zip.write());
}

/// Changes the first member, `bin/hello.dll`.
fn first(release: &mut Release, change: impl FnOnce(&mut Member)) {
    edit(release, ARCHIVE, |zip| change(&mut zip.members[0]));
}

fn mode(release: &mut Release, mode: usize) {
    first(release, |member| put32(&mut member.central, 38, mode << 16));
}

/// Writes an archive of the same members by the crate, with other options.
fn written(release: &mut Release, options: SimpleFileOptions, names: [(&str, &str); 2]) {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in names {
        zip.start_file(format!("hello-1.0-x86_64-pc-windows-msvc/{name}"), options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    release.forge_archive(ARCHIVE, &zip.finish().unwrap().into_inner());
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(6))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644)
}

const NAMES: [(&str, &str); 2] = [("bin/hello.dll", "library"), ("licenses/LICENSE", "license")];

/// An extra field: its kind, its length, its content.
fn extra(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), &(content.len() as u16).to_le_bytes(), content].concat()
}

const LOCAL: &str = "the header before `hello-1.0-x86_64-pc-windows-msvc/bin/hello.dll` has another";
const ENTRY: &str =
    "the entry of `hello-1.0-x86_64-pc-windows-msvc/bin/hello.dll` in the directory has another";
const GAP: &str = "it holds bytes that belong to no member";
const ANY: &str = "hello-1.0-x86_64-pc-windows-msvc.zip: ";

#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    vec![
        case("the header's name is another", "has another name, extra field or compressed data", |it| first(it, |m| *m.name.last_mut().unwrap() = b'X')),
        case("the header's name is a path to elsewhere", ANY, |it| first(it, |m| m.name = b"../../../../../../etc/cron.d/x".to_vec())),
        case("the header's name is empty", ANY, |it| first(it, |m| m.name.clear())),
        case("the header's method", "has another method", |it| first(it, |m| put16(&mut m.local, 8, 0))),
        case("the header's CRC", "has another CRC", |it| first(it, |m| m.local[14] ^= 1)),
        case("the header's compressed size", "has another compressed size", |it| first(it, |m| m.local[18] ^= 1)),
        case("the header's size", "has another size", |it| first(it, |m| m.local[22] ^= 1)),
        case("the header says encrypted", "has another flags", |it| first(it, |m| m.local[6] |= 1)),
        case("the header says that sizes follow", "has another flags", |it| first(it, |m| m.local[6] |= 8)),
        case("the header says UTF-8", "has another flags", |it| first(it, |m| m.local[7] |= 8)),
        case("the header says patched data", ANY, |it| first(it, |m| m.local[6] |= 32)),
        case("the header's time", "has another time", |it| first(it, |m| m.local[10] ^= 1)),
        case("the header's date", "has another time", |it| first(it, |m| m.local[12] ^= 1)),
        case("the header's version", "has another version", |it| first(it, |m| m.local[4] ^= 1)),
        case("an extra field in the header", "has another length of the extra field", |it| first(it, |m| m.extra = extra(0xcafe, b"payload"))),
        case("a Unicode name in the header's extra field", ANY, |it| first(it, |m| m.extra = extra(0x7075, b"\x01\0\0\0\0evil.dll"))),
        case("the directory's time", ANY, |it| first(it, |m| m.central[12] ^= 1)),
        case("both times", "has another time", |it| first(it, |m| { m.local[10] ^= 1; m.central[12] ^= 1; })),
        case("the directory's system", ANY, |it| first(it, |m| m.central[5] = 0)),
        case("the directory's system is a Mac", ANY, |it| first(it, |m| m.central[5] = 19)),
        case("the directory's version", "in the directory has another version", |it| first(it, |m| m.central[6] = 63)),
        case("the directory's flags", ANY, |it| first(it, |m| m.central[9] ^= 8)),
        case("the directory says encrypted", ANY, |it| first(it, |m| m.central[8] |= 1)),
        case("the directory's method", ANY, |it| first(it, |m| put16(&mut m.central, 10, 0))),
        case("a method that nobody knows", ANY, |it| first(it, |m| { put16(&mut m.central, 10, 99); put16(&mut m.local, 8, 99); })),
        case("the directory's CRC", ANY, |it| first(it, |m| m.central[16] ^= 1)),
        case("the directory's compressed size", ANY, |it| first(it, |m| m.central[20] ^= 1)),
        case("the directory's size", ANY, |it| first(it, |m| m.central[24] ^= 1)),
        case("a mark for text", "has another internal attributes", |it| first(it, |m| m.central[36] |= 1)),
        case("a disk number", ANY, |it| first(it, |m| m.central[34] = 1)),
        case("hidden on DOS", "has another attributes (mode)", |it| first(it, |m| m.central[38] |= 2)),
        case("a directory on DOS", ANY, |it| first(it, |m| m.central[38] |= 0x10)),
        case("read-only on DOS", "has another attributes (mode)", |it| first(it, |m| m.central[38] |= 1)),
        case("a named pipe", ENTRY, |it| mode(it, 0o010_644)),
        case("a character device", ENTRY, |it| mode(it, 0o020_644)),
        case("a block device", ENTRY, |it| mode(it, 0o060_644)),
        case("a socket", ENTRY, |it| mode(it, 0o140_644)),
        case("a directory by its mode", ANY, |it| mode(it, 0o040_644)),
        case("a link", "is a link, which a zip archive may not hold", |it| mode(it, 0o120_777)),
        case("setuid", ENTRY, |it| mode(it, 0o104_644)),
        case("writable for all", ENTRY, |it| mode(it, 0o100_666)),
        case("executable", "it is executable", |it| mode(it, 0o100_755)),
        case("no mode", ENTRY, |it| mode(it, 0)),
        case("a member's comment", "has another length of the comment", |it| first(it, |m| m.comment = b"hidden".to_vec())),
        case("an extra field in the directory", "has another length of the extra field", |it| first(it, |m| m.central_extra = extra(0xcafe, b"payload"))),
        case("a Unicode name in the directory's extra field", ANY, |it| first(it, |m| m.central_extra = extra(0x7075, b"\x01\0\0\0\0evil.dll"))),
        case("Unix times in extra fields", ANY, |it| first(it, |m| { m.central_extra = extra(0x5455, b"\x01\0\0\0\0"); m.extra = extra(0x5455, b"\x01\0\0\0\0"); })),
        case("an owner in extra fields", ANY, |it| first(it, |m| { m.central_extra = extra(0x7875, b"\x01\x04\0\0\0\0\x04\0\0\0\0"); })),
        case("another name in the directory", "holds `hello-1.0-x86_64-pc-windows-msvc/bin/hello.dlX`", |it| first(it, |m| *m.central_name.last_mut().unwrap() = b'X')),
        case("backslashes in both names", ANY, |it| first(it, |m| for name in [&mut m.name, &mut m.central_name] { for byte in name.iter_mut().filter(|byte| **byte == b'/') { *byte = b'\\'; } })),
        case("a name of two members", ANY, |it| edit(it, ARCHIVE, |zip| { let name = zip.members[0].name.clone(); zip.members[1].name.clone_from(&name); zip.members[1].central_name = name; })),
        case("one member's bytes for two", ANY, |it| edit(it, ARCHIVE, |zip| zip.members[1].offset = Some(0))),
        case("a member that is not in the directory", GAP, |it| edit(it, ARCHIVE, |zip| { let mut hidden = zip.members[0].clone(); hidden.name[0] = b'X'; zip.members.insert(1, hidden); zip.directory = Some(vec![0, 2]); })),
        case("a member less", "lacks `hello-1.0-x86_64-pc-windows-msvc/bin/hello.dll`", |it| edit(it, ARCHIVE, |zip| { drop(zip.members.remove(0)); put16(&mut zip.end, 8, 1); put16(&mut zip.end, 10, 1); })),
        case("a member more", "holds `xello-1.0-x86_64-pc-windows-msvc/bin/hello.dll`, which is not in the manifest", |it| edit(it, ARCHIVE, |zip| { let mut more = zip.members[0].clone(); more.name[0] = b'x'; more.central_name[0] = b'x'; zip.members.push(more); put16(&mut zip.end, 8, 3); put16(&mut zip.end, 10, 3); })),
        case("members in another order", "has its members in another order", |it| edit(it, ARCHIVE, |zip| zip.members.reverse())),
        case("the directory in another order", "has its members in another order", |it| edit(it, ARCHIVE, |zip| zip.directory = Some(vec![1, 0]))),
        case("bytes in front", GAP, |it| edit(it, ARCHIVE, |zip| zip.before = b"#!/bin/sh\n".to_vec())),
        case("bytes between members", GAP, |it| edit(it, ARCHIVE, |zip| zip.members[0].gap = b"payload".to_vec())),
        case("bytes in front of the directory", GAP, |it| edit(it, ARCHIVE, |zip| zip.members[1].gap = b"payload".to_vec())),
        case("bytes behind the directory", ANY, |it| edit(it, ARCHIVE, |zip| zip.gap = b"payload".to_vec())),
        case("bytes behind the end", ANY, |it| edit(it, ARCHIVE, |zip| zip.behind = b"payload".to_vec())),
        case("zeros behind the end", ANY, |it| edit(it, ARCHIVE, |zip| zip.behind = vec![0; 32])),
        case("another archive behind the end", ANY, |it| { let more = it.read(ARCHIVE); edit(it, ARCHIVE, |zip| zip.behind = more) }),
        case("a comment", GAP, |it| edit(it, ARCHIVE, |zip| zip.comment = b"hidden".to_vec())),
        case("a comment that is an archive", ANY, |it| { let more = it.read(ARCHIVE); edit(it, ARCHIVE, |zip| zip.comment = more) }),
        case("a disk in the end record", ANY, |it| edit(it, ARCHIVE, |zip| put16(&mut zip.end, 4, 1))),
        case("a count in the end record", ANY, |it| edit(it, ARCHIVE, |zip| put16(&mut zip.end, 8, 1))),
        case("an end record for large archives", ANY, |it| edit(it, ARCHIVE, |zip| { let mut end = b"PK\x06\x06".to_vec(); end.extend(44u64.to_le_bytes()); end.resize(56, 0); zip.gap = end; })),
        case("data that ends in a block more", ANY, |it| first(it, |m| { m.data.extend([1, 0, 0, 0xff, 0xff]); let size = m.data.len(); put32(&mut m.local, 18, size); put32(&mut m.central, 20, size); })),
        case("another content with its own CRC", "holds another `hello-1.0-x86_64-pc-windows-msvc/bin/hello.dll`", |it| written(it, options(), [("bin/hello.dll", "evil"), NAMES[1]])),
        case("not compressed", ANY, |it| written(it, options().compression_method(CompressionMethod::Stored).compression_level(None), NAMES)),
        case("written with times", "has another time", |it| written(it, options().last_modified_time(DateTime::from_date_and_time(2024, 1, 1, 0, 0, 0).unwrap()), NAMES)),
        case("written with 64-bit fields", ANY, |it| written(it, options().large_file(true), NAMES)),
        case("written with other modes", ENTRY, |it| written(it, options().unix_permissions(0o600), NAMES)),
        case("written with sizes behind the data", ANY, |it| {
            let mut zip = ZipWriter::new_stream(Vec::new());
            for (name, text) in NAMES {
                zip.start_file(format!("hello-1.0-x86_64-pc-windows-msvc/{name}"), options()).unwrap();
                zip.write_all(text.as_bytes()).unwrap();
            }
            it.forge_archive(ARCHIVE, &zip.finish().unwrap().into_inner());
        }),
        case("with a directory of its own", "holds `hello-1.0-x86_64-pc-windows-msvc/bin`", |it| {
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            zip.add_directory("hello-1.0-x86_64-pc-windows-msvc/bin", options()).unwrap();
            for (name, text) in NAMES {
                zip.start_file(format!("hello-1.0-x86_64-pc-windows-msvc/{name}"), options()).unwrap();
                zip.write_all(text.as_bytes()).unwrap();
            }
            it.forge_archive(ARCHIVE, &zip.finish().unwrap().into_inner());
        }),
        case("a bomb", "bytes in all", |it| written(it, options(), [("bin/hello.dll", &"0".repeat(8 << 20)), NAMES[1]])),
        case("cut off", ANY, |it| { let bytes = it.read(ARCHIVE); it.forge_archive(ARCHIVE, &bytes[..bytes.len() - 30]); }),
        case("a tar archive by this name", ANY, |it| { let bytes = it.read(crate::example::LINUX); it.forge_archive(ARCHIVE, &bytes); }),
    ]
}

/// The header of the first member is named where it differs.
#[test]
fn a_header_is_named() {
    let mut release = Release::new("test");
    first(&mut release, |member| member.local[14] ^= 1);
    let found = super::text(&release.problems(false));
    assert!(found.contains(LOCAL), "{found}");
}

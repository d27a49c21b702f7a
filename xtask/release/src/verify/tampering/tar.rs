//! Rows on tar archives. Programs make different things of what is done here; the bytes are not what they should be.

use super::{Case, Release, case};
use crate::example::LINUX;
use flate2::{Compression, GzBuilder, bufread::MultiGzDecoder};
use std::io::{Read, Write};

const PROGRAM: &str = "hello-1.0-x86_64-unknown-linux-gnu/bin/hello";
const LINK: &str = "hello-1.0-x86_64-unknown-linux-gnu/lib/libhello.so";
const LIBRARY: &str = "hello-1.0-x86_64-unknown-linux-gnu/lib/libhello.so.1";
const EVIL: &str = "hello-1.0-x86_64-unknown-linux-gnu/bin/evil";

/// The tar archive in a `.tar.gz`.
pub fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// A `.tar.gz` as this program compresses it.
pub fn packed(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    gzip.write_all(plain).unwrap();
    gzip.finish().unwrap()
}

/// Changes the tar archive below the compression.
fn edit(release: &mut Release, change: impl FnOnce(&mut Vec<u8>)) {
    let mut plain = unpacked(&release.read(LINUX));
    change(&mut plain);
    release.forge_archive(LINUX, &packed(&plain));
}

/// Where the record of a member begins.
fn record(plain: &[u8], path: &str) -> usize {
    let is_record = |block: &[u8]| block.starts_with(path.as_bytes()) && block[path.len()] == 0;
    plain.chunks(512).position(is_record).unwrap() * 512
}

fn fix_checksum(record: &mut [u8]) {
    record[148..156].fill(b' ');
    let sum: u32 = record[..512].iter().map(|byte| u32::from(*byte)).sum();
    record[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Writes over a field of a member's record.
fn field(release: &mut Release, path: &str, offset: usize, bytes: &[u8]) {
    edit(release, |plain| {
        let start = record(plain, path);
        plain[start + offset..start + offset + bytes.len()].copy_from_slice(bytes);
        fix_checksum(&mut plain[start..]);
    });
}

/// A record of another kind, with a content.
fn extension(kind: u8, name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = ::tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_entry_type(::tar::EntryType::new(kind));
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Puts records in front of a member.
fn before(release: &mut Release, path: &str, records: &[u8]) {
    edit(release, |plain| {
        let start = record(plain, path);
        plain.splice(start..start, records.iter().copied());
    });
}

/// A pax record (POSIX.1-2001) in front of a member.
fn pax(release: &mut Release, path: &str, fields: &[(&str, &str)]) {
    let content: String = fields
        .iter()
        .map(|(key, value)| {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|length| length.to_string().len() + rest == *length).unwrap();
            format!("{length} {key}={value}\n")
        })
        .collect();
    before(release, path, &extension(b'x', "././@PaxHeader", content.as_bytes()));
}

/// The last two blocks are the end mark.
fn end(plain: &[u8]) -> usize {
    plain.len() - 1024
}

const RECORD: &str = "is not the archive that mlc-repro writes of these members: the record of";
const EXTENSION: &str = "an extension record in front of `hello-1.0-x86_64-unknown-linux-gnu/";
const KIND: &str = "is neither file, symbolic link nor directory";

#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    vec![
        case("a pax record that gives a member another name", "holds `hello-1.0-x86_64-unknown-linux-gnu/bin/evil`", |it| pax(it, PROGRAM, &[("path", EVIL)])),
        case("a sparse name for GNU tar", EXTENSION, |it| pax(it, PROGRAM, &[("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.name", EVIL), ("GNU.sparse.size", "7"), ("GNU.sparse.map", "0,7")])),
        case("a capability", EXTENSION, |it| pax(it, PROGRAM, &[("SCHILY.xattr.security.capability", "\u{1}")])),
        case("an access control list", EXTENSION, |it| pax(it, PROGRAM, &[("SCHILY.acl.access", "user::rwx,other::rwx")])),
        case("an attribute for SELinux", EXTENSION, |it| pax(it, LIBRARY, &[("RHT.security.selinux", "x")])),
        case("an attribute for libarchive", EXTENSION, |it| pax(it, PROGRAM, &[("LIBARCHIVE.xattr.user.x", "eA==")])),
        case("a time in a pax record", EXTENSION, |it| pax(it, PROGRAM, &[("mtime", "1700000000.5")])),
        case("an owner in a pax record", EXTENSION, |it| pax(it, PROGRAM, &[("uid", "0"), ("uname", "root")])),
        case("a group in a pax record", EXTENSION, |it| pax(it, PROGRAM, &[("gid", "0"), ("gname", "wheel")])),
        case("the right name in a pax record", EXTENSION, |it| pax(it, PROGRAM, &[("path", PROGRAM)])),
        case("the right size in a pax record", EXTENSION, |it| pax(it, PROGRAM, &[("size", "7")])),
        case("another size in a pax record", "tar.gz: ", |it| pax(it, PROGRAM, &[("size", "6")])),
        case("a comment", EXTENSION, |it| pax(it, LIBRARY, &[("comment", "hidden")])),
        case("a character set", EXTENSION, |it| pax(it, LIBRARY, &[("hdrcharset", "BINARY")])),
        case("a link's text in a pax record", "it is a link to `/etc/passwd`", |it| pax(it, LINK, &[("linkpath", "/etc/passwd")])),
        case("an empty pax record", EXTENSION, |it| pax(it, PROGRAM, &[])),
        case("a pax record for all members", KIND, |it| before(it, PROGRAM, &extension(b'g', "pax_global_header", b"19 comment=0123456\n"))),
        case("a long name that need not be", EXTENSION, |it| before(it, PROGRAM, &extension(b'L', "././@LongLink", format!("{PROGRAM}\0").as_bytes()))),
        case("a long name that is another", "holds `hello-1.0-x86_64-unknown-linux-gnu/bin/evil`", |it| before(it, PROGRAM, &extension(b'L', "././@LongLink", format!("{EVIL}\0").as_bytes()))),
        case("a long link that need not be", EXTENSION, |it| before(it, LINK, &extension(b'K', "././@LongLink", b"libhello.so.1\0"))),
        case("a volume's label", KIND, |it| before(it, PROGRAM, &extension(b'V', "label", b""))),
        case("a directory for GNU's incremental backups", KIND, |it| before(it, PROGRAM, &extension(b'D', "dump", b"Yx\0"))),
        case("a record of a kind that nobody knows", KIND, |it| before(it, PROGRAM, &extension(b'Z', "odd", b""))),
        case("setuid on a program", "bin/hello` has another mode", |it| field(it, PROGRAM, 100, b"0004755\0")),
        case("setgid", "has another mode", |it| field(it, PROGRAM, 100, b"0002755\0")),
        case("the sticky bit", "has another mode", |it| field(it, PROGRAM, 100, b"0001755\0")),
        case("writable for all", "libhello.so.1` has another mode", |it| field(it, LIBRARY, 100, b"0000666\0")),
        case("setgid and writable on a library", "has another mode", |it| field(it, LIBRARY, 100, b"0002666\0")),
        case("unreadable for others", "has another mode", |it| field(it, PROGRAM, 100, b"0000700\0")),
        case("a link with a mode", "libhello.so` has another mode", |it| field(it, LINK, 100, b"0000755\0")),
        case("a mode written in another way", RECORD, |it| field(it, PROGRAM, 100, b"   755 \0")),
        case("a library that is executable", "it is executable", |it| field(it, LIBRARY, 100, b"0000755\0")),
        case("an owner", "has another owner", |it| field(it, PROGRAM, 108, b"0001750\0")),
        case("a group", "has another group", |it| field(it, PROGRAM, 116, b"0001750\0")),
        case("an owner's name", "has another owner's name", |it| field(it, PROGRAM, 265, b"root\0")),
        case("a group's name", "has another group's name", |it| field(it, PROGRAM, 297, b"wheel\0")),
        case("another time", "has another time", |it| field(it, PROGRAM, 136, b"14524570000\0")),
        case("a time in binary", "has another time", |it| field(it, PROGRAM, 136, b"\x80\0\0\0\0\0\0\0\x12\xce\xa6\0")),
        case("a size in binary", "has another size", |it| field(it, PROGRAM, 124, b"\x80\0\0\0\0\0\0\0\0\0\0\x07")),
        case("a checksum written in another way", "has another checksum", |it| edit(it, |plain| {
            let start = record(plain, PROGRAM);
            fix_checksum(&mut plain[start..]);
        })),
        case("a wrong checksum", "tar.gz: ", |it| edit(it, |plain| {
            let start = record(plain, PROGRAM);
            plain[start + 150] ^= 1;
        })),
        case("a file of the old kind", "has another kind", |it| field(it, PROGRAM, 156, b"\0")),
        case("a contiguous file", KIND, |it| field(it, PROGRAM, 156, b"7")),
        case("a hard link", KIND, |it| field(it, PROGRAM, 156, b"1")),
        case("a character device", KIND, |it| field(it, PROGRAM, 156, b"3")),
        case("a block device", KIND, |it| field(it, PROGRAM, 156, b"4")),
        case("a named pipe", KIND, |it| field(it, PROGRAM, 156, b"6")),
        case("a sparse file of GNU's", "tar.gz: ", |it| field(it, PROGRAM, 156, b"S")),
        case("a file that becomes a directory", "it is of another kind", |it| edit(it, |plain| {
            let start = record(plain, PROGRAM);
            plain[start + 156] = b'5';
            plain[start + 124..start + 136].copy_from_slice(b"00000000000\0");
            fix_checksum(&mut plain[start..]);
            plain.drain(start + 512..start + 1024);
        })),
        case("a directory more", "holds `hello-1.0-x86_64-unknown-linux-gnu/bin`", |it| before(it, PROGRAM, &extension(b'5', "hello-1.0-x86_64-unknown-linux-gnu/bin/", b""))),
        case("a member more", "holds `hello-1.0-x86_64-unknown-linux-gnu/bin/evil`", |it| before(it, PROGRAM, &extension(b'0', EVIL, b"evil"))),
        case("a member twice", "holds `hello-1.0-x86_64-unknown-linux-gnu/bin/hello` twice", |it| edit(it, |plain| {
            let start = record(plain, PROGRAM);
            let copy = plain[start..start + 1024].to_vec();
            plain.splice(start..start, copy);
        })),
        case("a member less", "lacks `hello-1.0-x86_64-unknown-linux-gnu/bin/hello`", |it| edit(it, |plain| {
            let start = record(plain, PROGRAM);
            plain.drain(start..start + 1024);
        })),
        case("members in another order", "has its members in another order: `hello-1.0-x86_64-unknown-linux-gnu/lib/libhello.so.1` where", |it| edit(it, |plain| {
            let (link, library) = (record(plain, LINK), record(plain, LIBRARY));
            let moved: Vec<u8> = plain.drain(link..library).collect();
            plain.splice(library - moved.len() + 1024..library - moved.len() + 1024, moved);
        })),
        case("a member at the front", "has its members in another order", |it| edit(it, |plain| {
            let start = record(plain, LIBRARY);
            let moved: Vec<u8> = plain.drain(start..start + 1024).collect();
            plain.splice(0..0, moved);
        })),
        case("another content", "holds another `hello-1.0-x86_64-unknown-linux-gnu/bin/hello`", |it| edit(it, |plain| {
            let start = record(plain, PROGRAM);
            plain[start + 512] ^= 1;
        })),
        case("data in the padding", "the padding behind `hello-1.0-x86_64-unknown-linux-gnu/bin/hello` is not empty", |it| edit(it, |plain| {
            let start = record(plain, PROGRAM);
            plain[start + 512 + 100] = b'x';
        })),
        case("data in the last bytes of a record", "has another padding", |it| field(it, PROGRAM, 500, b"payload")),
        case("data behind a name", RECORD, |it| field(it, PROGRAM, 90, b"payload")),
        case("a link's text on a file", "has another link's text", |it| field(it, PROGRAM, 157, b"elsewhere")),
        case("a device's number on a file", "has another device number", |it| field(it, PROGRAM, 329, b"0000001\0")),
        case("a record of POSIX instead of GNU's", "has another magic number", |it| field(it, PROGRAM, 257, b"ustar\x0000")),
        case("a record without a magic number", "has another magic number", |it| field(it, PROGRAM, 257, &[0; 8])),
        case("a name in two parts", "tar.gz: ", |it| edit(it, |plain| {
            let start = record(plain, PROGRAM);
            plain[start..start + 100].fill(0);
            plain[start..start + 5].copy_from_slice(b"hello");
            plain[start + 257..start + 265].copy_from_slice(b"ustar\x0000");
            plain[start + 345..start + 345 + PROGRAM.len() - 6].copy_from_slice(&PROGRAM.as_bytes()[..PROGRAM.len() - 6]);
            fix_checksum(&mut plain[start..]);
        })),
        case("a name with `./` in front", "tar.gz: ", |it| field(it, PROGRAM, 0, format!("./{PROGRAM}").as_bytes())),
        case("a name with `/` behind", "tar.gz: ", |it| field(it, PROGRAM, 0, format!("{PROGRAM}/").as_bytes())),
        case("a name that leads out", "holds `../../bin/hello", |it| field(it, PROGRAM, 0, b"../../bin/hello\0")),
        case("a link's text that is another", "it is a link to `/etc/passwd`, not to `libhello.so.1`", |it| field(it, LINK, 157, b"/etc/passwd\0\0")),
        case("no end mark", "is another end", |it| edit(it, |plain| plain.truncate(end(plain)))),
        case("half an end mark", "is another end", |it| edit(it, |plain| plain.truncate(end(plain) + 512))),
        case("more zeros than the end mark", "more bytes behind the end", |it| edit(it, |plain| plain.resize(plain.len() + 512, 0))),
        case("data behind the end mark", "something stands behind the end of the tar archive", |it| edit(it, |plain| plain.extend([b'x'; 512]))),
        case("a member behind the end mark", "something stands behind the end of the tar archive", |it| edit(it, |plain| plain.extend(extension(b'0', EVIL, b"evil")))),
        case("an archive that is cut off", "tar.gz: ", |it| edit(it, |plain| plain.truncate(record(plain, LIBRARY) + 600))),
        case("a bomb", "bytes in all", |it| before(it, PROGRAM, &extension(b'0', EVIL, &vec![0; 8 << 20]))),
        case("a name of a megabyte", "or holds more than it may", |it| before(it, PROGRAM, &extension(b'L', "././@LongLink", &vec![b'a'; 8 << 20]))),
    ]
}

/// Changes the stream around the compressed data.
fn stream(release: &mut Release, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = release.read(LINUX);
    change(&mut bytes);
    release.forge_archive(LINUX, &bytes);
}

/// Compresses the same archive with other settings.
fn compressed(release: &mut Release, level: u32, builder: GzBuilder) {
    let plain = unpacked(&release.read(LINUX));
    let mut gzip = builder.write(Vec::new(), Compression::new(level));
    gzip.write_all(&plain).unwrap();
    release.forge_archive(LINUX, &gzip.finish().unwrap());
}

fn plain() -> GzBuilder {
    GzBuilder::new().mtime(0).operating_system(255)
}

#[rustfmt::skip]
pub fn gzip() -> Vec<Case> {
    const FLAGS: &str = "the gzip stream has another flags (a name, a comment or an extra field)";
    const DATA: &str = "the gzip stream has another compressed data";
    vec![
        case("an extra field", FLAGS, |it| compressed(it, 6, plain().extra(b"payload".to_vec()))),
        case("a file's name", FLAGS, |it| compressed(it, 6, plain().filename("evil"))),
        case("a comment", FLAGS, |it| compressed(it, 6, plain().comment("payload"))),
        case("a checksum of the header", "tar.gz: ", |it| stream(it, |bytes| { bytes[3] |= 2; bytes.splice(10..10, [0, 0]); })),
        case("a mark for text", FLAGS, |it| stream(it, |bytes| bytes[3] |= 1)),
        case("a mark that is reserved", "tar.gz: ", |it| stream(it, |bytes| bytes[3] |= 0x80)),
        case("a time", "the gzip stream has another time", |it| compressed(it, 6, GzBuilder::new().mtime(1_700_000_000).operating_system(255))),
        case("a level in the header", "the gzip stream has another level", |it| stream(it, |bytes| bytes[8] = 2)),
        case("an operating system", "the gzip stream has another operating system", |it| compressed(it, 6, GzBuilder::new().mtime(0).operating_system(3))),
        case("compressed more", "the gzip stream has another", |it| compressed(it, 9, plain())),
        case("compressed less", "the gzip stream has another", |it| compressed(it, 1, plain())),
        case("not compressed", "the gzip stream has another", |it| compressed(it, 0, plain())),
        case("two streams in a row", DATA, |it| {
            let plain = unpacked(&it.read(LINUX));
            let (first, second) = plain.split_at(1024);
            it.forge_archive(LINUX, &[packed(first), packed(second)].concat());
        }),
        case("an empty stream behind", "and 234 when it is written again", |it| stream(it, |bytes| bytes.extend(packed(b"")))),
        case("zeros behind", "tar.gz: ", |it| stream(it, |bytes| bytes.extend([0; 16]))),
        case("data behind", "tar.gz: the tar archive is damaged", |it| stream(it, |bytes| bytes.extend(b"payload"))),
        case("a zip archive behind", "tar.gz: ", |it| { let zip = it.read(crate::example::ARCHIVE); stream(it, |bytes| bytes.extend(zip)); }),
        case("a wrong checksum", "tar.gz: the tar archive is damaged", |it| stream(it, |bytes| { let at = bytes.len() - 8; bytes[at] ^= 1; })),
        case("a wrong size", "tar.gz: the tar archive is damaged", |it| stream(it, |bytes| { let at = bytes.len() - 4; bytes[at] ^= 1; })),
        case("without checksum and size", "tar.gz: the tar archive is damaged", |it| stream(it, |bytes| bytes.truncate(bytes.len() - 8))),
        case("no gzip at all", "tar.gz: ", |it| { let plain = unpacked(&it.read(LINUX)); it.forge_archive(LINUX, &plain); }),
        case("nothing at all", "tar.gz: ", |it| it.forge_archive(LINUX, b"")),
    ]
}

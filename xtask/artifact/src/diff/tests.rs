//! Pairs of real files with one difference each: it is found where it is, and the cause is named.

use super::*;
use ::object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};
use flate2::{Compression, GzBuilder};
use std::io::Write as _;

mod seeded;

/// All changes, however deep, each with the members that lead to it.
fn changes(comparison: &Comparison) -> Vec<(String, Change)> {
    let mut all = Vec::new();
    let mut open = vec![(comparison.name.clone(), comparison)];
    while let Some((path, comparison)) = open.pop() {
        all.extend(comparison.changes.iter().map(|change| (path.clone(), change.clone())));
        open.extend(comparison.members.iter().map(|it| (format!("{path} > {}", it.name), it)));
    }
    all
}

#[track_caller]
fn found(left: &[u8], right: &[u8], place: &str, cause: Option<Cause>) -> Change {
    let comparison = compare_bytes("x", left, right);
    assert!(!comparison.same);
    let all = changes(&comparison);
    let fits = |(path, it): &&(String, Change)| {
        format!("{path} {} {}", it.place, it.what).contains(place) && it.cause == cause
    };
    let Some((_, change)) = all.iter().find(fits) else { panic!("no {place} with {cause:?} in {all:#?}") };
    change.clone()
}

fn tar(members: &[(&str, &[u8])], change: impl Fn(&mut tar::Header)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(315_532_800);
        change(&mut header);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8], time: u32) -> Vec<u8> {
    let mut writer = GzBuilder::new().mtime(time).write(Vec::new(), Compression::new(6));
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zip(members: &[(&str, &[u8])], options: zip::write::SimpleFileOptions) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, content) in members {
        writer.start_file(*path, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn plain() -> zip::write::SimpleFileOptions {
    zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default())
}

/// An object with a function `start` and a function `greet` behind it, whose code is `code`, and `text` as constant data.
fn object(format: BinaryFormat, code: &[u8], text: &[u8]) -> Vec<u8> {
    let mut object = Object::new(format, Architecture::X86_64, Endianness::Little);
    let section = object.section_id(::object::write::StandardSection::Text);
    let add = |object: &mut Object, name: &[u8], value: u64, size: u64| {
        object.add_symbol(Symbol {
            name: name.to_vec(),
            value,
            size,
            kind: SymbolKind::Text,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        })
    };
    object.append_section_data(section, &[0x90; 16], 16);
    object.append_section_data(section, code, 16);
    add(&mut object, b"start", 0, 16);
    add(&mut object, b"greet", 16, code.len() as u64);
    let data = object.add_section(Vec::new(), b".rdata".to_vec(), SectionKind::ReadOnlyData);
    object.append_section_data(data, text, 8);
    object.write().unwrap()
}

/// A PE file (x86-64) of headers and one section, written by the specification.
fn pe(time: u32, checksum: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 0x400];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x80u32.to_le_bytes());
    put(0x80, b"PE\0\0");
    put(0x84, &0x8664u16.to_le_bytes());
    put(0x86, &1u16.to_le_bytes());
    put(0x88, &time.to_le_bytes());
    put(0x94, &240u16.to_le_bytes());
    put(0x96, &0x2022u16.to_le_bytes());
    put(0x98, &0x20bu16.to_le_bytes());
    put(0xb0, &0x1_8000_0000u64.to_le_bytes());
    put(0xb8, &0x1000u32.to_le_bytes());
    put(0xbc, &0x200u32.to_le_bytes());
    put(0xd0, &0x2000u32.to_le_bytes());
    put(0xd4, &0x200u32.to_le_bytes());
    put(0xd8, &checksum.to_le_bytes());
    put(0x104, &16u32.to_le_bytes());
    // The section table: its name, sizes and places.
    put(0x188, b".rdata\0\0");
    put(0x190, &0x200u32.to_le_bytes());
    put(0x194, &0x1000u32.to_le_bytes());
    put(0x198, &0x200u32.to_le_bytes());
    put(0x19c, &0x200u32.to_le_bytes());
    put(0x200, data);
    bytes
}

/// A class with a source file's name and a constant.
fn class(major: u8, source: &str, constant: &str) -> Vec<u8> {
    let mut bytes = vec![0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, major, 0, 8];
    for text in ["A", "java/lang/Object", "SourceFile", source, constant] {
        bytes.push(1);
        bytes.extend((text.len() as u16).to_be_bytes());
        bytes.extend(text.bytes());
    }
    // Classes of the first two names; then access, this, super, no interfaces, fields and methods, one attribute.
    bytes.extend([7, 0, 1, 7, 0, 2, 0, 0x21, 0, 6, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 2, 0, 4]);
    bytes
}

fn library(members: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, time, content) in members {
        bytes.extend(
            format!("{:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`\n", format!("{name}/"), 0, 0, 644, content.len())
                .bytes(),
        );
        bytes.extend(*content);
        bytes.extend(vec![b'\n'; content.len() % 2]);
    }
    bytes
}

#[test]
fn members_of_archives_are_told_by_header_order_and_content() {
    let members: [(&str, &[u8]); 2] = [("a", b"one"), ("b", b"two")];
    let left = tar(&members, |_| ());
    found(&left, &tar(&members, |it| it.set_mtime(1_764_237_661)), "a: time", Some(Cause::TimeStamp));
    found(&left, &tar(&members, |it| it.set_mode(0o664)), "a: mode", Some(Cause::Permissions));
    found(&left, &tar(&members, |it| it.set_username("alice").unwrap()), "a: owner", Some(Cause::UserName));
    found(&left, &tar(&[members[1], members[0]], |_| ()), "members order", Some(Cause::Order));
    let change = found(&left, &tar(&members[..1], |_| ()), "members b", None);
    assert_eq!((change.expected.as_deref(), change.found), (Some("(there)"), None));
    let versions = ["x-1.0", "x-1.1"]
        .map(|top| tar(&[(&*format!("{top}/a"), b"same"), (&*format!("{top}/b"), top.as_bytes())], |_| ()));
    found(&versions[0], &versions[1], "members directory at the top", None);
    found(&versions[0], &versions[1], "> b lines line 1", Some(Cause::Tool));
    let packed = gzip(&left, 0);
    found(&packed, &gzip(&left, 1_764_237_661), "gzip header time", Some(Cause::TimeStamp));
    // A text in an archive in an archive.
    let deep = |text: &[u8]| zip(&[("inner.tar.gz", &gzip(&tar(&[("deep", text)], |_| ()), 0))], plain());
    let change = found(
        &deep(b"at /home/alice/x\n"),
        &deep(b"at /home/bob/x\n"),
        "inner.tar.gz > deep lines line 1",
        Some(Cause::UserName),
    );
    assert_eq!(change.found.as_deref(), Some("at /home/bob/x"));
    let left = zip(&members, plain());
    let time = zip::DateTime::from_date_and_time(2026, 11, 27, 10, 0, 0).unwrap();
    found(&left, &zip(&members, plain().last_modified_time(time)), "a: time", Some(Cause::TimeStamp));
    let stored = zip(&members, plain().compression_method(zip::CompressionMethod::Stored));
    found(&left, &stored, "a: method", Some(Cause::Compression));
}

#[test]
fn the_section_symbol_and_cause_in_elf_and_coff_are_named() {
    for format in [BinaryFormat::Elf, BinaryFormat::Coff] {
        let left = object(format, b"\x90\x90\x90\x90\x90\x90\xc3", b"compiled in /build/a/src\0");
        let change = found(
            &left,
            &object(format, b"\x90\x90\x90\x90\xcc\x90\xc3", b"compiled in /build/a/src\0"),
            "section .text",
            None,
        );
        assert_eq!(change.symbol.as_deref(), Some("greet+0x4"), "{format:?}: {change:?}");
        let path = object(format, b"\x90\x90\x90\x90\x90\x90\xc3", b"compiled in /build/b/src\0");
        let change = found(&left, &path, "section .rdata", Some(Cause::Path));
        assert!(change.expected.unwrap().contains("|a/src"));
        let longer = object(format, b"\x90\x90\x90\x90\x90\x90\x90\xc3", b"compiled in /build/a/src\0");
        assert!(
            changes(&compare_bytes("x", &left, &longer))
                .iter()
                .any(|(_, it)| it.place == "symbols" || it.place == "sections")
        );
    }
}

#[test]
fn headers_and_sections_of_pe_files_are_told() {
    let left = pe(1_700_000_000, 1, b"made 2026-11-27 10:00:00");
    let change = found(
        &left,
        &pe(1_764_237_661, 1, b"made 2026-11-27 10:00:00"),
        "headers time stamp",
        Some(Cause::TimeStamp),
    );
    assert!(change.found.unwrap().contains("(2025-11-27 10:01:01 UTC)"));
    found(
        &left,
        &pe(1_700_000_000, 2, b"made 2026-11-27 10:00:00"),
        "headers checksum",
        Some(Cause::Identifier),
    );
    found(
        &left,
        &pe(1_700_000_000, 1, b"made 2025-01-02 11:22:33"),
        "section .rdata",
        Some(Cause::TimeStamp),
    );
    // UTF-16, as resources have it; then records in another order.
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let text = |text: &str| pe(0, 0, &wide(text));
    found(
        &text(r"C:\Users\alice\a.pdb"),
        &text(r"C:\Users\bobby\a.pdb"),
        "section .rdata",
        Some(Cause::UserName),
    );
    let records = |first: u64, second: u64| [first.to_le_bytes(), second.to_le_bytes()].concat();
    found(&pe(0, 0, &records(1, 2)), &pe(0, 0, &records(2, 1)), "section .rdata", Some(Cause::Order));
}

#[test]
fn members_and_headers_of_libraries_are_told() {
    let left = library(&[("a.o", "0", b"first"), ("b.o", "0", b"second")]);
    found(
        &left,
        &library(&[("a.o", "1764237661", b"first"), ("b.o", "0", b"second")]),
        "a.o: time stamp",
        Some(Cause::TimeStamp),
    );
    found(
        &left,
        &library(&[("b.o", "0", b"second"), ("a.o", "0", b"first")]),
        "members order",
        Some(Cause::Order),
    );
    found(
        &left,
        &library(&[("a.o", "0", b"first"), ("b.o", "0", b"seXond")]),
        "b.o (member 2) lines line 1",
        None,
    );
}

#[test]
fn names_and_constants_of_classes_are_told() {
    let left = class(52, "A.java", "built by -march=znver3");
    found(&left, &class(61, "A.java", "built by -march=znver3"), "headers version", Some(Cause::Tool));
    let change = found(&left, &class(52, "B.java", "built by -march=znver3"), "attributes SourceFile", None);
    assert_eq!((change.expected.as_deref(), change.found.as_deref()), (Some("A.java"), Some("B.java")));
    found(&left, &class(52, "A.java", "other"), "constants other", None);
}

#[test]
fn values_of_json_and_lines_of_text_are_told() {
    let left = br#"{"a": {"time": "2026-11-27T10:00:00Z"}, "list": [1, 2], "cpu": "znver3"}"#;
    let other = |from: &str, to: &str| std::str::from_utf8(left).unwrap().replace(from, to).into_bytes();
    found(left, &other("2026-11", "2025-01"), "values /a/time", Some(Cause::TimeStamp));
    found(left, &other("[1, 2]", "[2, 1]"), "values /list", Some(Cause::Order));
    found(left, &other("znver3", "haswell"), "values /cpu", Some(Cause::Processor));
    found(left, &other(", \"cpu\": \"znver3\"", ""), "values /cpu", None);
    found(br#"{"a":1,"b":2}"#, br#"{"b":2,"a":1}"#, "line 1", Some(Cause::Order));
    found(b"one\r\ntwo\r\n", b"one\ntwo\n", "line 1", Some(Cause::LineEnds));
    found(b"b.c\na.c\n", b"a.c\nb.c\n", "line 1", Some(Cause::Order));
    found(b"clang version 18.1.8\n", b"clang version 19.1.0\n", "line 1", Some(Cause::Tool));
}

#[test]
fn directories_are_compared_file_by_file() {
    let directory = tempfile::tempdir().unwrap();
    let [left, right] = ["left", "right"].map(|name| directory.path().join(name));
    for (path, text) in [(&left, "made in /build/one"), (&right, "made in /build/two")] {
        std::fs::create_dir_all(path.join("sub")).unwrap();
        std::fs::write(path.join("sub/same"), "same").unwrap();
        std::fs::write(path.join("sub/other"), text).unwrap();
    }
    std::fs::write(left.join("only"), "").unwrap();
    std::os::unix::fs::symlink("a", left.join("link")).unwrap();
    std::os::unix::fs::symlink("b", right.join("link")).unwrap();
    let comparison = compare_paths(&left, &right).unwrap();
    let names: Vec<_> = comparison.members.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["sub/other"]);
    let places: Vec<_> = comparison.changes.iter().map(|it| (it.place.as_str(), it.what.as_str())).collect();
    assert_eq!(places, [("link", "link"), ("only", "file")]);
    assert_eq!(comparison.causes(), [(Cause::Path, 1)]);
    assert!(compare_paths(&left, &left).unwrap().same);
    assert!(compare_paths(&left, &right.join("sub/other")).is_err());
}

#[test]
fn many_changes_of_one_place_hide_no_other() {
    let list = |time: &str| {
        let members: Vec<String> = (0..40).map(|index| format!("{index}.o")).collect();
        let members: Vec<_> = members.iter().map(|name| (name.as_str(), time, &b"same"[..])).collect();
        library(&[members, vec![("last.o", "0", time.as_bytes())]].concat())
    };
    let comparison = compare_bytes("x.a", &list("1700000000"), &list("1764237661"));
    assert_eq!(comparison.changes.iter().filter(|it| it.place == "member headers").count(), MOST_OF_PLACE);
    assert_eq!((comparison.left_out, comparison.members.len()), (40 - MOST_OF_PLACE, 1));
}

#[test]
fn hostile_bytes_are_compared_and_never_break_anything() {
    let members: [(&str, &[u8]); 2] = [("a", b"one"), ("b", b"two")];
    let files = [
        tar(&members, |_| ()),
        gzip(&tar(&members, |_| ()), 0),
        zip(&members, plain()),
        object(BinaryFormat::Elf, b"\x90\xc3", b"text"),
        object(BinaryFormat::Coff, b"\x90\xc3", b"text"),
        pe(1_700_000_000, 0, b"text"),
        class(52, "A.java", "constant"),
        library(&[("a.o", "0", b"first")]),
        std::fs::read(std::env::current_exe().unwrap()).unwrap().into_iter().take(1 << 16).collect(),
        br#"{"a":[1,{"b":"c"}]}"#.to_vec(),
    ];
    // A sequence of its own, the same everywhere (splitmix64).
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % below
    };
    for file in &files {
        for round in 0..120 {
            let mut other = file.clone();
            for _ in 0..=round % 4 {
                let at = random(other.len());
                match round % 3 {
                    0 => other[at] = random(256) as u8,
                    1 => other[at] = [0, 0xff, 0x7f, 0x80][random(4)],
                    _ => other.truncate(at.max(4)),
                }
            }
            let comparison = compare_bytes("x", file, &other);
            assert_eq!(comparison.same, *file == other);
            assert!(comparison.same || !changes(&comparison).is_empty() || !comparison.notes.is_empty());
        }
    }
}

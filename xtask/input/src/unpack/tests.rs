mod hostile;

use super::*;
use ::tar::{Builder, EntryType, Header};
use proptest::prelude::*;
use std::io::Write;

fn tar_of(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, text) in entries {
        let mut header = Header::new_gnu();
        // Written by hand, since the crate refuses to write what we must refuse to read.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        let content: &[u8] = match kind {
            EntryType::Symlink | EntryType::Link => {
                header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
                b""
            }
            _ => text.as_bytes(),
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn deb_of(data: &[u8]) -> Vec<u8> {
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", b"2.0\n".as_slice()), ("control.tar", b"x"), ("data.tar", data)]
    {
        writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, content.len()).unwrap();
        deb.extend(content);
        if content.len() % 2 == 1 {
            deb.push(b'\n');
        }
    }
    deb
}

fn unpacked(archive: &[u8], format: Format, part: &Part) -> Result<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let digest = store.put_bytes(archive).unwrap();
    let tree = unpack(&store, &digest, format, part)?;
    let again = unpack(&store, &digest, format, part)?;
    assert_eq!(tree, again);
    Ok(tree
        .iter()
        .map(|(path, entry)| match entry {
            Entry::File { digest, executable } => {
                // Where an archive is damaged at random, so may the text be.
                let text = store.read(digest).unwrap();
                let text = String::from_utf8_lossy(&text);
                format!("{path}{}={text}", if *executable { "*" } else { "" })
            }
            Entry::Symlink { target } => format!("{path} -> {target}"),
            Entry::Directory => format!("{path}/"),
        })
        .collect())
}

#[test]
fn all_compressions_give_the_same_tree() {
    let tar = tar_of(&[
        ("./top/", EntryType::Directory, ""),
        ("./top/run", EntryType::Regular, "text"),
        ("top/same", EntryType::Link, "top/run"),
        ("top/link", EntryType::Symlink, "run"),
        ("top/empty/", EntryType::Directory, ""),
    ]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tar).unwrap();
    let zst = zstd::encode_all(tar.as_slice(), 1).unwrap();
    let expected = ["top/empty/", "top/link -> run", "top/run*=text", "top/same*=text"];
    for archive in [tar.clone(), gzip.finish().unwrap(), xz.finish().unwrap(), zst] {
        assert_eq!(unpacked(&archive, Format::Tar, &Part::default()).unwrap(), expected);
    }
    assert_eq!(unpacked(&deb_of(&tar), Format::Deb, &Part::default()).unwrap(), expected);
}

#[test]
fn a_part_can_be_taken() {
    let tar = tar_of(&[
        ("top/a/1", EntryType::Regular, "1"),
        ("top/ab", EntryType::Regular, "2"),
        ("top/b/1", EntryType::Regular, "3"),
        ("README", EntryType::Regular, "4"),
    ]);
    let part = Part { strip: 1, subtrees: vec!["a".into()] };
    assert_eq!(unpacked(&tar, Format::Tar, &part).unwrap(), ["a/1*=1"]);
    let part = Part { strip: 9, subtrees: Vec::new() };
    assert!(unpacked(&tar, Format::Tar, &part).unwrap_err().to_string().contains("nothing is left"));
    let part = Part { strip: 1, subtrees: vec!["c".into()] };
    assert!(unpacked(&tar, Format::Tar, &part).unwrap_err().to_string().contains("has no `c`"));
}

#[test]
fn hostile_tars_are_refused() {
    use EntryType::{Block, Directory, Fifo, Link, Regular, Symlink};
    for (entries, expected) in [
        (vec![("../evil", Regular, "x")], "with `..`"),
        (vec![("a/../../evil", Regular, "x")], "with `..`"),
        (vec![("/etc/evil", Regular, "x")], "absolute path"),
        (vec![("a", Symlink, "/etc/passwd")], "is absolute"),
        (vec![("a/b", Symlink, "../../etc")], "leaves the archive"),
        (vec![("a", Symlink, "x"), ("a/evil", Regular, "x")], "is not a directory"),
        (vec![("a", Link, "../../etc/passwd")], "with `..`"),
        (vec![("a", Link, "b")], "not a file before it"),
        (vec![("a", Regular, "1"), ("a", Regular, "2")], "another content"),
        (vec![("a", Regular, "1"), ("a", Directory, "")], "another content"),
        (vec![("dev", Block, "")], "neither file"),
        (vec![("pipe", Fifo, "")], "neither file"),
        (vec![], "is empty"),
    ] {
        let error = format!("{:#}", unpacked(&tar_of(&entries), Format::Tar, &Part::default()).unwrap_err());
        assert!(error.contains(expected), "{entries:?}: {error}");
    }
}

#[test]
fn absolute_links_are_fine_in_packages_only() {
    let tar = tar_of(&[("etc/alternatives/x", EntryType::Symlink, "/usr/bin/x")]);
    assert!(unpacked(&deb_of(&tar), Format::Deb, &Part::default()).is_ok());
    assert!(unpacked(&tar, Format::Tar, &Part::default()).is_err());
}

#[test]
fn truncated_and_foreign_archives_are_refused() {
    let tar = tar_of(&[("a", EntryType::Regular, &"x".repeat(5000))]);
    for (archive, format) in [
        (tar[..2000].to_vec(), Format::Tar),
        (zstd::encode_all(tar.as_slice(), 1).unwrap()[..20].to_vec(), Format::Tar),
        (deb_of(&tar)[..900].to_vec(), Format::Deb),
        (b"!<arch>\nnot a package".to_vec(), Format::Deb),
        (b"PK\x03\x04nothing".to_vec(), Format::Zip),
        (b"plain text, no archive at all".repeat(40), Format::Tar),
    ] {
        assert!(unpacked(&archive, format, &Part::default()).is_err(), "{format:?}");
    }
}

#[test]
fn a_bomb_is_stopped() {
    let store_directory = tempfile::tempdir().unwrap();
    let store = Store::open(store_directory.path()).unwrap();
    let part = Part::default();
    let mut unpacker = Unpacker::new(&store, 10, Format::Tar, &part);
    unpacker.left = 1000;
    let error = unpacker.file("zeros", false, std::io::repeat(0).take(2000)).unwrap_err().to_string();
    assert!(error.contains("looks like a bomb"), "{error}");
}

fn zip_of(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in entries {
        let options = ::zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        writer.start_file(*name, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn zips_are_read_and_hostile_ones_refused() {
    let good = zip_of(&[("tvm/lib.dll", "x"), ("tvm/a.py", "y")]);
    assert_eq!(unpacked(&good, Format::Zip, &Part::default()).unwrap(), ["tvm/a.py*=y", "tvm/lib.dll*=x"]);
    for (name, expected) in [
        ("../evil", "with `..`"),
        ("/evil", "absolute"),
        ("a\\..\\evil", "backslash"),
        ("a/../../evil", "with `..`"),
    ] {
        // The writer cleans names, so a name of the same length is replaced in the finished archive.
        let stand_in = "n".repeat(name.len());
        let mut archive = zip_of(&[(&stand_in, "x")]);
        for start in 0..archive.len() - name.len() {
            if &archive[start..start + name.len()] == stand_in.as_bytes() {
                archive[start..start + name.len()].copy_from_slice(name.as_bytes());
            }
        }
        let error = format!("{:#}", unpacked(&archive, Format::Zip, &Part::default()).unwrap_err());
        assert!(error.contains(expected), "{name}: {error}");
    }
    for length in [good.len() / 2, good.len() - 1] {
        assert!(unpacked(&good[..length], Format::Zip, &Part::default()).is_err(), "{length} bytes of it");
    }
}

/// The zips of Android's NDK hold links.
#[test]
fn links_in_zips_stay_in_their_tree() {
    let linked = |target: &str| {
        let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.add_symlink("ndk/bin/ld", target, ::zip::write::SimpleFileOptions::default()).unwrap();
        let archive = writer.finish().unwrap().into_inner();
        unpacked(&archive, Format::Zip, &Part::default()).map_err(|error| format!("{error:#}"))
    };
    assert!(linked("../lib/lld").unwrap()[0].contains("../lib/lld"));
    assert!(linked("../../../etc/passwd").unwrap_err().contains("leaves the archive"));
    assert!(linked("/etc/passwd").unwrap_err().contains("is absolute"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_archives_never_panic(at in 0usize..3000, value: u8, kind in 0..3) {
        let tar = tar_of(&[("top/a", EntryType::Regular, "text"), ("top/l", EntryType::Symlink, "a")]);
        let (mut archive, format) = match kind {
            0 => (tar, Format::Tar),
            1 => (deb_of(&tar), Format::Deb),
            _ => (zip_of(&[("a", "text"), ("b/c", "more")]), Format::Zip),
        };
        let at = at % archive.len();
        archive[at] = value;
        let _ = unpacked(&archive, format, &Part::default());
    }
}

#[test]
fn outputs_of_engines_are_taken_by_their_names_below_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let archive = |top: &str, bad: Option<(&str, ::tar::EntryType)>| {
        let mut archive = Vec::new();
        let mut add = |path: &str, kind: ::tar::EntryType, link: &str, content: &[u8]| {
            let mut header = ::tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            // By hand: the crate refuses what strangers may write.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_link_name_literal(link).unwrap();
            header.set_cksum();
            archive.extend(header.as_bytes());
            archive.extend(content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        };
        add(top, ::tar::EntryType::Directory, "", b"");
        add(&format!("{top}a"), ::tar::EntryType::Regular, "", b"a");
        add(&format!("{top}same"), ::tar::EntryType::Link, &format!("{top}a"), b"");
        add(&format!("{top}away"), ::tar::EntryType::Symlink, "/nowhere", b"");
        if let Some((path, kind)) = bad {
            add(path, kind, "x", b"");
        }
        archive.resize(archive.len() + 1024, 0);
        archive
    };
    for top in ["out/", "/"] {
        let found = unpack_outputs(&store, archive(top, None).as_slice(), u64::MAX).unwrap();
        let paths: Vec<_> = found.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["a", "away", "same"], "{top}");
        assert_eq!(found.get("a"), found.get("same"));
    }
    // A file is refused by what is said of its size: none of it is there to be read.
    let mut huge = ::tar::Header::new_gnu();
    huge.as_old_mut().name[..8].copy_from_slice(b"out/huge");
    huge.set_entry_type(::tar::EntryType::Regular);
    huge.set_mode(0o644);
    huge.set_size(8 << 40);
    huge.set_cksum();
    let archive_of_huge = [archive("out/", None)[..2048].to_vec(), huge.as_bytes().to_vec()].concat();
    let error = format!("{:#}", unpack_outputs(&store, archive_of_huge.as_slice(), 1 << 30).unwrap_err());
    assert!(
        error.contains("too large to keep: `out/huge` has 8796093 MB, and there is room for 1073 MB more"),
        "{error}"
    );
    for (path, kind) in [
        ("out/../../x", ::tar::EntryType::Regular),
        ("out/away/x", ::tar::EntryType::Regular),
        ("out/pipe", ::tar::EntryType::Fifo),
        ("out/a/x", ::tar::EntryType::Directory),
    ] {
        assert!(
            unpack_outputs(&store, archive("out/", Some((path, kind))).as_slice(), u64::MAX).is_err(),
            "{path}"
        );
    }
}

//! Archives that programs read differently, that grow without end, or that lead out.

use super::*;

fn refused(archive: &[u8], format: Format, expected: &str) {
    let error = format!("{:#}", unpacked(archive, format, &Part::default()).unwrap_err());
    assert!(error.contains(expected), "{expected} is not in: {error}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(bytes).unwrap();
    xz.finish().unwrap()
}

/// A record of some kind before a file, as GNU and pax have them.
fn with_record(kind: EntryType, record: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_path("record").unwrap();
    header.set_entry_type(kind);
    header.set_size(record.len() as u64);
    header.set_cksum();
    builder.append(&header, record).unwrap();
    let mut header = Header::new_gnu();
    header.set_path("short").unwrap();
    header.set_mode(0o644);
    header.set_size(4);
    header.set_cksum();
    builder.append(&header, b"text".as_slice()).unwrap();
    builder.into_inner().unwrap()
}

fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}").into_bytes()
}

#[test]
fn names_of_records_are_read_within_bounds() {
    let long = format!("deep/{}", "n".repeat(300));
    let expected = [format!("{long}=text")];
    let named = with_record(EntryType::GNULongName, format!("{long}\0").as_bytes());
    assert_eq!(unpacked(&named, Format::Tar, &Part::default()).unwrap(), expected);
    let named = with_record(EntryType::XHeader, &[pax("mtime", "1.5"), pax("path", &long)].concat());
    assert_eq!(unpacked(&named, Format::Tar, &Part::default()).unwrap(), expected);
    let comment = with_record(EntryType::XGlobalHeader, &pax("comment", "0123abcd"));
    assert_eq!(unpacked(&comment, Format::Tar, &Part::default()).unwrap(), ["short=text"]);

    let huge = vec![b'n'; 4 << 20];
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader]
    {
        refused(&gzip(&with_record(kind, &huge)), Format::Tar, "more than the 1048576 that make sense");
    }
    refused(&with_record(EntryType::GNULongName, &huge[..5000]), Format::Tar, "a path of 5000 bytes");
}

#[test]
fn records_that_programs_read_differently_are_refused() {
    for (record, expected) in [
        (pax("GNU.sparse.name", "evil"), "a sparse file"),
        (pax("size", "3"), "says two sizes"),
        ([pax("path", "a"), pax("path", "b")].concat(), "describes a member twice"),
        (b"9 path=a\n0".to_vec(), "malformed pax record"),
        (b"99 path=a\n".to_vec(), "malformed pax record"),
    ] {
        refused(&with_record(EntryType::XHeader, &record), Format::Tar, expected);
    }
    refused(
        &with_record(EntryType::XGlobalHeader, &pax("path", "evil")),
        Format::Tar,
        "all of its members at once",
    );
    let mut alone = with_record(EntryType::GNULongName, b"name\0");
    alone.drain(1024..2048);
    refused(&alone, Format::Tar, "a member that it does not have");
}

#[test]
fn streams_are_read_to_their_end() {
    let tar = tar_of(&[("a", EntryType::Regular, "text")]);
    for mut archive in [gzip(&tar), xz(&tar)] {
        // The checksum of the stream, behind everything that tar reads.
        let at = archive.len() - if archive[0] == 0x1f { 6 } else { 30 };
        archive[at] ^= 1;
        refused(&archive, Format::Tar, "damaged");
        refused(&archive[..archive.len() - 3], Format::Tar, "damaged");
    }
    refused(&tar[..1024], Format::Tar, "lacks the mark of its end");
    refused(&tar[..tar.len() - 20], Format::Tar, "lacks the mark of its end");
    let hidden = [tar.clone(), tar_of(&[("b", EntryType::Regular, "hidden")])].concat();
    refused(&hidden, Format::Tar, "behind the end");
    refused(&[gzip(&tar), gzip(b"hidden")].concat(), Format::Tar, "behind the end");
}

#[test]
fn what_is_read_is_bounded_whatever_it_is() {
    // Names alone: 3,000 records of a megabyte would be 3 GB.
    let mut stream = decompress(std::io::Cursor::new(gzip(&vec![0; 1 << 20])), 1000).unwrap();
    let error = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_err().to_string();
    assert!(error.contains("looks like a bomb"), "{error}");
}

#[test]
fn a_package_is_what_deb_5_describes() {
    let tar = tar_of(&[("a", EntryType::Regular, "text")]);
    let deb = deb_of(&tar);
    assert!(unpacked(&deb, Format::Deb, &Part::default()).is_ok());
    refused(&[deb.as_slice(), b"hidden"].concat(), Format::Deb, "behind the last member");
    let renamed = |from: &[u8], to: &[u8]| {
        let at = deb.windows(from.len()).position(|window| window == from).unwrap();
        [&deb[..at], to, &deb[at + from.len()..]].concat()
    };
    refused(&renamed(b"data.tar    ", b"data.tarEVIL"), Format::Deb, "where `data.tar` belongs");
    refused(&renamed(b"control.tar   ", b"control.tarX  "), Format::Deb, "where `control.tar` belongs");
    refused(&renamed(b"4         `", b"+4        `"), Format::Deb, "bad size");
    let size = format!("{:<10}`", tar.len());
    let smaller = format!("{:<10}`", tar.len() - 512);
    refused(&renamed(size.as_bytes(), smaller.as_bytes()), Format::Deb, "behind the last member");
    let larger = format!("{:<10}`", tar.len() + 512);
    refused(&renamed(size.as_bytes(), larger.as_bytes()), Format::Deb, "truncated");
}

#[test]
fn links_do_not_leave_by_way_of_another_link() {
    use EntryType::{Regular, Symlink};
    for entries in [
        vec![("a/up", Symlink, ".."), ("x", Symlink, "a/up/../../etc/passwd")],
        vec![("a/b/up", Symlink, "../.."), ("a/b/x", Symlink, "up/../etc/passwd")],
        vec![("d/self", Symlink, "."), ("d/e/x", Symlink, "../self/self/../../etc")],
    ] {
        refused(&tar_of(&entries), Format::Tar, "leaves the archive");
    }
    // Through others, but within; in circles; to nothing.
    let fine = tar_of(&[
        ("lib/a", Regular, "x"),
        ("lib64", Symlink, "lib"),
        ("bin/a", Symlink, "../lib64/../lib/a"),
        ("one", Symlink, "two"),
        ("two", Symlink, "one"),
        ("nothing", Symlink, "not/there"),
    ]);
    assert!(unpacked(&fine, Format::Tar, &Part::default()).is_ok());
}

/// Replaces bytes that are there once.
fn changed(archive: &[u8], from: &[u8], to: &[u8], which: usize) -> Vec<u8> {
    let places: Vec<usize> = archive
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from)
        .map(|(at, _)| at)
        .collect();
    let mut archive = archive.to_vec();
    archive[places[which]..places[which] + to.len()].copy_from_slice(to);
    archive
}

#[test]
fn zips_say_one_thing() {
    let good = zip_of(&[("shown", "text"), ("other", "more")]);
    assert!(unpacked(&good, Format::Zip, &Part::default()).is_ok());
    // The first is the header before the member, the second the directory's entry.
    refused(&changed(&good, b"shown", b"hidde", 0), Format::Zip, "says two things of `shown`");
    refused(&changed(&good, b"other", b"shown", 1), Format::Zip, "two members of one name");
    let local = good.windows(4).position(|window| window == b"PK\x03\x04").unwrap();
    for (offset, what) in [(8, "method"), (14, "checksum"), (18, "size"), (6, "flags")] {
        let mut archive = good.clone();
        archive[local + offset] ^= 1;
        let error = unpacked(&archive, Format::Zip, &Part::default());
        assert!(error.is_err(), "another {what} before the member is accepted");
    }
    refused(&[b"before", good.as_slice()].concat(), Format::Zip, "");
    refused(&[good.as_slice(), b"behind"].concat(), Format::Zip, "");
    let mut streamed = ::zip::ZipWriter::new_stream(Vec::new());
    streamed.start_file("a", ::zip::write::SimpleFileOptions::default()).unwrap();
    streamed.write_all(b"text").unwrap();
    let streamed = streamed.finish().unwrap().into_inner();
    assert_eq!(unpacked(&streamed, Format::Zip, &Part::default()).unwrap(), ["a=text"]);
}

#[test]
fn a_member_that_the_directory_hides_is_found() {
    let mut bytes = zip_of(&[("shown", "text"), ("other", "more")]);
    // The directory's second entry goes, the member stays: 46 bytes, name and extra field, counted and sized anew.
    let places: Vec<usize> = bytes
        .windows(4)
        .enumerate()
        .filter(|(_, window)| *window == b"PK\x01\x02")
        .map(|(at, _)| at)
        .collect();
    let length = places[1] - places[0];
    bytes.drain(places[1]..places[1] + length);
    let end = bytes.len() - 22;
    (bytes[end + 8], bytes[end + 10]) = (1, 1);
    bytes[end + 12..end + 16].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    refused(&bytes, Format::Zip, "belong to no member");
}

#[test]
fn a_long_link_text_is_refused_and_not_cut() {
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.add_symlink("link", "x/".repeat(3000), ::zip::write::SimpleFileOptions::default()).unwrap();
    refused(&writer.finish().unwrap().into_inner(), Format::Zip, "too long");
}

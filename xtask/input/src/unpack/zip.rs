//! zip archives.
//!
//! A zip archive says everything twice: in its central directory, and before each member. Some programs read the one, some the
//! other, so both have to say the same, and every byte has to belong to one of them.

use super::{Unpacker, tar::LONGEST_PATH};
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Seek, SeekFrom};
use zip::ZipArchive;

/// Length of a member's header without its name and extra field.
const LOCAL: usize = 30;
/// Length of the record at the end, without its comment.
const END: u64 = 22;
/// A member's sizes and checksum stand behind it.
const DESCRIPTOR: u16 = 1 << 3;
/// Sizes stand in the extra field.
const ZIP64: u32 = u32::MAX;

/// What the central directory says of a member, and where it is.
struct Member {
    name: Vec<u8>,
    method: u16,
    crc32: u32,
    size: u64,
    compressed: u64,
    start: u64,
    data: u64,
}

/// Reads all entries.
pub fn read(file: impl Read + Seek, unpacker: &mut Unpacker) -> Result<()> {
    let mut archive = ZipArchive::new(file).context("this is not a zip archive")?;
    ensure!(!archive.has_duplicate_names(), "the archive has two members of one name");
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).context("the zip archive is damaged")?;
        let name = entry.name_raw().to_vec();
        ensure!(name.len() < LONGEST_PATH, "the archive has a path of {} bytes", name.len());
        let path = String::from_utf8(name.clone()).context("the archive has a path that is not UTF-8")?;
        ensure!(!path.contains('\\'), "the archive has a path with a backslash: `{}`", path.escape_debug());
        members.push(Member {
            name,
            method: method(entry.compression())?,
            crc32: entry.crc32(),
            size: entry.size(),
            compressed: entry.compressed_size(),
            start: entry.header_start(),
            data: entry.data_start().context("the zip archive is damaged")?,
        });
        let mode = entry.unix_mode().unwrap_or(0o644);
        if entry.is_dir() {
            ensure!(entry.size() == 0, "the directory `{}` has content", path.escape_debug());
            unpacker.directory(&path)?;
        } else if entry.is_symlink() {
            let mut target = Vec::new();
            entry
                .by_ref()
                .take(LONGEST_PATH as u64)
                .read_to_end(&mut target)
                .context("the zip archive is damaged")?;
            ensure!(
                target.len() < LONGEST_PATH,
                "the text of the link `{}` is too long",
                path.escape_debug()
            );
            let target = String::from_utf8(target).context("a link is not text")?;
            unpacker.symlink(&path, &target)?;
        } else {
            unpacker.file(&path, mode & 0o100 != 0, &mut entry)?;
        }
    }
    let (offset, directory, comment) =
        (archive.offset(), archive.central_directory_start(), archive.comment().len() as u64);
    ensure!(offset == 0, "something stands before the archive");
    let mut file = archive.into_inner();
    check_members(&mut file, &mut members, directory)?;
    check_end(&mut file, comment)
}

/// The number of a compression method in the headers. Errors: nothing that is unpacked here.
fn method(method: zip::CompressionMethod) -> Result<u16> {
    match method {
        zip::CompressionMethod::Stored => Ok(0),
        zip::CompressionMethod::Deflated => Ok(8),
        other => bail!("the archive is compressed by {other}, and only `deflate` is read"),
    }
}

/// The header before each member says what the directory says, and members stand one behind the other up to the directory.
fn check_members(file: &mut (impl Read + Seek), members: &mut [Member], directory: u64) -> Result<()> {
    members.sort_by_key(|member| member.start);
    let mut end = 0;
    for member in members {
        let shown = member.name.escape_ascii();
        ensure!(member.start == end, "the archive has bytes before `{shown}` that belong to no member");
        let mut header = [0; LOCAL];
        file.seek(SeekFrom::Start(member.start))?;
        file.read_exact(&mut header).context("the zip archive is truncated")?;
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let mut name = vec![0; usize::from(short(26))];
        file.read_exact(&mut name).context("the zip archive is truncated")?;
        let flags = short(6);
        let has_descriptor = flags & DESCRIPTOR != 0;
        let agrees = |said: u32, value: u64| said == ZIP64 || u64::from(said) == value;
        let sizes_agree = has_descriptor
            || (long(14) == member.crc32
                && agrees(long(18), member.compressed)
                && agrees(long(22), member.size));
        ensure!(
            long(0) == u32::from_le_bytes(*b"PK\x03\x04")
                && name == member.name
                && short(8) == member.method
                && flags & 1 == 0
                && sizes_agree,
            "the archive says two things of `{shown}`"
        );
        end = member.data + member.compressed;
        if has_descriptor {
            end += descriptor(file, end, member)
                .with_context(|| format!("the archive is damaged at `{shown}`"))?;
        }
    }
    ensure!(end == directory, "the archive has bytes that belong to no member");
    Ok(())
}

/// Length of the record behind a member: checksum and sizes, of 4 or 8 bytes, with or without a signature.
fn descriptor(file: &mut (impl Read + Seek), at: u64, member: &Member) -> Result<u64> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(24).read_to_end(&mut bytes)?;
    let crc32 = member.crc32.to_le_bytes();
    let narrow =
        [member.compressed, member.size].map(|size| u32::try_from(size).unwrap_or(ZIP64).to_le_bytes());
    let wide = [member.compressed, member.size].map(u64::to_le_bytes);
    let forms = [[crc32.to_vec(), narrow.concat()].concat(), [crc32.to_vec(), wide.concat()].concat()];
    for form in forms.iter().rev() {
        for form in [[b"PK\x07\x08".as_slice(), form].concat(), form.clone()] {
            if bytes.starts_with(&form) {
                return Ok(form.len() as u64);
            }
        }
    }
    bail!("what stands behind the member is not its size and checksum")
}

/// The archive ends with its last record.
fn check_end(file: &mut (impl Read + Seek), comment: u64) -> Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let start = length.checked_sub(END + comment).context("the zip archive is truncated")?;
    let mut record = [0; END as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut record)?;
    let said = u64::from(u16::from_le_bytes([record[20], record[21]]));
    ensure!(
        record.starts_with(b"PK\x05\x06") && said == comment,
        "something stands behind the end of the archive"
    );
    Ok(())
}

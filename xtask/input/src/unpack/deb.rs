//! Debian binary packages (deb(5)): an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*`.
//!
//! Maintainer scripts, in the control member, are never looked at.

use super::{Unpacker, decompress, tar};
use anyhow::{Context, Result, ensure};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

const MAGIC: &[u8] = b"!<arch>\n";
/// Length of a member's header: name 16, time 12, owner 6, group 6, mode 8, size 10, end 2.
const HEADER: usize = 60;

/// Reads the data member. The package has to be what deb(5) describes, and nothing else: three members, in this order.
pub fn read(file: &mut File, unpacker: &mut Unpacker) -> Result<()> {
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).context("the package is truncated")?;
    ensure!(magic == MAGIC, "this is not a Debian package");
    let length = file.metadata()?.len();
    for expected in ["debian-binary", "control.tar", "data.tar"] {
        let (name, size) = header(file)?;
        let suffix = name.strip_prefix(expected).unwrap_or("another");
        let is_compressed = expected != "debian-binary" && [".gz", ".xz", ".zst"].contains(&suffix);
        ensure!(
            suffix.is_empty() || is_compressed,
            "the package has `{}` where `{expected}` belongs",
            name.escape_debug()
        );
        let start = file.stream_position()?;
        // Members start at even offsets; the last one may lack the byte that makes it so.
        let end = start.checked_add(size).context("the package's `ar` header has a bad size")?;
        ensure!(end <= length, "the package is truncated");
        if expected == "debian-binary" {
            let mut version = String::new();
            file.by_ref().take(size.min(16)).read_to_string(&mut version)?;
            ensure!(version.starts_with("2."), "the package has format {}, not 2", version.trim());
        }
        if expected == "data.tar" {
            ensure!(length <= end + end % 2, "something stands behind the last member of the package");
            let member = Member { file, start, position: 0, size };
            let stream = decompress(member, unpacker.left)?;
            return tar::read(stream, unpacker);
        }
        file.seek(SeekFrom::Start(end + end % 2))?;
    }
    Ok(())
}

fn header(file: &mut File) -> Result<(String, u64)> {
    let mut header = [0; HEADER];
    file.read_exact(&mut header).context("the package is truncated")?;
    ensure!(&header[58..] == b"`\n", "the package's `ar` header is damaged");
    let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim_end().to_owned();
    let size = text(48..58);
    // `parse` takes a sign as well.
    ensure!(size.bytes().all(|byte| byte.is_ascii_digit()), "the package's `ar` header has a bad size");
    let size = size.parse().context("the package's `ar` header has a bad size")?;
    Ok((text(0..16).trim_end_matches('/').to_owned(), size))
}

/// A part of a file, as a file.
struct Member<'a> {
    file: &'a mut File,
    start: u64,
    position: u64,
    size: u64,
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.by_ref().take(self.size - self.position).read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Member<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let SeekFrom::Start(position) = to else { return Err(std::io::ErrorKind::Unsupported.into()) };
        self.position = position.min(self.size);
        self.file.seek(SeekFrom::Start(self.start + self.position))?;
        Ok(self.position)
    }
}

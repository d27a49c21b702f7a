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

/// Reads the data member.
pub fn read(file: &mut File, unpacker: &mut Unpacker) -> Result<()> {
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).context("the package is truncated")?;
    ensure!(magic == MAGIC, "this is no Debian package");
    for expected in ["debian-binary", "control.tar", "data.tar"] {
        let (name, size) = header(file)?;
        ensure!(name.starts_with(expected), "the package has `{name}` where `{expected}` belongs");
        let start = file.stream_position()?;
        if expected == "debian-binary" {
            let mut version = String::new();
            file.by_ref().take(size.min(16)).read_to_string(&mut version)?;
            ensure!(version.starts_with("2."), "the package has format {}, not 2", version.trim());
        }
        if expected == "data.tar" {
            let member = Member { file, start, position: 0, size };
            return tar::read(decompress(member)?, unpacker);
        }
        // Members start at even offsets.
        file.seek(SeekFrom::Start(start + size + size % 2))?;
    }
    Ok(())
}

fn header(file: &mut File) -> Result<(String, u64)> {
    let mut header = [0; HEADER];
    file.read_exact(&mut header).context("the package is truncated")?;
    ensure!(&header[58..] == b"`\n", "the package's `ar` header is damaged");
    let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim_end().to_owned();
    let size = text(48..58).parse().context("the package's `ar` header has a bad size")?;
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

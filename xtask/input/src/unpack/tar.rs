//! tar archives (POSIX.1-2001 pax, GNU and ustar).
//!
//! Members are read one by one, records that describe the next member among them, so that each of these is held against its
//! bound before it is read, and what programs take differently is refused.

use super::{Links, Unpacker};
use anyhow::{Context, Result, bail, ensure};
use std::io::Read;
use tar::{Archive, Entry, EntryType};

/// The largest record that describes a member, in bytes: names, times and attributes.
const LARGEST_RECORD: u64 = 1 << 20;

/// The longest path and link text, in bytes (Linux' PATH_MAX).
pub const LONGEST_PATH: usize = 4096;

const BLOCK: u64 = 512;

/// What records say of the member behind them.
#[derive(Default)]
struct Described {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    /// A record was read.
    any: bool,
}

/// Reads all entries, and the stream to its end.
pub fn read(reader: impl Read, unpacker: &mut Unpacker) -> Result<()> {
    let mut archive = Archive::new(reader);
    let mut described = Described::default();
    // Where the next member would begin.
    let mut next = 0;
    for entry in archive.entries().context("this is not a tar archive")?.raw(true) {
        let mut entry = entry.context("the tar archive is damaged")?;
        let kind = entry.header().entry_type();
        let size = entry.size();
        next = (entry.raw_file_position() + size).next_multiple_of(BLOCK);
        match kind {
            EntryType::GNULongName => set(&mut described.path, name(&mut entry)?)?,
            EntryType::GNULongLink => set(&mut described.link, name(&mut entry)?)?,
            EntryType::XHeader => described.read(&record(&mut entry)?)?,
            EntryType::XGlobalHeader => {
                let mut global = Described::default();
                global.read(&record(&mut entry)?)?;
                let says_more = global.path.is_some() || global.link.is_some() || global.size.is_some();
                ensure!(!says_more, "the archive names or sizes all of its members at once");
            }
            _ => {
                let described = std::mem::take(&mut described);
                member(entry, described, unpacker)?;
                continue;
            }
        }
        described.any = kind != EntryType::XGlobalHeader || described.any;
        unpacker.count()?;
    }
    ensure!(!described.any, "the archive ends behind a record of a member that it does not have");
    end(archive.into_inner(), next)
}

/// What stands behind the last member: two blocks of zeros, and nothing but zeros. Reading on to the end of the stream checks the
/// sums of whatever it is compressed by.
fn end(mut rest: impl Read, next: u64) -> Result<()> {
    // The first block, if it was there, was read to see that no member follows.
    let mut buffer = vec![0; 64 * 1024];
    let mut length = 0;
    loop {
        let count = rest.read(&mut buffer).context("the archive is damaged behind its last member")?;
        if count == 0 {
            break;
        }
        ensure!(
            buffer[..count].iter().all(|byte| *byte == 0),
            "something stands behind the end of the archive"
        );
        length += count as u64;
    }
    ensure!(
        next == 0 || (length >= BLOCK && length.is_multiple_of(BLOCK)),
        "the archive is truncated: it lacks the mark of its end"
    );
    Ok(())
}

fn member(mut entry: Entry<impl Read>, described: Described, unpacker: &mut Unpacker) -> Result<()> {
    let path = described.path.unwrap_or_else(|| entry.path_bytes().into_owned());
    // What a build leaves may be deeper than any path that a program can open at once.
    let longest = if unpacker.links == Links::Anywhere { usize::MAX } else { LONGEST_PATH };
    let path = text(path, longest)?;
    let shown = path.escape_debug();
    let size = entry.size();
    unpacker.announce(&path, size.max(described.size.unwrap_or(0)))?;
    ensure!(described.size.is_none_or(|said| said == size), "the archive says two sizes of `{shown}`");
    let link = described.link.or_else(|| entry.link_name_bytes().map(|link| link.into_owned()));
    let link = text(link.unwrap_or_default(), longest)?;
    let kind = entry.header().entry_type();
    match kind {
        EntryType::Regular | EntryType::Continuous => {
            let executable = entry.header().mode().context("an entry has no mode")? & 0o100 != 0;
            let mut counted = Counted { inner: &mut entry, count: 0 };
            unpacker.file(&path, executable, &mut counted)?;
            // The archive ends inside a file: the reader just gives less.
            ensure!(counted.count == size, "the archive ends within `{shown}`");
            return Ok(());
        }
        EntryType::Directory | EntryType::Symlink | EntryType::Link => {}
        other => bail!("`{shown}` is neither file, directory nor link ({other:?})"),
    }
    // Some programs would take these bytes for the next member.
    ensure!(size == 0, "`{shown}` is not a file, and has content");
    match kind {
        EntryType::Directory => unpacker.directory(&path),
        EntryType::Symlink => unpacker.symlink(&path, &link),
        _ => unpacker.hard_link(&path, &link),
    }
}

/// The content of a record, within its bound.
fn record(entry: &mut Entry<impl Read>) -> Result<Vec<u8>> {
    let size = entry.size();
    ensure!(
        size <= LARGEST_RECORD,
        "the archive describes a member in {size} bytes, more than the {LARGEST_RECORD} that make sense"
    );
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).context("the tar archive is damaged")?;
    ensure!(bytes.len() as u64 == size, "the archive ends within a record");
    Ok(bytes)
}

/// The content of a GNU record, which a NUL ends.
fn name(entry: &mut Entry<impl Read>) -> Result<Vec<u8>> {
    let mut bytes = record(entry)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn set(field: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<()> {
    ensure!(field.is_none(), "the archive describes a member twice");
    *field = Some(value);
    Ok(())
}

impl Described {
    /// pax records: `LENGTH KEY=VALUE` and a newline, where the length counts all of it.
    fn read(&mut self, mut rest: &[u8]) -> Result<()> {
        while !rest.is_empty() {
            let malformed = "the archive has a malformed pax record";
            let space = rest.iter().take(20).position(|byte| *byte == b' ').context(malformed)?;
            let length: usize = std::str::from_utf8(&rest[..space])?.parse().context(malformed)?;
            ensure!(length > space + 1 && length <= rest.len() && rest[length - 1] == b'\n', malformed);
            let pair = &rest[space + 1..length - 1];
            rest = &rest[length..];
            let equals = pair.iter().position(|byte| *byte == b'=').context(malformed)?;
            let (key, value) = (&pair[..equals], &pair[equals + 1..]);
            match key {
                b"path" => set(&mut self.path, value.to_vec())?,
                b"linkpath" => set(&mut self.link, value.to_vec())?,
                b"size" => {
                    ensure!(self.size.is_none(), "the archive says the size of a member twice");
                    self.size =
                        Some(std::str::from_utf8(value)?.parse().context("a pax record has a bad size")?);
                }
                // Programs that know these see other names and contents than those that do not.
                _ if key.starts_with(b"GNU.sparse") => bail!("the archive has a sparse file"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn text(bytes: Vec<u8>, longest: usize) -> Result<String> {
    ensure!(bytes.len() < longest, "the archive has a path of {} bytes", bytes.len());
    String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!("the archive has a path that is not UTF-8: `{}`", error.as_bytes().escape_ascii())
    })
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

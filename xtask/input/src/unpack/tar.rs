//! tar archives (POSIX.1-2001 pax, GNU and ustar).

use super::Unpacker;
use anyhow::{Context, Result, bail};
use std::io::Read;
use tar::{Archive, EntryType};

/// Reads all entries.
pub fn read(reader: impl Read, unpacker: &mut Unpacker) -> Result<()> {
    let mut archive = Archive::new(reader);
    for entry in archive.entries().context("this is no tar archive")? {
        let mut entry = entry.context("the tar archive is damaged")?;
        let text = |bytes: &[u8]| {
            std::str::from_utf8(bytes).map(str::to_owned).with_context(|| {
                format!("the archive has a path that is not UTF-8: `{}`", String::from_utf8_lossy(bytes))
            })
        };
        let path = text(&entry.path_bytes())?;
        let link = entry.link_name_bytes().map(|link| text(&link)).transpose()?.unwrap_or_default();
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode().context("an entry has no mode")? & 0o100 != 0;
                let size = entry.size();
                let mut counted = Counted { inner: &mut entry, count: 0 };
                unpacker.file(&path, executable, &mut counted)?;
                // The archive ends inside a file: the reader just gives less.
                if counted.count != size {
                    bail!("the archive ends within `{}`", path.escape_debug());
                }
            }
            EntryType::Directory => unpacker.directory(&path)?,
            EntryType::Symlink => unpacker.symlink(&path, &link)?,
            EntryType::Link => unpacker.hard_link(&path, &link)?,
            EntryType::XGlobalHeader => {}
            other => bail!("`{}` is neither file, directory nor link ({other:?})", path.escape_debug()),
        }
    }
    Ok(())
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

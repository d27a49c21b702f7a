//! zip archives.

use super::Unpacker;
use anyhow::{Context, Result, ensure};
use std::{fs::File, io::Read};
use zip::ZipArchive;

/// The longest link text that is read (Linux' PATH_MAX).
const LONGEST_LINK: u64 = 4096;

/// Reads all entries.
pub fn read(file: File, unpacker: &mut Unpacker) -> Result<()> {
    let mut archive = ZipArchive::new(file).context("this is no zip archive")?;
    let mut names = std::collections::HashSet::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).context("the zip archive is damaged")?;
        let path = std::str::from_utf8(entry.name_raw())
            .context("the archive has a path that is not UTF-8")?
            .to_owned();
        ensure!(!path.contains('\\'), "the archive has a path with a backslash: `{}`", path.escape_debug());
        ensure!(names.insert(path.clone()), "the archive has `{}` twice", path.escape_debug());
        let mode = entry.unix_mode().unwrap_or(0o644);
        if entry.is_dir() {
            unpacker.directory(&path)?;
        } else if entry.is_symlink() {
            let mut target = String::new();
            entry.by_ref().take(LONGEST_LINK).read_to_string(&mut target).context("a link is no text")?;
            unpacker.symlink(&path, &target)?;
        } else {
            unpacker.file(&path, mode & 0o100 != 0, &mut entry)?;
        }
    }
    Ok(())
}

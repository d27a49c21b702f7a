//! `cas/` and `ac/`: two levels, `ab/HEX`, and what else may have come there.

use crate::{Digest, damage::Id};
use anyhow::{Context, Result};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// A regular file whose name is a SHA-256.
pub(crate) struct Shelved {
    pub path: PathBuf,
    pub id: Id,
}

/// What stands on the shelves of a directory, in order.
#[derive(Default)]
pub(crate) struct Shelves {
    pub files: Vec<Shelved>,
    /// What does not belong there: links, directories, pipes, files of another name. None of them is opened.
    pub foreign: Vec<PathBuf>,
}

/// Looks through a directory with two levels. Nothing deeper is looked at.
pub(crate) fn shelves(directory: &Path) -> Result<Shelves> {
    let mut found = Shelves::default();
    for (shelf, is_directory) in entries(directory)? {
        let prefix = shelf.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !is_directory || prefix.len() != 2 || !prefix.bytes().all(is_hex) {
            found.foreign.push(shelf);
            continue;
        }
        for (path, _) in entries(&shelf)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_file = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
            match Digest::from_hex(name, 0) {
                Ok(digest) if is_file && name.starts_with(prefix) => {
                    found.files.push(Shelved { id: digest.sha256, path });
                }
                // Another process was faster.
                _ if !is_file && is_missing(&path) => {}
                _ => found.foreign.push(path),
            }
        }
    }
    Ok(found)
}

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// What stands in a directory, in order, and whether it is a directory; nothing where there is none, or something else.
pub(crate) fn entries(directory: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let context = || format!("cannot list {}", directory.display());
    match std::fs::symlink_metadata(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Ok(metadata) if !metadata.is_dir() => return Ok(Vec::new()),
        metadata => metadata.with_context(context)?,
    };
    let mut found = std::fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir()))))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .with_context(context)?;
    found.sort();
    Ok(found)
}

//! Files of strangers, opened without being waited for.

use anyhow::{Context, Result, ensure};
use std::{
    fs::{File, OpenOptions},
    path::Path,
};

/// Opens a regular file for reading. Links are followed.
///
/// # Errors
/// If there is none, or it is something that has no end or blocks its reader: a pipe, a device, a directory.
pub fn open_regular(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // A pipe without a writer is opened at once instead of being waited for; of files, it changes nothing.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let data = file.metadata().with_context(|| format!("cannot open {}", path.display()))?;
    ensure!(data.is_file(), "{} is not a regular file", path.display());
    Ok(file)
}

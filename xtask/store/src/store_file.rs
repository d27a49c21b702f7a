//! Files of the store are regular files under their own name: no link is followed, and no pipe or device is waited for.

use crate::hinted;
use anyhow::{Context, Result, ensure};
use rustix::{fs::OFlags, io::Errno};
use std::{
    fmt,
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The most that a small file of the store (a result, a root, a note) may hold, in bytes.
const LARGEST_NOTE: u64 = 64 << 20;

/// Opened without following a link, and without waiting for whoever else has a pipe open.
const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A directory, link, pipe, socket or device stands where the store has a regular file.
#[derive(Debug)]
struct NotRegular;

impl fmt::Display for NotRegular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not a regular file")
    }
}

impl std::error::Error for NotRegular {}

/// Whether something else than a regular file was found, rather than that the file could not be opened.
pub(crate) fn is_not_regular(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotRegular>())
}

/// Opens a file of the store for reading.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    open_as(OpenOptions::new().read(true), path)
}

/// Opens a file of somebody else for reading, also by way of a link.
pub(crate) fn open_any(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    regular(OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?)
}

/// Opens a file of the store that is created where there is none: a lock, a list that grows (`append`), a download.
///
/// # Errors
/// If something else than a regular file stands there, a link to one included: nothing is followed or waited for.
pub fn open_or_create(path: &Path, append: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).create(true).truncate(false);
    match append {
        true => options.append(true),
        false => options.write(true),
    };
    open_as(&mut options, path).map(|(file, _)| file)
}

fn open_as(options: &mut OpenOptions, path: &Path) -> io::Result<(File, Metadata)> {
    match options.custom_flags(FLAGS.bits() as i32).open(path) {
        // What is said of links (LOOP), of pipes and sockets (NXIO) and of directories (ISDIR).
        Err(error)
            if [Errno::LOOP, Errno::NXIO, Errno::ISDIR]
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) =>
        {
            Err(not_regular())
        }
        opened => regular(opened?),
    }
}

fn regular(file: File) -> io::Result<(File, Metadata)> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(not_regular());
    }
    Ok((file, metadata))
}

fn not_regular() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, NotRegular)
}

/// The content of a small file of the store.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (file, metadata) = open(path)?;
    let too_large = || io::Error::new(ErrorKind::InvalidData, "it is too large for what it should be");
    if metadata.len() > LARGEST_NOTE {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    file.take(LARGEST_NOTE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_NOTE {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Makes a directory of the store where there is none.
///
/// # Errors
/// If something else stands there, a link to a directory included.
pub fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    let metadata =
        std::fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    ensure!(
        metadata.is_dir(),
        hinted(
            format!("{} is not a directory", path.display()),
            "remove it; to keep the store on another disk, move all of it and pass `--store`"
        )
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        assert_eq!(read(&at("file")).unwrap(), b"text");
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["link", "zero", "directory", "pipe", "socket"] {
            assert!(is_not_regular(&read(&at(name)).unwrap_err()), "{name}");
            assert!(is_not_regular(&open_or_create(&at(name), false).unwrap_err()), "{name}");
        }
        assert_eq!(read(&at("none")).unwrap_err().kind(), ErrorKind::NotFound);
        let large = File::create(at("large")).unwrap();
        large.set_len(1 << 43).unwrap();
        assert!(read(&at("large")).unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn a_directory_of_the_store_is_no_link() {
        let directory = tempfile::tempdir().unwrap();
        make_directory(&directory.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", directory.path().join("link")).unwrap();
        let error = make_directory(&directory.path().join("link")).unwrap_err().to_string();
        assert!(error.contains("is not a directory"), "{error}");
    }
}

//! Removal of directories that a build made: however deep they are, and whatever modes they have.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::{CStr, CString},
    io::{self, ErrorKind},
    os::fd::AsRawFd,
    path::Path,
};

/// What a directory's owner needs to remove what is in it.
const FULL: u32 = 0o700;

/// Removes a file, a link, or a directory with all that is in it; nothing happens where there is nothing.
///
/// Neither this process' stack, nor its open files, nor the length of a path bound the depth: directories below others are
/// moved up before they are emptied. A directory whose mode keeps its owner out gets another mode first. What can't be
/// removed does not keep the rest; the error is the first.
///
/// # Errors
/// Something in it belongs to another user, or the file system is read-only.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_directory(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    let mut pile =
        Pile { top: enter(CWD, &name)?, prefix: "r".to_owned(), moved: 0, pending: Vec::new(), failed: None };
    let top = pile.top.try_clone()?;
    pile.empty(top.as_fd(), true)?;
    while pile.pending.iter().any(|name| name.to_bytes().starts_with(pile.prefix.as_bytes())) {
        pile.prefix.push('r');
    }
    while let Some(name) = pile.pending.pop() {
        let emptied = enter(pile.top.as_fd(), &name)
            .and_then(|directory| pile.empty(directory.as_fd(), false))
            .and_then(|()| Ok(rustix::fs::unlinkat(&pile.top, &name, AtFlags::REMOVEDIR)?));
        pile.note(emptied);
    }
    match pile.failed {
        Some(error) => Err(error),
        None => std::fs::remove_dir(path),
    }
}

/// A directory that is being removed, with those that were below it at any depth directly in it.
struct Pile {
    top: OwnedFd,
    /// Begins no name that was in `top` before.
    prefix: String,
    moved: u64,
    /// Directories in `top` that are still to be emptied.
    pending: Vec<CString>,
    failed: Option<io::Error>,
}

impl Pile {
    fn note(&mut self, result: io::Result<()>) {
        match result {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                self.failed.get_or_insert(error);
            }
            _ => {}
        }
    }

    /// Removes the files of a directory and moves its directories up, where those of `top` are already.
    fn empty(&mut self, directory: BorrowedFd, is_top: bool) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                entries.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        for (name, kind) in entries {
            let is_directory = match kind {
                FileType::Unknown => {
                    let status = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(status.st_mode) == FileType::Directory
                }
                kind => kind == FileType::Directory,
            };
            let result = match (is_directory, is_top) {
                (false, _) => rustix::fs::unlinkat(directory, &name, AtFlags::empty()).map_err(Into::into),
                (true, true) => {
                    self.pending.push(name);
                    Ok(())
                }
                (true, false) => self.move_up(directory, &name),
            };
            self.note(result);
        }
        Ok(())
    }

    fn move_up(&mut self, directory: BorrowedFd, name: &CStr) -> io::Result<()> {
        // To move a directory, it has to be writable itself: its `..` changes.
        drop(enter(directory, name)?);
        let moved = CString::new(format!("{}{}", self.prefix, self.moved))?;
        self.moved += 1;
        rustix::fs::renameat(directory, name, &self.top, &moved)?;
        self.pending.push(moved);
        Ok(())
    }
}

/// Opens a directory, and gives its owner the right to change it.
fn enter(parent: BorrowedFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => {
            let mode = rustix::fs::fstat(&directory)?.st_mode;
            if mode & FULL != FULL {
                rustix::fs::fchmod(&directory, Mode::from_raw_mode(FULL))?;
            }
            Ok(directory)
        }
        Err(Errno::ACCESS) => {
            // By way of a handle, so that nothing else than this very directory gets another mode.
            let handle = rustix::fs::openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
            let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
            rustix::fs::chmod(&path, Mode::from_raw_mode(FULL))?;
            Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
        }
        Err(error) => Err(error.into()),
    }
}

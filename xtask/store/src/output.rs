//! Files for the user, outside of the store: written beside their place, synced, and renamed.
//!
//! Whatever happens meanwhile (a kill, a full disk, an error), the place holds what was there before or the whole new
//! file. A rename gives the place a new inode, so that nothing is ever written through a link: neither into the file that
//! is being copied, nor into a blob of a store.
//!
//! What a killed process left beside a place is removed by whoever writes there next: a file is locked while it is being
//! written, so one that nobody has locked is nobody's.

use anyhow::{Context, Result, ensure};
use std::{
    fs::{File, Metadata, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tempfile::{NamedTempFile, TempPath};

/// What the name of a file begins with while it is being written.
const TEMPORARY: &str = ".mlc-repro-output-";

/// A file that is being written. Nothing is at its place before [`OutputFile::finish`].
pub struct OutputFile {
    path: PathBuf,
    inner: Inner,
}

enum Inner {
    /// A file beside the place.
    Beside(NamedTempFile),
    /// A device or pipe, such as `/dev/stdout`, which is written to as it is.
    Through(File),
}

impl OutputFile {
    /// Begins to write the file at `path`.
    ///
    /// # Errors
    /// If `path` is a directory, or its directory does not exist or cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let context = || format!("cannot write {}", path.display());
        let metadata = std::fs::metadata(path).ok();
        ensure!(!metadata.as_ref().is_some_and(Metadata::is_dir), "{} is a directory", path.display());
        let inner = if metadata.is_some_and(|metadata| is_special(&metadata)) {
            Inner::Through(OpenOptions::new().write(true).open(path).with_context(context)?)
        } else {
            remove_abandoned(parent(path)).with_context(context)?;
            Inner::Beside(locked_beside(path).with_context(context)?)
        };
        Ok(Self { path: path.to_owned(), inner })
    }

    /// The open file, for what writes to files only.
    pub fn as_file_mut(&mut self) -> &mut File {
        match &mut self.inner {
            Inner::Beside(file) => file.as_file_mut(),
            Inner::Through(file) => file,
        }
    }

    /// Syncs the file and gives it its name, in place of what was there.
    ///
    /// # Errors
    /// If the disk is full, or the file at the place cannot be replaced.
    pub fn finish(self) -> Result<()> {
        let context = || format!("cannot write {}", self.path.display());
        match self.inner {
            Inner::Beside(file) => {
                file.as_file().sync_all().with_context(context)?;
                // Locked until it has its name.
                let (_file, place) = file.into_parts();
                rename(place, &self.path).with_context(context)
            }
            Inner::Through(mut file) => file.flush().with_context(context),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.as_file_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.as_file_mut().flush()
    }
}

/// Removes what killed processes left of files that they wrote in a directory. Who looks at everything in a directory before
/// it writes there (to verify or to sign it) calls this first.
///
/// # Errors
/// If the directory can't be listed, or holds such a file that can't be removed.
pub fn remove_abandoned(directory: &Path) -> Result<()> {
    let listing = || format!("cannot list {}", directory.display());
    for entry in std::fs::read_dir(directory).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes());
        // Whoever writes it may finish at any moment.
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = OpenOptions::new().read(true).open(entry.path()) else { continue };
        let is_abandoned = file.try_lock().is_ok()
            && std::fs::symlink_metadata(entry.path())
                .is_ok_and(|there| file.metadata().is_ok_and(|locked| is_same(&there, &locked)));
        if is_abandoned {
            std::fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// A file beside a place, locked.
fn locked_beside(path: &Path) -> io::Result<NamedTempFile> {
    loop {
        // Temporary files are for their owner alone by default; outputs are as the user's mask says.
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(TEMPORARY).permissions(Permissions::from_mode(0o666));
        let file = builder.tempfile_in(parent(path))?;
        // Where files can't be locked, nobody else can lock them either, and so nothing is removed.
        let _ = file.as_file().lock();
        // Somebody may have taken it for an abandoned one before it was locked.
        if file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Writes a file, whole or not at all. A file that has this content already is left as it is.
///
/// # Errors
/// As [`OutputFile::create`] and [`OutputFile::finish`].
pub fn write_output(path: &Path, content: &[u8]) -> Result<()> {
    if has_content(path, content) {
        return Ok(());
    }
    let mut file = OutputFile::create(path)?;
    file.write_all(content).with_context(|| format!("cannot write {}", path.display()))?;
    file.finish()
}

/// Copies a file, whole or not at all; the copy shares nothing with the original but, where the file system can, its
/// blocks.
///
/// # Errors
/// If `from` cannot be read, is not a regular file, or is the file at `to`; else as [`OutputFile::finish`].
pub fn copy_output(from: &Path, to: &Path) -> Result<()> {
    let context = || format!("cannot copy {} to {}", from.display(), to.display());
    let mut source = File::open(from).with_context(context)?;
    let metadata = source.metadata().with_context(context)?;
    ensure!(metadata.is_file(), "{} is not a regular file", from.display());
    let is_same_name = from.file_name() == to.file_name() && is_same_file(parent(from), parent(to));
    let is_only_name =
        std::fs::symlink_metadata(to).is_ok_and(|there| is_same(&there, &metadata) && there.nlink() == 1);
    ensure!(!is_same_name && !is_only_name, "{} and {} are the same file", from.display(), to.display());
    let mut file = OutputFile::create(to)?;
    if rustix::fs::ioctl_ficlone(file.as_file_mut(), &source).is_err() {
        io::copy(&mut source, file.as_file_mut()).with_context(context)?;
    }
    file.finish()
}

/// Whether both paths lead to the same file or directory: by device and inode, so through links of either kind.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => is_same(&a, &b),
        _ => false,
    }
}

/// Syncs a directory: the names of the files in it are on the disk.
///
/// # Errors
/// If it cannot be opened, or the disk fails.
pub fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("cannot sync {}", directory.display()))
}

fn rename(file: TempPath, path: &Path) -> io::Result<()> {
    file.persist(path).map_err(|error| error.error)?;
    File::open(parent(path))?.sync_all()
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn is_special(metadata: &Metadata) -> bool {
    let kind = metadata.file_type();
    kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a regular file has exactly this content, and no other name by which it could be changed.
fn has_content(path: &Path, content: &[u8]) -> bool {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return false };
    if !metadata.is_file() || metadata.nlink() != 1 || metadata.len() != content.len() as u64 {
        return false;
    }
    let mut found = Vec::with_capacity(content.len() + 1);
    File::open(path)
        .and_then(|file| file.take(content.len() as u64 + 1).read_to_end(&mut found))
        .is_ok_and(|_| found == content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `File::create` and `fs::copy` empty the other name's content in each of these.
    #[test]
    fn nothing_is_written_through_a_link() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::write(path("original"), "content").unwrap();
        symlink(path("original"), path("symlink")).unwrap();
        fs::hard_link(path("original"), path("hard-link")).unwrap();
        for link in ["symlink", "hard-link"] {
            copy_output(&path("original"), &path(link)).unwrap();
            assert!(
                !fs::symlink_metadata(path(link)).unwrap().is_symlink()
                    && !is_same_file(&path("original"), &path(link))
            );
            assert_eq!(fs::read_to_string(path(link)).unwrap(), "content");
        }
        fs::remove_file(path("symlink")).unwrap();
        symlink("original", path("symlink")).unwrap();
        write_output(&path("symlink"), b"other").unwrap();
        assert_eq!(fs::read_to_string(path("original")).unwrap(), "content");
        assert_eq!(fs::read_to_string(path("symlink")).unwrap(), "other");
        let error = copy_output(&path("original"), &path("original")).unwrap_err().to_string();
        assert!(error.contains("are the same file"), "{error}");
        assert_eq!(fs::read_to_string(path("original")).unwrap(), "content");
        assert_eq!(names(place.path()), ["hard-link", "original", "symlink"]);
    }

    #[test]
    fn what_is_not_finished_leaves_what_was_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "before").unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        drop(file);
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), names(place.path())),
            ("before", vec!["file".to_owned()])
        );
        assert!(
            OutputFile::create(place.path()).is_err()
                && write_output(&place.path().join("no/file"), b"").is_err()
        );
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let left = format!("{TEMPORARY}left");
        fs::write(path(&left), "half").unwrap();
        // Neither a directory nor a link is what is left of a file.
        let (directory, link) = (format!("{TEMPORARY}directory"), format!("{TEMPORARY}link"));
        fs::create_dir(path(&directory)).unwrap();
        symlink("elsewhere", path(&link)).unwrap();
        let mut living = OutputFile::create(&path("first")).unwrap();
        living.write_all(b"whole").unwrap();
        write_output(&path("second"), b"second").unwrap();
        living.finish().unwrap();
        assert_eq!(fs::read_to_string(path("first")).unwrap(), "whole");
        assert_eq!(names(place.path()), [&directory, &link, "first", "second"]);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let place = place.path();
                scope.spawn(move || {
                    for number in 0..50 {
                        write_output(&place.join(format!("{thread}-{number}")), &[thread; 100]).unwrap();
                    }
                });
            }
        });
        assert_eq!(names(place.path()).len(), 400);
    }

    #[test]
    fn a_device_is_written_to_and_stays() {
        write_output(Path::new("/dev/null"), b"content").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn what_is_there_already_keeps_its_inode() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        write_output(&path, b"content").unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        write_output(&path, b"content").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        write_output(&path, b"CONTENT").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"CONTENT");
    }
}

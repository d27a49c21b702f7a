//! Trees and directories as tar archives (POSIX ustar with GNU's long names) whose bytes depend on their content alone.
//!
//! Inside, everything belongs to user and group 1000, as the sandbox shows it; modes are 0444, 0555 and 0755 (`/tmp`:
//! 1777, for whoever uses an exported image without a mount there); times are the store's.

use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};
use store::{BLOB_TIME, Entry, Store, Tree};
use tar::{Builder, EntryType, Header};

const BUILDER: u64 = 1000;

/// Writes a tree as a root file system.
pub(crate) fn write_root(store: &Store, tree: &Tree, out: impl Write) -> Result<()> {
    let mut builder = Builder::new(out);
    directory(&mut builder, "./")?;
    write_tree_entries(&mut builder, store, tree, "")?;
    builder.finish().context("cannot end a tar archive")
}

/// Writes a tree as a directory that is called `name` in the archive.
pub(crate) fn write_tree(store: &Store, tree: &Tree, name: &str, out: impl Write) -> Result<()> {
    let mut builder = Builder::new(out);
    directory(&mut builder, name)?;
    write_tree_entries(&mut builder, store, tree, &format!("{name}/"))?;
    builder.finish().context("cannot end a tar archive")
}

/// Parents stand before what is in them.
fn write_tree_entries(
    builder: &mut Builder<impl Write>,
    store: &Store,
    tree: &Tree,
    prefix: &str,
) -> Result<()> {
    let mut written = BTreeSet::new();
    for (path, entry) in tree.iter() {
        for (end, _) in path.match_indices('/') {
            if written.insert(&path[..end]) {
                directory(builder, &format!("{prefix}{}", &path[..end]))?;
            }
        }
        let full = format!("{prefix}{path}");
        match entry {
            Entry::Directory => {
                if written.insert(path) {
                    directory(builder, &full)?;
                }
            }
            Entry::Symlink { target } => link(builder, &full, Path::new(target))?,
            Entry::File { digest, executable } => {
                let blob = BufReader::with_capacity(1 << 17, store.open_blob(digest)?);
                file(builder, &full, digest.size, *executable, blob)?;
            }
        }
    }
    Ok(())
}

/// Writes a directory of the file system, sorted. Errors: what is neither file, directory nor link; a name that is not
/// UTF-8; a file that changes.
/// It is called `name` in the archive.
pub(crate) fn write_directory(root: &Path, name: &str, out: impl Write) -> Result<()> {
    let mut builder = Builder::new(out);
    directory(&mut builder, name)?;
    write_entries(&mut builder, root, name)?;
    builder.finish().context("cannot end a tar archive")
}

fn write_entries(builder: &mut Builder<impl Write>, place: &Path, prefix: &str) -> Result<()> {
    let context = || format!("cannot read {}", place.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(place).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("{} is not UTF-8", entry.path().display()))?;
        names.push((name.to_owned(), entry.file_type().with_context(context)?));
    }
    names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    for (name, kind) in names {
        let path = format!("{prefix}/{name}");
        let full = place.join(&name);
        if kind.is_dir() {
            directory(builder, &path)?;
            write_entries(builder, &full, &path)?;
        } else if kind.is_symlink() {
            let target =
                std::fs::read_link(&full).with_context(|| format!("cannot read {}", full.display()))?;
            link(builder, &path, &target)?;
        } else if kind.is_file() {
            let content = File::open(&full).with_context(|| format!("cannot open {}", full.display()))?;
            let metadata = content.metadata().with_context(context)?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            file(builder, &path, metadata.len(), executable, content)?;
        } else {
            bail!("{} is neither file, directory nor link", full.display());
        }
    }
    Ok(())
}

/// Writes a file of an archive that is not a root file system, such as a manifest.
pub(crate) fn write_text(builder: &mut Builder<impl Write>, path: &str, text: &str) -> Result<()> {
    begin_file(builder, path, text.len() as u64)?;
    let out = builder.get_mut();
    let padding = text.len().next_multiple_of(512) - text.len();
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(&[0; 512][..padding]))
        .with_context(|| format!("cannot archive `{path}`"))
}

/// Begins a file (its path is at most 100 bytes long); the caller writes its content to the archive's output, and zeros up
/// to a multiple of 512 bytes.
pub(crate) fn begin_file(builder: &mut Builder<impl Write>, path: &str, size: u64) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644, size);
    header.set_uid(0);
    header.set_gid(0);
    let context = || format!("cannot archive `{path}`");
    header.set_path(path).with_context(context)?;
    header.set_cksum();
    builder.append(&header, std::io::empty()).with_context(context)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(BUILDER);
    header.set_gid(BUILDER);
    header.set_mtime(BLOB_TIME);
    header.set_size(size);
    header
}

fn directory(builder: &mut Builder<impl Write>, path: &str) -> Result<()> {
    let mode = if path == "tmp" { 0o1777 } else { 0o755 };
    builder
        .append_data(&mut header(EntryType::Directory, mode, 0), path, std::io::empty())
        .with_context(|| format!("cannot archive `{path}`"))
}

/// The link's text goes in as it is: the tar crate would write `/` as `//`, and take a `.` or a last `/` out.
fn link(builder: &mut Builder<impl Write>, path: &str, target: &Path) -> Result<()> {
    let context = || format!("cannot archive `{path}`");
    let target = target.as_os_str().as_encoded_bytes();
    let mut header = header(EntryType::Symlink, 0o777, 0);
    let room = header.as_old().linkname.len();
    if target.len() > room {
        // GNU's way: the whole text is the content of an entry before.
        let text = [target, b"\0"].concat();
        let mut long = Header::new_gnu();
        long.set_entry_type(EntryType::GNULongLink);
        long.set_size(text.len() as u64);
        long.set_path("././@LongLink").with_context(context)?;
        long.set_cksum();
        builder.append(&long, text.as_slice()).with_context(context)?;
    }
    header.set_link_name_literal(&target[..target.len().min(room)]).with_context(context)?;
    builder.append_data(&mut header, path, std::io::empty()).with_context(context)
}

fn file(
    builder: &mut Builder<impl Write>,
    path: &str,
    size: u64,
    executable: bool,
    content: impl Read,
) -> Result<()> {
    let mode = if executable { 0o555 } else { 0o444 };
    let mut content = content.take(size);
    builder
        .append_data(&mut header(EntryType::Regular, mode, size), path, &mut content)
        .with_context(|| format!("cannot archive `{path}`"))?;
    if content.limit() > 0 {
        bail!("`{path}` became shorter while it was read");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_written_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut tree = Tree::new();
        let long = format!("/{}/", "x".repeat(200));
        let targets = ["/", "//a", "a/", "./a", "a/./b", "..", &"y".repeat(100), &long];
        for (index, target) in targets.iter().enumerate() {
            let entry = Entry::Symlink { target: (*target).to_owned() };
            tree.insert(&format!("d/{index}"), entry).unwrap();
        }
        let mut archive = Vec::new();
        write_tree(&store, &tree, "src", &mut archive).unwrap();
        assert_eq!(input::unpack_outputs(&store, archive.as_slice(), u64::MAX).unwrap(), tree);
    }
}

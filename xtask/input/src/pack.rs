//! A tree as one blob: inputs that are no file (a directory, a Git revision) are kept, vendored and unpacked like those
//! that are.

use anyhow::{Context, Result};
use store::{BLOB_TIME, Digest, Entry, Store, Tree};
use tar::{Builder, EntryType, Header};

/// What the archive of such an input is called; its format follows from it.
pub const FILE_NAME: &str = "tree.tar";

/// Keeps a tree as a tar archive whose bytes depend on the tree alone: sorted, 1980-01-01, owner 0, modes 0644 and 0755,
/// not compressed. Errors: a blob is missing.
pub fn pack(store: &Store, tree: &Tree) -> Result<Digest> {
    let mut builder = Builder::new(store.writer()?);
    for (path, entry) in tree.iter() {
        let mut header = Header::new_gnu();
        header.set_mtime(BLOB_TIME);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header.set_mode(0o755);
        match entry {
            Entry::File { digest, executable } => {
                header.set_entry_type(EntryType::Regular);
                header.set_mode(if *executable { 0o755 } else { 0o644 });
                header.set_size(digest.size);
                builder.append_data(&mut header, path, store.open_blob(digest)?)
            }
            Entry::Symlink { target } => {
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, path, target)
            }
            Entry::Directory => {
                header.set_entry_type(EntryType::Directory);
                builder.append_data(&mut header, format!("{path}/"), std::io::empty())
            }
        }
        .with_context(|| format!("cannot pack `{path}`"))?;
    }
    builder.into_inner().context("cannot pack a tree")?.finish(None)
}

/// The tree that people mean when they name an archive's content: without the directory at its top that holds
/// everything, if there is one.
pub fn content(tree: &Tree) -> Tree {
    let mut tops = tree.iter().map(|(path, _)| path.split_once('/').map(|(top, _)| top));
    match tops.next() {
        Some(Some(first)) if tops.all(|top| top == Some(first)) => tree.subtree(first),
        _ => tree.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Part, unpack};

    fn tree(store: &Store, entries: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in entries {
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable: path.ends_with(".sh") }).unwrap();
        }
        tree
    }

    #[test]
    fn a_packed_tree_has_known_bytes_and_unpacks_to_itself() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let long = format!("{}/file", "deep/".repeat(40).trim_end_matches('/'));
        let mut tree = tree(&store, &[("a.sh", "run"), ("b/c", "text"), (&long, "far")]);
        tree.insert("b/link", Entry::Symlink { target: "../a.sh".into() }).unwrap();
        tree.insert("empty", Entry::Directory).unwrap();
        let packed = pack(&store, &tree).unwrap();
        assert_eq!(
            packed.hex(),
            "40471b49375cb59e183d91df961319ab9296b8ed874b7be0a0daca381e5f677e",
            "locks hold digests of packed trees: they would all change"
        );
        assert_eq!(unpack(&store, &packed, Format::of(FILE_NAME), &Part::default()).unwrap(), tree);
    }

    #[test]
    fn the_directory_at_the_top_is_no_content() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let plain = tree(&store, &[("a", "1"), ("b/c", "2")]);
        assert_eq!(content(&tree(&store, &[("top/a", "1"), ("top/b/c", "2")])), plain);
        assert_eq!(content(&plain), plain);
        let single = tree(&store, &[("a", "1")]);
        assert_eq!(content(&single), single);
    }
}

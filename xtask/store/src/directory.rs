//! `Directory` messages of the Remote Execution API: the Merkle form of trees.

use crate::{
    Damaged, Digest, Entry, Store,
    message::{from_message, to_message},
    tree::{check_path, check_target},
};
use anyhow::{Context, Result, ensure};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A directory below another.
pub fn directory_node(name: &str, digest: &Digest) -> reapi::DirectoryNode {
    reapi::DirectoryNode { name: name.to_owned(), digest: Some(to_message(digest)) }
}

/// Adds a file or link to a message; the canonical encoding wants them in the byte order of their names.
pub fn add(message: &mut reapi::Directory, name: &str, entry: &Entry) {
    match entry {
        Entry::File { digest, executable } => message.files.push(reapi::FileNode {
            name: name.to_owned(),
            digest: Some(to_message(digest)),
            is_executable: *executable,
            ..reapi::FileNode::default()
        }),
        Entry::Symlink { target } => message.symlinks.push(reapi::SymlinkNode {
            name: name.to_owned(),
            target: target.clone(),
            ..reapi::SymlinkNode::default()
        }),
        Entry::Directory => {}
    }
}

/// One directory of the Merkle form, checked.
struct Listing {
    leaves: Vec<(String, Entry)>,
    directories: Vec<(String, Digest)>,
}

/// Errors: the blob is missing or damaged, or not the canonical encoding of a directory: it would be another name for
/// the same content, and equal trees would not have equal digests.
fn read(store: &Store, digest: &Digest) -> Result<Listing> {
    let bytes = store.read(digest)?;
    let message =
        reapi::Directory::decode(bytes.as_slice()).with_context(|| format!("{digest} is not a directory"))?;
    let mut listing = Listing { leaves: Vec::new(), directories: Vec::new() };
    for node in message.files {
        let digest = from_message(node.digest.as_ref())?;
        listing.leaves.push((node.name, Entry::File { digest, executable: node.is_executable }));
    }
    for node in message.symlinks {
        check_target(&node.name, &node.target)?;
        listing.leaves.push((node.name, Entry::Symlink { target: node.target }));
    }
    for node in message.directories {
        listing.directories.push((node.name, from_message(node.digest.as_ref())?));
    }
    let mut again = reapi::Directory::default();
    let mut names = HashSet::new();
    listing.leaves.sort_by(|a, b| a.0.cmp(&b.0));
    listing.directories.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, entry) in &listing.leaves {
        add(&mut again, name, entry);
        ensure!(names.insert(name), "directory {digest} has a name twice: `{}`", name.escape_debug());
    }
    for (name, below) in &listing.directories {
        again.directories.push(directory_node(name, below));
        ensure!(names.insert(name), "directory {digest} has a name twice: `{}`", name.escape_debug());
    }
    for name in names {
        check_path(name)?;
        ensure!(!name.contains('/'), "`{}` is not a name", name.escape_debug());
    }
    ensure!(again.encode_to_vec() == bytes, "directory {digest} is not in canonical encoding");
    Ok(listing)
}

/// All paths of a tree. Errors: as [`read`]; more than `most` entries.
pub fn expand(store: &Store, root: &Digest, most: usize) -> Result<BTreeMap<String, Entry>> {
    let mut expansion = Expansion { store, most, listings: HashMap::new(), entries: BTreeMap::new() };
    expansion.add(root, "")?;
    Ok(expansion.entries)
}

struct Expansion<'a> {
    store: &'a Store,
    most: usize,
    /// Directories that were read, since the same one often stands at several places.
    listings: HashMap<Digest, std::rc::Rc<Listing>>,
    entries: BTreeMap<String, Entry>,
}

impl Expansion<'_> {
    fn add(&mut self, digest: &Digest, prefix: &str) -> Result<()> {
        let listing = match self.listings.get(digest) {
            Some(listing) => listing.clone(),
            None => {
                let listing = std::rc::Rc::new(read(self.store, digest)?);
                self.listings.insert(*digest, listing.clone());
                listing
            }
        };
        let join = |name: &str| -> Result<String> {
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            check_path(&path)?;
            Ok(path)
        };
        for (name, entry) in &listing.leaves {
            self.insert(join(name)?, entry.clone())?;
        }
        for (name, below) in &listing.directories {
            let path = join(name)?;
            let before = self.entries.len();
            self.add(below, &path)?;
            if self.entries.len() == before {
                self.insert(path, Entry::Directory)?;
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: String, entry: Entry) -> Result<()> {
        ensure!(self.entries.len() < self.most, "a tree has more than {} entries", self.most);
        self.entries.insert(path, entry);
        Ok(())
    }
}

/// The directories and files that trees reach, each once, however often it is named.
#[derive(Default)]
pub struct Reached {
    /// Directories, all of whose content is reached too.
    pub directories: HashSet<Digest>,
    /// Files.
    pub files: HashSet<Digest>,
}

impl Reached {
    /// Adds what `root` reaches. False when a directory is missing or damaged; the rest is still added.
    pub fn add(&mut self, store: &Store, root: &Digest) -> Result<bool> {
        let mut whole = true;
        let mut pending = vec![*root];
        while let Some(digest) = pending.pop() {
            if self.directories.contains(&digest) {
                continue;
            }
            match read(store, &digest) {
                Ok(listing) => {
                    pending.extend(listing.directories.iter().map(|(_, below)| *below));
                    self.files.extend(listing.leaves.iter().filter_map(|(_, entry)| match entry {
                        Entry::File { digest, .. } => Some(*digest),
                        Entry::Symlink { .. } | Entry::Directory => None,
                    }));
                    self.directories.insert(digest);
                }
                Err(error) if error.is::<Damaged>() => whole = false,
                Err(error) => return Err(error),
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tree;

    fn put(store: &Store, message: &reapi::Directory) -> Digest {
        store.put_bytes(&message.encode_to_vec()).unwrap()
    }

    fn file(name: &str) -> (&str, Entry) {
        (name, Entry::File { digest: Digest::of(b"x"), executable: false })
    }

    fn directory(entries: &[(&str, Entry)]) -> reapi::Directory {
        let mut message = reapi::Directory::default();
        for (name, entry) in entries {
            add(&mut message, name, entry);
        }
        message
    }

    #[test]
    fn only_the_canonical_encoding_is_read() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let link = |target: &str| ("link", Entry::Symlink { target: target.to_owned() });
        let mut with_properties = directory(&[file("a")]);
        with_properties.node_properties = Some(reapi::NodeProperties::default());
        let mut file_and_directory = directory(&[file("a")]);
        file_and_directory.directories.push(directory_node("a", &Digest::of(b"")));
        for (message, expected) in [
            (directory(&[file("b"), file("a")]), "canonical"),
            (with_properties, "canonical"),
            (directory(&[file("a"), file("a")]), "twice"),
            (file_and_directory, "twice"),
            (directory(&[file("../../etc/passwd")]), "without `.`, `..`"),
            (directory(&[file("a/b")]), "not a name"),
            (directory(&[file("")]), "without `.`, `..`"),
            (directory(&[link("")]), "no target"),
            (directory(&[link("nul\0")]), "no target"),
        ] {
            let error = Tree::read(&store, &put(&store, &message)).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        // A field that REAPI does not have.
        let unknown = store.put_bytes(&[0xa2, 0x06, 0x00]).unwrap();
        assert!(Tree::read(&store, &unknown).unwrap_err().to_string().contains("canonical"));
        let other = store.put_bytes(b"#!/bin/sh\n").unwrap();
        assert!(Tree::read(&store, &other).unwrap_err().to_string().contains("not a directory"));
        assert!(Tree::read(&store, &put(&store, &directory(&[file("a"), file("b")]))).is_ok());
    }

    /// Ten directories, each naming the one below ten times: 10^10 files in less than 6 kB.
    #[test]
    fn a_tree_that_names_itself_too_often_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let mut digest = put(&store, &directory(&[file("a")]));
        for _ in 0..10 {
            let directories = (0..10).map(|name| directory_node(&name.to_string(), &digest)).collect();
            digest = put(&store, &reapi::Directory { directories, ..reapi::Directory::default() });
        }
        let error = expand(&store, &digest, 5000).unwrap_err().to_string();
        assert!(error.contains("more than 5000 entries"), "{error}");
        let mut reached = Reached::default();
        assert!(reached.add(&store, &digest).unwrap());
        assert_eq!((reached.directories.len(), reached.files.len()), (11, 1));
    }

    #[test]
    fn a_tree_without_a_bottom_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let mut digest = put(&store, &directory(&[file("a")]));
        for _ in 0..300 {
            let directories = vec![directory_node("d", &digest)];
            digest = put(&store, &reapi::Directory { directories, ..reapi::Directory::default() });
        }
        let error = Tree::read(&store, &digest).unwrap_err().to_string();
        assert!(error.contains("256 components"), "{error}");
    }
}

//! `Directory` messages of the Remote Execution API: the Merkle form of trees.

use crate::{
    Digest, Entry, Store,
    message::{from_message, to_message},
    peer::Child,
    tree::{check_path, check_target},
};
use anyhow::{Context, Result, ensure};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

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

impl Listing {
    /// Sorted, as the canonical encoding wants it.
    fn message(&mut self) -> reapi::Directory {
        self.leaves.sort_by(|a, b| a.0.cmp(&b.0));
        self.directories.sort_by(|a, b| a.0.cmp(&b.0));
        let mut message = reapi::Directory::default();
        for (name, entry) in &self.leaves {
            add(&mut message, name, entry);
        }
        message.directories =
            self.directories.iter().map(|(name, below)| directory_node(name, below)).collect();
        message
    }
}

/// Errors: the blob is missing or damaged, or not the canonical encoding of a directory: it would be another name for
/// the same content, and equal trees would not have equal digests.
fn read(store: &Store, digest: &Digest) -> Result<Listing> {
    decode(digest, &store.read(digest)?)
}

fn decode(digest: &Digest, bytes: &[u8]) -> Result<Listing> {
    let message = reapi::Directory::decode(bytes).with_context(|| format!("{digest} is not a directory"))?;
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
    let again = listing.message();
    let mut names = HashSet::new();
    let all = listing.leaves.iter().map(|(name, _)| name);
    for name in all.chain(listing.directories.iter().map(|(name, _)| name)) {
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
    // Directories that were read, since the same one often stands at several places.
    let mut listings: HashMap<Digest, Rc<Listing>> = HashMap::new();
    let mut entries = BTreeMap::new();
    let mut pending = vec![(*root, String::new())];
    while let Some((digest, prefix)) = pending.pop() {
        let listing = match listings.get(&digest) {
            Some(listing) => listing.clone(),
            None => {
                let listing = Rc::new(read(store, &digest)?);
                listings.insert(digest, listing.clone());
                listing
            }
        };
        let join = |name: &str| -> Result<String> {
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            check_path(&path)?;
            Ok(path)
        };
        for (name, entry) in &listing.leaves {
            entries.insert(join(name)?, entry.clone());
        }
        for (name, below) in &listing.directories {
            pending.push((*below, join(name)?));
        }
        let is_empty = listing.leaves.is_empty() && listing.directories.is_empty();
        if is_empty && !prefix.is_empty() {
            entries.insert(prefix, Entry::Directory);
        }
        // Each of those that wait brings an entry at least.
        ensure!(entries.len() + pending.len() <= most, "a tree has more than {most} entries");
    }
    Ok(entries)
}

impl Store {
    /// The directory at `path` below `root`; nothing where there is none. Only the directories on the way are read.
    pub fn subdirectory(&self, root: &Digest, path: &str) -> Result<Option<Digest>> {
        let mut digest = *root;
        for name in path.split('/') {
            let found = read(self, &digest)?.directories.into_iter().find(|(other, _)| other == name);
            match found {
                Some((_, below)) => digest = below,
                None => return Ok(None),
            }
        }
        Ok(Some(digest))
    }

    /// `root` with a directory as its entry `name`, in the place of the directory of that name, if there is one; gives the new
    /// root. Everything else is shared. Errors: the name is a file or link; it is not a name.
    pub fn graft(&self, root: &Digest, name: &str, directory: &Digest) -> Result<Digest> {
        self.put_bytes(&self.grafted(root, name, directory)?)
    }

    /// What [`Store::graft`] would give, without keeping anything.
    pub fn graft_digest(&self, root: &Digest, name: &str, directory: &Digest) -> Result<Digest> {
        Ok(Digest::of(&self.grafted(root, name, directory)?))
    }

    fn grafted(&self, root: &Digest, name: &str, directory: &Digest) -> Result<Vec<u8>> {
        check_path(name)?;
        ensure!(!name.contains('/'), "`{}` is not a name", name.escape_debug());
        let mut listing = read(self, root)?;
        ensure!(listing.leaves.iter().all(|(other, _)| other != name), "`{name}` is not a directory");
        listing.directories.retain(|(other, _)| other != name);
        listing.directories.push((name.to_owned(), *directory));
        Ok(listing.message().encode_to_vec())
    }

    /// The REAPI `Tree` message of a tree: its directories in one, each once, parents first.
    pub(crate) fn tree_message(&self, root: &Digest) -> Result<Vec<u8>> {
        // Children end before their parents begin the list, so its reverse has every parent before its children.
        enum Step {
            Enter(Digest),
            Leave(reapi::Directory),
        }
        let mut seen = HashSet::new();
        let mut ended = Vec::new();
        let mut pending = vec![Step::Enter(*root)];
        while let Some(step) = pending.pop() {
            match step {
                Step::Enter(digest) if seen.insert(digest) => {
                    let mut listing = read(self, &digest)?;
                    let message = listing.message();
                    pending.push(Step::Leave(message));
                    pending.extend(listing.directories.iter().rev().map(|(_, below)| Step::Enter(*below)));
                }
                Step::Enter(_) => {}
                Step::Leave(message) => ended.push(message),
            }
        }
        let root = ended.pop();
        ended.reverse();
        Ok(reapi::Tree { root, children: ended }.encode_to_vec())
    }
}

/// What stands in a directory, without its links. Errors: as [`read`].
pub(crate) fn for_each(store: &Store, directory: &Digest, each: &mut dyn FnMut(Child)) -> Result<()> {
    let listing = read(store, directory)?;
    listing.directories.iter().for_each(|(_, digest)| each(Child::Directory(*digest)));
    for (_, entry) in &listing.leaves {
        if let Entry::File { digest, .. } = entry {
            each(Child::File(*digest));
        }
    }
    Ok(())
}

/// Keeps every directory of a `Tree` message by itself.
pub(crate) fn unpack_tree(store: &Store, tree: &Digest) -> Result<()> {
    let message = reapi::Tree::decode(store.read(tree)?.as_slice())
        .with_context(|| format!("{tree} is not a tree message"))?;
    for directory in message.root.iter().chain(&message.children) {
        store.put_bytes(&directory.encode_to_vec())?;
    }
    Ok(())
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
    /// Adds what `root` reaches. False when a directory is missing or damaged; the rest is still added. Nothing in the store
    /// is changed.
    pub fn add(&mut self, store: &Store, root: &Digest) -> Result<bool> {
        let mut whole = true;
        let mut pending = vec![*root];
        while let Some(digest) = pending.pop() {
            if self.directories.contains(&digest) {
                continue;
            }
            match store.peek(&digest).map(|bytes| decode(&digest, &bytes)).transpose()? {
                Some(listing) => {
                    pending.extend(listing.directories.iter().map(|(_, below)| *below));
                    self.files.extend(listing.leaves.iter().filter_map(|(_, entry)| match entry {
                        Entry::File { digest, .. } => Some(*digest),
                        Entry::Symlink { .. } | Entry::Directory => None,
                    }));
                    self.directories.insert(digest);
                }
                None => whole = false,
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
    fn a_directory_is_put_into_another_one() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let tree = |paths: &[&str]| {
            let mut tree = Tree::new();
            for path in paths {
                let digest = store.put_bytes(b"x").unwrap();
                tree.insert(path, Entry::File { digest, executable: false }).unwrap();
            }
            tree
        };
        let root = tree(&["a", "build/old", "usr/bin/x"]).write(&store).unwrap();
        let other = tree(&["src/new"]).write(&store).unwrap();
        let both = store.graft(&root, "build", &other).unwrap();
        assert_eq!(Tree::read(&store, &both).unwrap(), tree(&["a", "build/src/new", "usr/bin/x"]));
        assert_eq!(store.graft_digest(&root, "build", &other).unwrap(), both);
        let added = store.graft(&root, "more", &other).unwrap();
        assert_eq!(store.subdirectory(&added, "more").unwrap(), Some(other));
        assert_eq!(
            store.subdirectory(&both, "build/src").unwrap(),
            store.subdirectory(&other, "src").unwrap()
        );
        assert_eq!(store.subdirectory(&both, "build/gone").unwrap(), None);
        assert_eq!(store.subdirectory(&both, "a").unwrap(), None);
        for name in ["a", "", "..", "x/y"] {
            assert!(store.graft(&root, name, &other).is_err(), "{name}");
        }
    }

    #[test]
    fn a_tree_message_has_parents_before_children() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let leaf = put(&store, &directory(&[file("f")]));
        let with = |names: &[(&str, Digest)]| {
            let directories = names.iter().map(|(name, digest)| directory_node(name, digest)).collect();
            put(&store, &reapi::Directory { directories, ..reapi::Directory::default() })
        };
        // The leaf stands below the root and below its neighbour, and comes once, behind both.
        let middle = with(&[("leaf", leaf)]);
        let root = with(&[("a", leaf), ("b", middle), ("c", leaf)]);
        let message = reapi::Tree::decode(store.tree_message(&root).unwrap().as_slice()).unwrap();
        let digest = |message: &reapi::Directory| Digest::of(&message.encode_to_vec());
        assert_eq!(message.root.as_ref().map(digest), Some(root));
        assert_eq!(message.children.iter().map(digest).collect::<Vec<_>>(), [middle, leaf]);
        // A chain longer than any stack.
        let mut deep = leaf;
        for _ in 0..20_000 {
            deep = with(&[("d", deep)]);
        }
        assert!(store.tree_message(&deep).is_ok());
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

//! A tree of files in memory, and its Merkle form.

use crate::{
    Digest, Store,
    directory::{self, expand},
};
use anyhow::{Context, Result, bail, ensure};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use std::{cell::RefCell, collections::BTreeMap};

/// The longest path that a tree may hold, in bytes (Linux' PATH_MAX).
const LONGEST_PATH: usize = 4096;

/// How deep a path may be, so that a tree made to exhaust the stack is refused.
const DEEPEST_PATH: usize = 256;

/// How many entries a tree may have. Its Merkle form can name the same directory many times over: a few hundred bytes
/// may stand for more entries than the memory holds.
pub(crate) const MOST_ENTRIES: usize = 4_000_000;

/// What stands at a path of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A regular file, by content.
    File {
        /// The content, a blob of the store.
        digest: Digest,
        /// Whether it may be executed (mode 0555 instead of 0444).
        executable: bool,
    },
    /// A symbolic link; `target` is kept as it is written.
    Symlink {
        /// The link's text.
        target: String,
    },
    /// A directory that is named for itself (an empty one). Parents of entries need not be named.
    Directory,
}

/// A tree of files: relative UTF-8 paths with `/`, no empty, `.` or `..` components, to entries.
///
/// Identity is the digest of the root `Directory` message of the Remote Execution API in canonical encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. Adding the same entry again is fine, and so is a directory that holds something. Errors: a path
    /// that is absolute or has empty, `.` or `..` components, is over 4096 bytes or 256 components long; a path that
    /// exists already with another entry; a path below a file or link; a link to nowhere.
    pub fn insert(&mut self, path: &str, entry: Entry) -> Result<()> {
        check_path(path)?;
        if let Entry::Symlink { target } = &entry {
            check_target(path, target)?;
        }
        let mut above_all = Vec::new();
        let mut parent = path;
        while let Some((above, _)) = parent.rsplit_once('/') {
            match self.entries.get(above) {
                // A directory is named only while it is empty, so that equal trees are equal values.
                None | Some(Entry::Directory) => above_all.push(above),
                Some(_) => bail!("`{path}` stands below `{above}`, which is not a directory"),
            }
            parent = above;
        }
        let is_parent = self.is_parent(path);
        if entry == Entry::Directory && is_parent {
            return Ok(());
        }
        ensure!(!is_parent, "`{path}` is a directory already");
        match self.entries.get(path) {
            Some(old) if *old != entry => bail!("`{path}` exists already with another content"),
            _ => {}
        }
        for above in above_all {
            self.entries.remove(above);
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    /// Whether something stands below `path`.
    fn is_parent(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.entries.range(below.clone()..).next().is_some_and(|(key, _)| key.starts_with(&below))
    }

    /// Adds all of `other` below `prefix` ("" for the top). Errors as [`Tree::insert`].
    pub fn merge(&mut self, prefix: &str, other: &Tree) -> Result<()> {
        for (path, entry) in &other.entries {
            match prefix {
                "" => self.insert(path, entry.clone())?,
                prefix => self.insert(&format!("{prefix}/{path}"), entry.clone())?,
            }
        }
        Ok(())
    }

    /// The entry at `path`. A directory that holds something has none of its own.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Takes the entry at `path`, and all below it, out.
    pub fn remove(&mut self, path: &str) {
        self.entries.remove(path);
        let below = format!("{path}/");
        let keys: Vec<_> = self.below(&below).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.entries.remove(&key);
        }
    }

    fn below<'a>(&'a self, below: &'a str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        self.entries.range(below.to_owned()..).take_while(move |(key, _)| key.starts_with(below))
    }

    /// The part below `path`, with `path/` taken off. Empty when nothing is there.
    pub fn subtree(&self, path: &str) -> Tree {
        let below = format!("{path}/");
        let entries =
            self.below(&below).map(|(key, entry)| (key[below.len()..].to_owned(), entry.clone())).collect();
        Tree { entries }
    }

    /// All entries in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the Merkle form into the store; gives the root's digest.
    pub fn write(&self, store: &Store) -> Result<Digest> {
        self.merkle(&|bytes| store.put_bytes(bytes))
    }

    /// The root's digest, without keeping anything.
    pub fn digest(&self) -> Result<Digest> {
        self.merkle(&|bytes| Ok(Digest::of(bytes)))
    }

    /// The root's digest, and the message of each directory by its digest, without keeping anything.
    ///
    /// # Errors
    /// None that a tree can have.
    pub fn messages(&self) -> Result<(Digest, BTreeMap<Digest, Vec<u8>>)> {
        let messages = RefCell::new(BTreeMap::new());
        let root = self.merkle(&|bytes| {
            let digest = Digest::of(bytes);
            messages.borrow_mut().insert(digest, bytes.to_vec());
            Ok(digest)
        })?;
        Ok((root, messages.into_inner()))
    }

    /// Makes the messages of all directories, those below others first.
    fn merkle(&self, keep: &impl Fn(&[u8]) -> Result<Digest>) -> Result<Digest> {
        let mut messages: BTreeMap<&str, reapi::Directory> =
            BTreeMap::from([("", reapi::Directory::default())]);
        for (path, entry) in &self.entries {
            let (parent, name) = split(path);
            match entry {
                Entry::Directory => {
                    messages.entry(path).or_default();
                }
                entry => directory::add(messages.entry(parent).or_default(), name, entry),
            }
        }
        // A path sorts behind every path above it.
        loop {
            let (path, mut message) = messages.pop_last().context("a tree has no root")?;
            message.files.sort_by(|a, b| a.name.cmp(&b.name));
            message.symlinks.sort_by(|a, b| a.name.cmp(&b.name));
            message.directories.sort_by(|a, b| a.name.cmp(&b.name));
            let digest = keep(&message.encode_to_vec())?;
            if path.is_empty() {
                return Ok(digest);
            }
            let (parent, name) = split(path);
            messages.entry(parent).or_default().directories.push(directory::directory_node(name, &digest));
        }
    }

    /// Reads the Merkle form back. Errors: a directory missing or damaged ([`crate::Damaged`]), or not in canonical
    /// encoding; more entries than can be meant.
    pub fn read(store: &Store, root: &Digest) -> Result<Self> {
        Ok(Self { entries: expand(store, root, MOST_ENTRIES)? })
    }
}

/// The directory that a path stands in ("" for the root), and its name there.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Errors for every path that is not canonical.
pub(crate) fn check_path(path: &str) -> Result<()> {
    ensure!(
        path.len() <= LONGEST_PATH && path.matches('/').count() < DEEPEST_PATH,
        "a path is longer than {LONGEST_PATH} bytes or {DEEPEST_PATH} components: `{}…`",
        path.chars().take(200).collect::<String>().escape_debug()
    );
    let fine = !path.contains('\0') && path.split('/').all(|component| !matches!(component, "" | "." | ".."));
    ensure!(fine, "`{}` is not a relative path without `.`, `..` and empty parts", path.escape_debug());
    Ok(())
}

/// Errors for a target that no file system has. Where a link may lead is for those to say who made the tree.
pub(crate) fn check_target(path: &str, target: &str) -> Result<()> {
    ensure!(
        !target.is_empty() && target.len() <= LONGEST_PATH && !target.contains('\0'),
        "the link `{}` has no target, or one that no file system can have",
        path.escape_debug()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(text: &str) -> Entry {
        Entry::File { digest: Digest::of(text.as_bytes()), executable: false }
    }

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        for path in ["/etc/passwd", "../x", "a/../b", "a//b", "", "a/.", "nul\0"] {
            assert!(Tree::new().insert(path, file("x")).is_err(), "{path:?}");
        }
        let (long, deep) = ("x/".repeat(20) + &"y".repeat(4057), "d/".repeat(256) + "f");
        for path in [long, deep] {
            let error = Tree::new().insert(&path, file("x")).unwrap_err().to_string();
            assert!(error.contains("longer than 4096 bytes or 256 components"), "{error}");
            assert!(Tree::new().insert(&path[2..], file("x")).is_ok());
        }
        for target in ["", "nul\0"] {
            assert!(Tree::new().insert("link", Entry::Symlink { target: target.to_owned() }).is_err());
        }
    }

    #[test]
    fn one_path_has_one_content() {
        let mut tree = Tree::new();
        tree.insert("a/b", file("1")).unwrap();
        tree.insert("a/b", file("1")).unwrap();
        assert!(tree.insert("a/b", file("2")).unwrap_err().to_string().contains("another content"));
        assert!(tree.insert("a/b/c", file("2")).unwrap_err().to_string().contains("not a directory"));
        assert!(tree.insert("a", file("2")).unwrap_err().to_string().contains("is a directory"));
        tree.insert("a", Entry::Directory).unwrap();
        assert_eq!(tree.iter().count(), 1);
    }

    #[test]
    fn the_empty_tree_has_the_digest_of_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(Tree::new().write(&store).unwrap(), Digest::of(b""));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_written_is_read_back(paths in proptest::collection::vec("[ab.]{1,2}(/[ab]{1,2}){0,3}", 0..12)) {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path()).unwrap();
            let mut tree = Tree::new();
            for (index, path) in paths.iter().enumerate() {
                let entry = match index % 4 {
                    0 => Entry::Directory,
                    1 => Entry::Symlink { target: "../anywhere".to_owned() },
                    2 => Entry::File { digest: Digest::of(path.as_bytes()), executable: true },
                    _ => file(path),
                };
                let _ = tree.insert(path, entry);
            }
            let root = tree.write(&store).unwrap();
            prop_assert_eq!(root, tree.digest().unwrap());
            prop_assert_eq!(Tree::read(&store, &root).unwrap(), tree);
        }

        #[test]
        fn every_path_that_is_taken_is_canonical(path in "[a./\0é]{0,6}") {
            let mut tree = Tree::new();
            let canonical = !path.is_empty()
                && !path.contains('\0')
                && path.split('/').all(|name| !name.is_empty() && name != "." && name != "..");
            prop_assert_eq!(tree.insert(&path, file("x")).is_ok(), canonical);
            prop_assert_eq!(tree.get(&path).is_some(), canonical);
        }
    }
}

//! Patches: `patches/SOURCE/NNNN-name.patch`, applied strictly while the input tree is composed.
//!
//! Every line must be where the patch says (no offset, no fuzz), every file named must exist, and each patch must have a
//! header that says why it is there and where upstream stands.

mod hunk;
mod upkeep;

pub use upkeep::{Patched, check, refresh};

use anyhow::{Context, Result, bail, ensure};
use diffy::{
    Patch,
    patch_set::{FileMode, FileOperation, ParseOptions, PatchSet},
};
use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
};
use store::{Digest, Entry, Store, Tree, WithHint, hinted};

/// The patches of a directory, in the order of their names.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut patches = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            patches.push(path);
        }
    }
    patches.sort();
    ensure!(!patches.is_empty(), "{} has no `.patch` file", directory.display());
    Ok(patches)
}

/// What stands above the first file of a patch.
fn header(patch: &str) -> &str {
    let length = patch
        .split_inclusive('\n')
        .take_while(|line| !line.starts_with("---") && !line.starts_with("diff "))
        .map(str::len)
        .sum();
    &patch[..length]
}

/// Errors: the header does not say why the patch is there, or where upstream stands.
pub fn check_header(name: &str, patch: &str) -> Result<()> {
    let header = header(patch);
    for (field, question) in [("Why:", "why it is needed"), ("Upstream:", "where upstream stands")] {
        let says =
            header.lines().filter_map(|line| line.strip_prefix(field)).any(|rest| !rest.trim().is_empty());
        ensure!(
            says,
            hinted(
                format!("the header of patch {name} has no `{field}`"),
                format!("say above the first `---` {question}, in a paragraph that starts with `{field}`")
            )
        );
    }
    Ok(())
}

/// Where the texts of a tree come from, and where patched ones go.
pub trait Blobs {
    /// A blob's content.
    fn read(&self, digest: &Digest) -> Result<Vec<u8>>;
    /// Keeps a content for a later [`Blobs::read`].
    fn put(&self, bytes: Vec<u8>) -> Result<Digest>;
}

impl Blobs for Store {
    fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        Store::read(self, digest)
    }

    fn put(&self, bytes: Vec<u8>) -> Result<Digest> {
        self.put_bytes(&bytes)
    }
}

/// Patched texts in memory, over a store that is only read.
pub struct Overlay<'a> {
    store: &'a Store,
    texts: RefCell<HashMap<Digest, Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    /// Nothing yet.
    pub fn new(store: &'a Store) -> Self {
        Self { store, texts: RefCell::new(HashMap::new()) }
    }
}

impl Blobs for Overlay<'_> {
    fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        match self.texts.borrow().get(digest) {
            Some(text) => Ok(text.clone()),
            None => self.store.read(digest),
        }
    }

    fn put(&self, bytes: Vec<u8>) -> Result<Digest> {
        let digest = Digest::of(&bytes);
        self.texts.borrow_mut().insert(digest, bytes);
        Ok(digest)
    }
}

/// Applies one patch to a tree. `name` is for messages.
pub fn apply(store: &dyn Blobs, tree: &mut Tree, name: &str, patch: &[u8]) -> Result<()> {
    let patch = text(name, patch)?;
    check_header(name, patch)?;
    edit(store, tree, name, patch, &mut |path, old, patch| {
        hunk::apply(old, patch).with_hint(|| {
            hinted(
                format!("patch {name} does not apply to `{path}`"),
                "the source changed under it, and it is applied without fuzz; `cargo xtask \
                patch refresh` may bring it up to date",
            )
        })
    })
}

fn text<'a>(name: &str, patch: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(patch).with_context(|| format!("patch {name} is not UTF-8"))
}

/// Gives a file's new text from its path, its old text and its hunks.
type Change<'a> = dyn FnMut(&str, &str, &Patch<'_, str>) -> Result<String> + 'a;

/// Changes a tree file by file as a patch says.
fn edit(store: &dyn Blobs, tree: &mut Tree, name: &str, patch: &str, change: &mut Change<'_>) -> Result<()> {
    let options = match patch.lines().any(|line| line.starts_with("diff --git ")) {
        true => ParseOptions::gitdiff(),
        false => ParseOptions::unidiff(),
    };
    let mut files = 0;
    for file in PatchSet::parse(patch, options) {
        let file = file.with_context(|| format!("patch {name} is malformed"))?;
        let operation = file.operation().strip_prefix(1);
        let text = file.patch().as_text().with_context(|| format!("patch {name} is binary"))?;
        let executable = file.new_mode().map(|mode| *mode == FileMode::Executable);
        let mut apply = |path: &str, old: &[u8]| -> Result<Vec<u8>> {
            let old = std::str::from_utf8(old).with_context(|| format!("`{path}` is not UTF-8"))?;
            Ok(change(path, old, text)?.into_bytes())
        };
        match &operation {
            FileOperation::Modify { original, modified } if original == modified => {
                let Some(&Entry::File { digest, executable: was }) = tree.get(original) else {
                    bail!("patch {name} changes `{original}`, which the source does not have");
                };
                let new = apply(original, &store.read(&digest)?)?;
                tree.remove(original);
                let digest = store.put(new)?;
                tree.insert(original, Entry::File { digest, executable: executable.unwrap_or(was) })?;
            }
            FileOperation::Create(path) => {
                ensure!(tree.get(path).is_none(), "patch {name} creates `{path}`, which exists already");
                let digest = store.put(apply(path, b"")?)?;
                tree.insert(path, Entry::File { digest, executable: executable.unwrap_or(false) })?;
            }
            FileOperation::Delete(path) => {
                let Some(&Entry::File { digest, .. }) = tree.get(path) else {
                    bail!("patch {name} deletes `{path}`, which the source does not have");
                };
                let rest = apply(path, &store.read(&digest)?)?;
                ensure!(rest.is_empty(), "patch {name} deletes `{path}`, but leaves a part of it");
                tree.remove(path);
            }
            _ => bail!("patch {name} renames or copies a file; write it as a deletion and a creation"),
        }
        files += 1;
    }
    ensure!(files > 0, "patch {name} changes nothing");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(patch: &str) -> Result<Vec<(String, String)>> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let mut tree = Tree::new();
        for (path, text) in [("a.txt", "one\ntwo\nthree\n"), ("b/c.txt", "x\n")] {
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable: false }).unwrap();
        }
        apply(&store, &mut tree, "0001-test.patch", patch.as_bytes())?;
        let mut files = Vec::new();
        for (path, entry) in tree.iter() {
            if let Entry::File { digest, .. } = entry {
                files.push((path.to_owned(), String::from_utf8(store.read(digest).unwrap()).unwrap()));
            }
        }
        Ok(files)
    }

    #[test]
    fn changes_creations_and_deletions_apply() {
        let files = patched(
            "Why: a.\nUpstream: b.\n\n--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n\
             --- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+new\n\
             --- a/b/c.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n",
        )
        .unwrap();
        let expected = [("a.txt", "one\n2\nthree\n"), ("new.txt", "new\n")];
        assert_eq!(files, expected.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_does_not_fit_exactly_is_refused() {
        for (patch, expected) in [
            (
                "Why: a.\nUpstream: b.\n--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n other\n",
                "does not apply",
            ),
            ("Why: a.\nUpstream: b.\n--- a/no.txt\n+++ b/no.txt\n@@ -1 +1 @@\n-x\n+y\n", "does not have"),
            ("Why: a.\nUpstream: b.\n--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+x\n", "exists already"),
            ("--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n", "has no `Why:`"),
            ("Why: a.\n--- a/a.txt\n+++ b/a.txt\n", "has no `Upstream:`"),
            ("Why:\nUpstream: b.\n--- a/a.txt\n+++ b/a.txt\n", "has no `Why:`"),
            ("Why: a.\nUpstream: b.\n", "is malformed"),
        ] {
            let error = format!("{:#}", patched(patch).unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}

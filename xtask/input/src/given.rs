//! Inputs that the user gives (`--input NAME=PATH`) in the place of what a lock names.

use crate::{Format, Input, Part, Source, pack, unpack};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use store::{Store, Tree};

/// An input that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// What stands in the store now; a [`Source::Path`].
    pub input: Input,
    /// Whether it is, byte for byte, what the lock asks for. If not, nobody else can check what was built from it.
    pub pinned: bool,
}

impl Given {
    /// Takes a file or a directory for an input. A file is the input itself; a directory is what the input holds, below
    /// the directory at the top of its archive, if it has one. `locked` is what the lock says, if it says something.
    ///
    /// Errors: there is nothing at the path; the directory holds devices, or links out of it.
    pub fn take(store: &Store, name: &str, path: &Path, locked: Option<&Input>) -> Result<Self> {
        let shown = path.display();
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot take `{name}` from {shown}: there is nothing there"))?;
        let source = |path: PathBuf, directory| Source::Path { path, directory };
        if path.is_file() {
            let digest = store.put_file(&path)?;
            let pinned = locked.is_some_and(|locked| locked.digest == digest);
            let input = Input { name: name.to_owned(), digest, source: source(path, false) };
            return Ok(Self { input, pinned });
        }
        if !path.is_dir() {
            bail!("cannot take `{name}` from {shown}: it is neither a file nor a directory");
        }
        let tree = store.import(&path).with_context(|| format!("cannot take `{name}` from {shown}"))?;
        let digest = pack::pack(store, &tree)?;
        let input = Input { name: name.to_owned(), digest, source: source(path, true) };
        // Read back as every archive of a stranger is: what leads out of the directory is refused here.
        unpack(store, &digest, Format::Tar, &Part::default())
            .with_context(|| format!("cannot take `{name}` from {shown}"))?;
        let pinned = match locked {
            Some(locked) => is_content(store, &tree, locked)?,
            None => false,
        };
        Ok(Self { input, pinned })
    }
}

/// Whether a tree is what a locked input holds, by the tree digest of the lock or, where that has none, by the archive
/// itself when the store has it.
fn is_content(store: &Store, tree: &Tree, locked: &Input) -> Result<bool> {
    if let Some(expected) = locked.source.tree() {
        return Ok(tree.digest()? == *expected);
    }
    if !store.contains(&locked.digest) {
        return Ok(false);
    }
    Ok(pack::content(&unpack(store, &locked.digest, locked.format(), &Part::default())?) == *tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor;
    use store::{Digest, Silent};

    struct Place {
        directory: tempfile::TempDir,
        store: Store,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(&directory.path().join("store")).unwrap();
            Self { directory, store }
        }

        fn write(&self, path: &str, text: &str) -> PathBuf {
            let path = self.directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        }

        /// A locked archive `thing-1/{a,b/c}`, which the store has.
        fn archive(&self) -> Input {
            self.write("archive/thing-1/a", "1");
            self.write("archive/thing-1/b/c", "2");
            let tree = self.store.import(&self.directory.path().join("archive")).unwrap();
            let digest = pack::pack(&self.store, &tree).unwrap();
            let urls = vec!["https://x.invalid/thing-1.tar".to_owned()];
            Input { name: "thing".into(), digest, source: Source::Https { urls, tree: None } }
        }
    }

    #[test]
    fn the_very_file_of_the_lock_is_pinned_and_another_is_not() {
        let place = Place::new();
        let path = place.write("thing.zip", "content");
        let urls = vec!["https://x.invalid/thing.zip".to_owned()];
        let locked = Input {
            name: "thing".into(),
            digest: Digest::of(b"content"),
            source: Source::Https { urls, tree: None },
        };
        let given = Given::take(&place.store, "thing", &path, Some(&locked)).unwrap();
        assert!(given.pinned && given.input.digest == locked.digest);
        std::fs::write(&path, "other").unwrap();
        let given = Given::take(&place.store, "thing", &path, Some(&locked)).unwrap();
        assert!(!given.pinned && place.store.read(&given.input.digest).unwrap() == b"other");
        assert!(!Given::take(&place.store, "thing", &path, None).unwrap().pinned);
    }

    #[test]
    fn a_directory_is_what_an_archive_holds() {
        let place = Place::new();
        let locked = place.archive();
        let path = place.directory.path().join("archive/thing-1");
        assert!(Given::take(&place.store, "thing", &path, Some(&locked)).unwrap().pinned);
        place.write("archive/thing-1/b/c", "changed");
        assert!(!Given::take(&place.store, "thing", &path, Some(&locked)).unwrap().pinned);
    }

    #[test]
    fn without_the_archive_the_tree_digest_of_the_lock_tells() {
        let place = Place::new();
        let locked = place.archive();
        let path = place.directory.path().join("archive/thing-1");
        let tree = place.store.import(&path).unwrap().digest().unwrap();
        let elsewhere = Place::new();
        let take = |input: &Input| Given::take(&elsewhere.store, "thing", &path, Some(input)).unwrap();
        // Nothing here can tell what the archive holds.
        assert!(!take(&locked).pinned);
        let urls = vec!["https://x.invalid/thing-1.tar".to_owned()];
        let known = Input { source: Source::Https { urls, tree: Some(tree) }, ..locked };
        assert!(take(&known).pinned);
        place.write("archive/thing-1/new", "");
        assert!(!take(&known).pinned);
    }

    #[test]
    fn what_can_not_be_taken_is_refused() {
        let place = Place::new();
        let take = |path: &Path| format!("{:#}", Given::take(&place.store, "x", path, None).unwrap_err());
        assert!(take(Path::new("/nowhere")).contains("there is nothing there"));
        assert!(take(Path::new("/dev/null")).contains("neither a file nor a directory"));
        let path = place.write("bad/file", "");
        let bad = path.parent().unwrap();
        std::os::unix::fs::symlink("../../etc/passwd", bad.join("link")).unwrap();
        assert!(take(bad).contains("leaves the archive"), "{}", take(bad));
    }

    #[test]
    fn a_given_directory_is_vendored_like_everything_else() {
        let place = Place::new();
        let path = place.write("source/file", "text");
        let given = Given::take(&place.store, "thing", path.parent().unwrap(), None).unwrap();
        let vendored = place.directory.path().join("vendored");
        vendor(&place.store, &[&given.input], &vendored, &Silent).unwrap();
        assert!(vendored.join("sha256").join(given.input.digest.hex()).is_file());
    }
}

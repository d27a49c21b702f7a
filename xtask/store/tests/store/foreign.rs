//! What is not a regular file, in a place where the store has one.

use crate::tree;
use rustix::fs::{CWD, Mode, mkfifoat};
use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};
use store::{Action, ActionResult, Digest, Silent, Store};

/// Its name, and what puts it in a file's place; the second path is that of a file outside with the blob's content.
type Object = (&'static str, fn(&Path, &Path));

const OBJECTS: [Object; 7] = [
    ("pipe", |path, _| mkfifoat(CWD, path, Mode::from_raw_mode(0o644)).unwrap()),
    ("link to /dev/zero", |path, _| symlink("/dev/zero", path).unwrap()),
    ("link to equal content", |path, outside| symlink(outside, path).unwrap()),
    ("link to nothing", |path, _| symlink("nothing", path).unwrap()),
    ("link to itself", |path, _| symlink(path.file_name().unwrap(), path).unwrap()),
    ("directory", |path, _| {
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        std::fs::write(path.join("a/b/c"), "c").unwrap();
    }),
    ("socket", |path, outside| {
        // The path of a socket has at most 107 bytes.
        let short = outside.with_file_name("s");
        drop(std::os::unix::net::UnixListener::bind(&short).unwrap());
        std::fs::rename(short, path).unwrap();
    }),
];

/// Runs something that must not take for ever.
fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || done.send(run()));
    finished.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{what} hangs, or panicked"))
}

struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
    blob: Digest,
    action: Digest,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (directory.path().join("store"), directory.path().join("outside"));
        std::fs::write(&outside, "content").unwrap();
        std::fs::set_permissions(&outside, Permissions::from_mode(0o640)).unwrap();
        let store = Store::open(&root).unwrap();
        let outputs = tree(&store, &[("file", "content"), ("run.sh", "content")]).write(&store).unwrap();
        let blob = Digest::of(b"content");
        store.blob_path(&blob, true).unwrap();
        let action = Action::named(["test"]).write(&store).unwrap();
        store.put_result(&action, &ActionResult { outputs, log: None }).unwrap();
        drop(store);
        Self { _directory: directory, root, outside, blob, action }
    }

    fn below(&self, kind: &str, digest: &Digest) -> PathBuf {
        self.root.join(kind).join(&digest.hex()[..2]).join(digest.hex())
    }

    /// Nothing outside got another mode, content or time.
    fn assert_outside_is_untouched(&self, what: &str) {
        let metadata = std::fs::metadata(&self.outside).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o640, "{what}");
        assert_ne!(metadata.mtime(), 315_532_800, "{what}");
        assert_eq!(std::fs::read(&self.outside).unwrap(), b"content", "{what}");
    }
}

fn remove(path: &Path) {
    store::remove_tree(path).unwrap();
}

/// Whatever stands in the place of a blob or a result is refused, found by `fsck`, and then made again.
#[test]
fn only_regular_files_are_blobs_and_results() {
    for (object, put) in OBJECTS {
        for kind in ["cas/sha256", "cas/sha256-x", "ac"] {
            let what = format!("a {object} in {kind}");
            let place = Place::new();
            let digest = if kind == "ac" { place.action } else { place.blob };
            let path = place.below(kind, &digest);
            for by_fsck in [false, true] {
                remove(&path);
                put(&path, &place.outside);
                let (root, blob, action) = (place.root.clone(), place.blob, place.action);
                let found = in_time(&what, move || {
                    let store = Store::open(&root).unwrap();
                    if by_fsck {
                        return Some(store.examine(&Silent).unwrap());
                    }
                    let _ = store.result(&action).unwrap();
                    let _ = store.contains(&blob);
                    let _ = store.read(&blob);
                    let _ = store.blob_path(&blob, true);
                    let _ = store.usage().unwrap();
                    None
                });
                if let Some(examined) = found {
                    let name = path.strip_prefix(&place.root).unwrap().display().to_string();
                    assert_eq!(examined.foreign, [name], "{what}");
                }
                place.assert_outside_is_untouched(&what);
                // Made again, it is there.
                let store = Store::open(&place.root).unwrap();
                store.put_bytes(b"content").unwrap();
                let outputs =
                    tree(&store, &[("file", "content"), ("run.sh", "content")]).write(&store).unwrap();
                let action = Action::named(["test"]).write(&store).unwrap();
                store.put_result(&action, &ActionResult { outputs, log: None }).unwrap();
                assert!(store.result(&place.action).unwrap().is_some(), "{what}");
                assert_eq!(store.read(&place.blob).unwrap(), b"content", "{what}");
                store.blob_path(&place.blob, true).unwrap();
                let examined = store.examine(&Silent).unwrap();
                assert!(examined.is_sound(), "{what}: {examined:?}");
            }
        }
    }
}

/// A directory of the store that is a link would let the store change what is elsewhere.
#[test]
fn a_shelf_is_no_link() {
    for kind in ["cas/sha256", "ac"] {
        let place = Place::new();
        let digest = if kind == "ac" { place.action } else { place.blob };
        let shelf = place.below(kind, &digest).parent().unwrap().to_owned();
        let elsewhere = place.root.with_file_name("elsewhere");
        std::fs::rename(&shelf, &elsewhere).unwrap();
        symlink(&elsewhere, &shelf).unwrap();
        let file = elsewhere.join(digest.hex());
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let store = Store::open(&place.root).unwrap();
        let _ = store.contains(&place.blob);
        let examined = store.examine(&Silent).unwrap();
        assert_eq!(examined.foreign, [shelf.strip_prefix(&place.root).unwrap().display().to_string()]);
        store.collect_garbage(&[], false, &Silent).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{kind}");
    }
}

/// Each of the store's own files and directories, in turn: an error that names it or none, never a hang, and nothing outside
/// is changed.
#[test]
fn the_stores_own_files_are_regular_too() {
    let names = [
        "version",
        "lock",
        "incomplete",
        "damaged",
        "damaged.handled",
        "hashed",
        "quarantine",
        "locks",
        "known",
        "roots/x",
        "tmp/x.lock",
        "tmp/x",
        "locks/work",
        "cas",
        "cas/sha256",
        "cas/sha256-x",
        "ac",
        "roots",
        "checkouts",
        "tmp",
        "downloads",
    ];
    for name in names {
        for (object, put) in OBJECTS {
            let what = format!("a {object} in place of {name}");
            let place = Place::new();
            let path = place.root.join(name);
            remove(&path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            put(&path, &place.outside);
            let (root, outside) = (place.root.clone(), place.outside.clone());
            let result = in_time(&what, move || -> anyhow::Result<()> {
                let store = Store::open(&root)?.with_rehash(store::Rehash::Always);
                let blob = store.put_bytes(b"content")?;
                let path = store.blob_path(&blob, false)?;
                drop(store.lock_work("work", "the test", &Silent)?);
                store.known_digest(&outside)?;
                std::fs::set_permissions(&path, Permissions::from_mode(0o644))?;
                std::fs::write(&path, "c0ntent")?;
                assert!(store.read(&blob).is_err());
                store.examine(&Silent)?;
                store.collect_garbage(&[], true, &Silent)?;
                store.collect_garbage(&[], false, &Silent)?;
                store.usage()?;
                Ok(())
            });
            place.assert_outside_is_untouched(&what);
            if let Err(error) = result {
                let error = format!("{error:#}");
                let first = name.split(['/', '.']).next().unwrap();
                assert!(error.contains(first), "{what}: {error}");
            }
        }
    }
}

/// `fsck` brings a store back to work whose `quarantine` is a file.
#[test]
fn quarantine_can_be_anything() {
    for (object, put) in OBJECTS {
        let place = Place::new();
        put(&place.root.join("quarantine"), &place.outside);
        let path = place.below("cas/sha256", &place.blob);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&path, "c0ntent").unwrap();
        let store = Store::open(&place.root).unwrap();
        let examined = store.examine(&Silent).unwrap();
        assert_eq!(examined.damaged, [place.blob.hex()], "{object}");
        assert_eq!(examined.foreign.is_empty(), object == "directory", "{object}");
        assert!(store.examine(&Silent).unwrap().is_sound(), "{object}");
        place.assert_outside_is_untouched(object);
    }
}

/// A file of eight terabytes with nothing in it.
#[test]
fn absurd_sizes_are_not_read() {
    let place = Place::new();
    for path in [place.below("cas/sha256", &place.blob), place.below("ac", &place.action)] {
        remove(&path);
        std::fs::File::create(&path).unwrap().set_len(8 << 40).unwrap();
    }
    let (root, blob, action) = (place.root.clone(), place.blob, place.action);
    in_time("a lookup", move || {
        let store = Store::open(&root).unwrap();
        assert_eq!(store.result(&action).unwrap(), None);
        assert!(!store.contains(&blob));
    });
}

//! What builds leave behind: depth without end, modes that keep their owner out, sizes that no disk has.

use crate::{adversity, tree};
use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, mkdirat, openat},
};
use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use store::{Digest, Entry, Reference, Silent, Store, Tree, remove_tree};

/// Directories below each other, each beside a file.
fn nest(place: &Path, levels: usize) {
    std::fs::create_dir(place).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut inner: OwnedFd = openat(CWD, place, flags, Mode::empty()).unwrap();
    for level in 0..levels {
        mkdirat(&inner, "d", Mode::from_raw_mode(0o755)).unwrap();
        if level % 1000 == 0 {
            openat(&inner, "file", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap();
        }
        inner = openat(&inner, "d", flags, Mode::empty()).unwrap();
    }
}

/// A hundred thousand levels, as a process with a stack of 256 KiB, on the main thread and on others.
#[test]
fn depth_costs_no_stack() {
    if let Some(root) = adversity::child_store() {
        return with_small_stack(&root);
    }
    // In memory where that goes: a disk takes minutes for so many directories.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = tempfile::tempdir_in(place).unwrap();
    let root = directory.path().join("store");
    let output = Command::new("sh")
        .args(["-c", "ulimit -s 256 && ulimit -n 64 && exec \"$0\" --exact hostile::depth_costs_no_stack --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .env(adversity::CHILD, &root)
        .env("RUST_MIN_STACK", "262144")
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .unwrap();
    adversity::assert_passed(&output);
    assert!(!std::fs::exists(root.join("tmp/process-dead")).unwrap());
}

fn with_small_stack(root: &Path) {
    // What a process left that was killed.
    let left = root.join("tmp/process-dead");
    drop(Store::open(root).unwrap());
    nest(&left, 100_000);
    std::fs::write(left.with_extension("lock"), "").unwrap();
    let store = Store::open(root).unwrap();
    assert!(!left.exists());
    // What this process removes itself, and refuses to import.
    let scratch = store.scratch().unwrap();
    let place = scratch.path().join("work");
    nest(&place, 30_000);
    for error in [store.import(&place).unwrap_err(), store.import_outputs(&place, None).unwrap_err()] {
        assert!(error.to_string().contains("256 components"), "{error}");
    }
    drop(scratch);
    assert!(!place.exists());
    // What stands in the store itself.
    nest(&root.join("cas/sha256/deep"), 10_000);
    nest(&root.join("quarantine"), 10_000);
    let examined = store.examine(&Silent).unwrap();
    assert_eq!(examined.foreign, ["cas/sha256/deep"]);
    store.collect_garbage(&[], false, &Silent).unwrap();
    // The deepest tree that there is, and as wide as it goes.
    let mut deep = Tree::new();
    let digest = store.put_bytes(b"x").unwrap();
    for level in 0..256 {
        deep.insert(&format!("{}f", "d/".repeat(level)), Entry::File { digest, executable: level % 2 == 0 })
            .unwrap();
    }
    let digest = deep.write(&store).unwrap();
    assert_eq!(deep.digest().unwrap(), digest);
    assert_eq!(Tree::read(&store, &digest).unwrap(), deep);
    store.nar_hash(&deep).unwrap();
    let laid_out = store.checkout(&digest, &Silent).unwrap();
    assert_eq!(store.import(&laid_out).unwrap(), deep);
    store.collect_garbage(&[Reference::Tree(digest)], false, &Silent).unwrap();
    assert!(store.examine(&Silent).unwrap().is_sound());
}

/// As an ordinary user: root may do everything with every mode.
#[test]
fn modes_keep_nothing_from_being_removed() {
    if let Some(root) = adversity::child_store() {
        return as_ordinary_user(&root);
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return as_ordinary_user(&directory.path().join("store"));
    }
    let binary = directory.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(binary)
        .args(["--exact", "hostile::modes_keep_nothing_from_being_removed"])
        .env(adversity::CHILD, directory.path().join("store"))
        .output()
        .unwrap();
    adversity::assert_passed(&output);
}

fn lock_out(place: &Path) {
    for (path, mode) in [("read-only/inner", 0o555), ("nothing/inner", 0o000), ("mixed/inner", 0o311)] {
        let path = place.join(path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("file"), "text").unwrap();
        std::fs::set_permissions(path.join("file"), Permissions::from_mode(0o000)).unwrap();
        for path in [path.as_path(), path.parent().unwrap()] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
    }
    std::os::unix::fs::symlink("/", place.join("link")).unwrap();
}

fn as_ordinary_user(root: &Path) {
    assert_ne!(std::fs::metadata("/proc/self").unwrap().uid(), 0);
    drop(Store::open(root).unwrap());
    // Left by a process that died.
    let left = root.join("tmp/process-dead");
    std::fs::create_dir(&left).unwrap();
    lock_out(&left);
    std::fs::set_permissions(&left, Permissions::from_mode(0o000)).unwrap();
    std::fs::write(left.with_extension("lock"), "").unwrap();
    let store = Store::open(root).unwrap();
    assert!(!left.exists() && !left.with_extension("lock").exists());
    // Younger than the time that an owner has to make its lock: `gc` has the store alone, and need not wait.
    std::fs::create_dir(&left).unwrap();
    lock_out(&left);
    assert_eq!(store.collect_garbage(&[], false, &Silent).unwrap().temporary, 1);
    assert!(!left.exists());
    // A build's own.
    let scratch = store.scratch().unwrap();
    let [work, out] = ["work", "out"].map(|name| scratch.path().join(name));
    for place in [&work, &out] {
        std::fs::create_dir(place).unwrap();
        lock_out(place);
    }
    let outputs = store.import_outputs(&out, None).unwrap();
    let digest = Digest::of(b"text");
    assert_eq!(outputs.get("nothing/inner/file"), Some(&Entry::File { digest, executable: false }));
    let path = scratch.path().to_owned();
    drop(scratch);
    assert!(!path.exists());
    // The links that were removed led somewhere.
    assert!(Path::new("/usr").exists());
    let error = remove_tree(Path::new("/proc/self/fdinfo")).unwrap_err();
    assert!(!error.to_string().is_empty());
}

#[test]
fn what_is_there_under_any_name_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    // Names that the removal gives itself.
    for name in ["r0/r0/r0", "r0/r1", "r1/r0/x", "rr0/a", "r2"] {
        std::fs::create_dir_all(place.join(name)).unwrap();
    }
    std::fs::write(place.join("r3"), "").unwrap();
    remove_tree(&place).unwrap();
    assert!(!place.exists());
    remove_tree(&place).unwrap();
    std::fs::write(&place, "").unwrap();
    remove_tree(&place).unwrap();
    assert!(!place.exists());
}

/// `truncate -s 8T out/huge`: asked about before it is hashed.
#[test]
fn outputs_that_no_disk_holds_are_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let out = directory.path().join("out");
    std::fs::create_dir_all(out.join("lib")).unwrap();
    std::fs::write(out.join("lib/small"), "small").unwrap();
    std::fs::File::create(out.join("lib/huge")).unwrap().set_len(8 << 40).unwrap();
    let start = Instant::now();
    let error = store.import_outputs(&out, None).unwrap_err();
    assert_eq!(store::hints(&error).count(), 1, "{error}");
    let error = error.to_string();
    assert!(start.elapsed() < Duration::from_secs(5));
    for expected in ["too large to keep: 8796 GB", "`lib/huge` has 8796 GB"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // A limit is asked about before the disk.
    let error = store.import_outputs(&out, Some(1 << 20)).unwrap_err().to_string();
    assert!(error.contains("of which `lib/huge` has 8796 GB; the limit `outputs` is 1 MB"), "{error}");
    // One that fits keeps its holes.
    std::fs::File::options().write(true).open(out.join("lib/huge")).unwrap().set_len(64 << 20).unwrap();
    let outputs = store.import_outputs(&out, None).unwrap();
    let Some(Entry::File { digest, .. }) = outputs.get("lib/huge") else { panic!("{outputs:?}") };
    let used = |path: &Path| std::fs::metadata(path).unwrap().blocks() * 512;
    assert!(used(&store.blob_path(digest, false).unwrap()) < 1 << 20);
    assert!(used(&store.blob_path(digest, true).unwrap()) < 1 << 20);
    let copy = directory.path().join("copy");
    store.materialise(&outputs, &copy).unwrap();
    assert!(used(&copy.join("lib/huge")) < 1 << 20);
    assert_eq!(store.import(&copy).unwrap(), outputs);
}

/// What comes as a stream, from a container engine say, is as sparse as it was.
#[test]
fn zeros_that_are_written_become_holes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    for (before, zeros, behind) in
        [(0, 64 << 20, 0), (5, 64 << 20, 7), (1 << 20, 64 << 20, 0), (0, 100, 0), (0, 0, 3)]
    {
        let content = [vec![1; before], vec![0; zeros], vec![2; behind]].concat();
        let mut writer = store.writer().unwrap();
        std::io::copy(&mut content.as_slice(), &mut writer).unwrap();
        let digest = writer.finish(None).unwrap();
        assert_eq!(digest, Digest::of(&content));
        assert!(store.read(&digest).unwrap() == content, "{before} {zeros} {behind}");
        let used = std::fs::metadata(store.blob_path(&digest, false).unwrap()).unwrap().blocks() * 512;
        assert!(used < (2 << 20), "{before} {zeros} {behind}: {used}");
    }
}

/// What users get they may write to, also as root, whom a mode of 0444 does not stop.
#[test]
fn copies_and_exports_share_no_file_with_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let files = tree(&store, &[("a", "content"), ("run.sh", "content")]);
    let root = files.write(&store).unwrap();
    let [copy, export] = ["copy", "export"].map(|name| directory.path().join(name));
    store.materialise(&files, &copy).unwrap();
    store.export(&root, &export).unwrap();
    for path in [copy.join("a"), copy.join("run.sh"), export.join("a"), export.join("run.sh")] {
        assert_eq!(std::fs::metadata(&path).unwrap().nlink(), 1);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&path, "c0ntent").unwrap();
    }
    assert!(store.examine(&Silent).unwrap().is_sound());
}

/// Everything that `stat` tells of everything in a directory, access times aside.
fn snapshot(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        found.push(format!(
            "{} {} {} {:o} {}.{}",
            path.display(),
            metadata.ino(),
            metadata.len(),
            metadata.mode(),
            metadata.ctime(),
            metadata.ctime_nsec()
        ));
        if metadata.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

#[test]
fn looking_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Store::open(&root).unwrap();
    let good = tree(&store, &[("good", "good"), ("bad", "bad")]).write(&store).unwrap();
    let action = store::Action::named(["test"]).write(&store).unwrap();
    store.put_result(&action, &store::ActionResult { outputs: good, log: None }).unwrap();
    std::fs::create_dir(root.join("tmp/process-dead")).unwrap();
    std::fs::write(root.join("tmp/process-dead.lock"), "").unwrap();
    std::fs::remove_file(store.blob_path(&Digest::of(b"bad"), false).unwrap()).unwrap();
    let touched = store.blob_path(&Digest::of(b"good"), false).unwrap();
    drop(store);
    std::fs::set_permissions(&touched, Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&touched, "g00d").unwrap();
    let before = snapshot(&root);
    let store = Store::look(&root).unwrap();
    let would = store.collect_garbage(&[Reference::Action(action)], true, &Silent).unwrap();
    assert_eq!((would.results, would.blobs), (0, 0));
    let would = store.collect_garbage(&[], true, &Silent).unwrap();
    // A file, its directory, the same as one `Tree` message, the action and its command.
    assert_eq!((would.results, would.blobs), (1, 5));
    store.usage().unwrap();
    store.result(&action).unwrap();
    for text in ["good", "bad"] {
        assert!(!store.contains(&Digest::of(text.as_bytes())));
        assert!(store.read(&Digest::of(text.as_bytes())).is_err());
    }
    for error in [
        store.put_bytes(b"new").unwrap_err(),
        store.examine(&Silent).unwrap_err(),
        store.collect_garbage(&[], false, &Silent).unwrap_err(),
        store.scratch().unwrap_err(),
    ] {
        assert!(format!("{error:#}").contains("only to look"), "{error:#}");
    }
    drop(store);
    assert_eq!(snapshot(&root), before);

    // Where there is no store, none is made.
    let none = directory.path().join("none");
    let store = Store::look(&none).unwrap();
    assert_eq!(store.collect_garbage(&[], true, &Silent).unwrap(), store::Collected::default());
    assert!(store.usage().unwrap().kinds.values().all(|(number, _)| *number == 0));
    drop(store);
    assert!(!none.exists());
}

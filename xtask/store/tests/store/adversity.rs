//! Killed processes, a full disk, a store that may not be written, garbage collected while others write.

use crate::tree;
use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};
use store::{Action, ActionResult, Digest, Meter, Progress, Silent, Store, Tree, Unit};

/// Tells this test binary, run again as a child, where the store is.
pub const CHILD: &str = "STORE_TEST_CHILD";

/// The store that this process is to use as a child of a test, if it is one.
pub fn child_store() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}

/// Runs one test of this binary as another process.
fn child(test: &str, store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("adversity::{test}")])
        .env(CHILD, store)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

pub fn assert_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

/// What a killed process leaves is swept, and every result that is there is whole.
#[test]
fn a_process_killed_at_any_moment_does_no_harm() {
    if let Some(root) = child_store() {
        import_for_ever(&root);
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let mut left_behind = 0;
    for round in 0.. {
        let mut child = child("a_process_killed_at_any_moment_does_no_harm", &root);
        std::thread::sleep(Duration::from_millis(40 + round * 11));
        child.kill().unwrap();
        child.wait().unwrap();
        left_behind += std::fs::read_dir(root.join("tmp")).map_or(0, Iterator::count);
        // On a busy machine it takes longer until a child comes to write a result.
        if round >= 16 && Store::open(&root).unwrap().usage().unwrap().kinds["results"].0 > 0 {
            break;
        }
    }
    assert!(left_behind > 0, "no child was killed while it wrote");
    let store = Store::open(&root).unwrap();
    let left = std::fs::read_dir(root.join("tmp")).unwrap().count();
    assert_eq!(left, 2, "only this process' directory and lock");
    assert!(!root.join("incomplete").exists());
    let examined = store.examine(&Silent).unwrap();
    assert!(examined.damaged.is_empty() && examined.incomplete.is_empty(), "{examined:?}");
}

fn import_for_ever(root: &Path) -> ! {
    let store = Store::open(root).unwrap();
    for number in 0.. {
        let text = format!("{number} {}", std::process::id()).repeat(2000);
        let scratch = store.scratch().unwrap();
        std::fs::create_dir(scratch.path().join("many")).unwrap();
        for file in 0..20 {
            std::fs::write(scratch.path().join(format!("many/{file}")), format!("{file} {text}")).unwrap();
        }
        // Over the size up to which files go through memory.
        std::fs::write(scratch.path().join("big"), text.repeat(100)).unwrap();
        std::fs::set_permissions(scratch.path().join("big"), Permissions::from_mode(0o755)).unwrap();
        let outputs = store.import(scratch.path()).unwrap().write(&store).unwrap();
        let action = Action::named([text]).write(&store).unwrap();
        store.put_result(&action, &ActionResult { outputs, log: None }).unwrap();
        store.checkout(&outputs, &Silent).unwrap();
    }
    unreachable!()
}

/// Each result is whole as long as its writer has the store open, and is collected exactly once.
#[test]
fn garbage_is_never_collected_from_under_a_writer() {
    const ROUNDS: u64 = 25;
    if let Some(root) = child_store() {
        return write_and_check(&root, ROUNDS);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut writers =
        [(); 2].map(|()| child("garbage_is_never_collected_from_under_a_writer", directory.path()));
    let (mut results, mut blobs) = (0, 0);
    loop {
        let done = writers.iter_mut().all(|writer| writer.try_wait().unwrap().is_some());
        let store = Store::open(directory.path()).unwrap();
        let collected = store.collect_garbage(&[], false, &Silent).unwrap();
        (results, blobs) = (results + collected.results, blobs + collected.blobs);
        if done {
            break;
        }
    }
    assert!(writers.iter_mut().all(|writer| writer.wait().unwrap().success()));
    assert_eq!(results, 2 * ROUNDS);
    assert!(blobs > results);
    let kinds = Store::open(directory.path()).unwrap().usage().unwrap().kinds;
    assert!(kinds.values().all(|(number, _)| *number == 0), "{kinds:?}");
}

fn write_and_check(root: &Path, rounds: u64) {
    for number in 0..rounds {
        let store = Store::open(root).unwrap();
        let text = format!("{number} {}", std::process::id());
        // The second file is the same in both writers.
        let tree = tree(&store, &[("a", &text), ("b/c.sh", "same")]);
        let outputs = tree.write(&store).unwrap();
        let action = Action::named([text]).write(&store).unwrap();
        store.put_result(&action, &ActionResult { outputs, log: None }).unwrap();
        let place = store.checkout(&outputs, &Silent).unwrap();
        assert_eq!(store.import(&place).unwrap(), tree);
        assert_eq!(store.result(&action).unwrap().unwrap().outputs, outputs);
        assert_eq!(Tree::read(&store, &outputs).unwrap(), tree);
    }
}

/// Passes on what the user would be told.
pub struct Notes(pub mpsc::Sender<String>);

impl Progress for Notes {
    fn begin(&self, label: &str, total: u64, unit: Unit) -> Box<dyn Meter> {
        Silent.begin(label, total, unit)
    }
    fn note(&self, message: &str) {
        self.0.send(message.to_owned()).unwrap();
    }
}

#[test]
fn collecting_garbage_waits_for_others_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let other = Store::open(directory.path()).unwrap();
    other.put_bytes(b"in use").unwrap();
    let (notes, said) = mpsc::channel();
    std::thread::scope(|scope| {
        let collecting = scope.spawn(move || {
            let store = Store::open(directory.path()).unwrap();
            store.collect_garbage(&[], false, &Notes(notes)).unwrap()
        });
        let note = said.recv_timeout(Duration::from_secs(60)).unwrap();
        let this = format!("waiting for process {} to finish", std::process::id());
        assert!(note.starts_with(&this), "{note}");
        assert!(other.contains(&Digest::of(b"in use")));
        assert!(!collecting.is_finished());
        drop(other);
        assert_eq!(collecting.join().unwrap().blobs, 1);
    });
}

/// In a mount namespace, with a small file system of its own.
#[test]
fn a_full_disk_is_explained_and_nothing_half_written_stays() {
    if let Some(root) = child_store() {
        return fill(&root);
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=6m tmpfs \"$1\" && exec \"$2\" --exact \"$3\"";
    let user = match std::fs::metadata("/proc/self").unwrap().uid() {
        0 => [].as_slice(),
        _ => &["--user", "--map-root-user"],
    };
    let output = Command::new("unshare")
        .args(user)
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .arg("adversity::a_full_disk_is_explained_and_nothing_half_written_stays")
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    assert_passed(&output);
}

fn fill(root: &Path) {
    use std::io::Write;
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), vec![1; 10_000_000]).unwrap();
    let store = Store::open(root).unwrap();
    let mut errors =
        vec![store.put_file(source.path()).unwrap_err(), store.put_bytes(&vec![2; 10_000_000]).unwrap_err()];
    let mut writer = store.writer().unwrap();
    errors.push(writer.write_all(&vec![3; 10_000_000]).unwrap_err().into());
    drop(writer);
    for error in errors {
        let error = store::full_text(&error);
        for expected in ["cannot write to the store at", "MB free", "store gc", "No space left"] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
    assert_eq!(store.usage().unwrap().kinds["blobs"], (0, 0));
    // What was half written has made room again.
    let small = store.put_bytes(&vec![4; 4_000_000]).unwrap();
    assert!(store.contains(&small));
}

/// As an ordinary user; root may write everywhere.
#[test]
fn a_store_that_may_not_be_written_is_explained() {
    if let Some(root) = child_store() {
        return refuse(&root);
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    drop(Store::open(&root).unwrap());
    for path in [directory.path(), &root] {
        std::fs::set_permissions(path, Permissions::from_mode(0o555)).unwrap();
    }
    let owner = std::fs::metadata("/proc/self").unwrap().uid();
    if owner != 0 {
        refuse(&root);
    } else {
        // The ordinary user may not be able to reach this binary where it is.
        let binary = directory.path().join("test");
        std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(binary)
            .args(["--exact", "adversity::a_store_that_may_not_be_written_is_explained"])
            .env(CHILD, &root)
            .output()
            .unwrap();
        assert_passed(&output);
    }
    for path in [directory.path(), &root] {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
}

fn refuse(root: &Path) {
    assert_ne!(std::fs::metadata("/proc/self").unwrap().uid(), 0);
    for place in [root.to_owned(), root.with_file_name("new")] {
        let error = store::full_text(&Store::open(&place).err().unwrap());
        for expected in ["cannot use", "as a store", "it must be a directory that you may write to"] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}

#[test]
fn what_nix_imported_goes_though_its_directories_may_not_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let inner = store.root().join("nix/nix/store/environment/usr");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("file"), "x").unwrap();
    std::os::unix::fs::symlink("/", inner.join("link")).unwrap();
    for path in [&inner, inner.parent().unwrap()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    store.collect_garbage(&[], true, &Silent).unwrap();
    assert!(inner.exists());
    store.collect_garbage(&[], false, &Silent).unwrap();
    assert!(!store.root().join("nix").exists() && std::path::Path::new("/usr").exists());
}

//! Killed processes, processes at the same time, wrong hashes, full disks: a right result or a clear error.

use crate::{
    project::{Project, TARGET, outputs, shared_store, text},
    wait::{is_running, until},
};
use std::{
    fs::Permissions,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};
use store::Digest;

#[test]
fn a_build_killed_at_any_moment_is_built_right_the_next_time() {
    let project = Project::new();
    project.recipe("slow", "", "for i in $(seq 40); do echo $i; sleep 0.01; done > /build/out/numbers\n");
    for round in 0..6 {
        let mut child = project
            .command(&shared_store(), &["build", "slow"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(30 + round * 60));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = project.run(&["build", "slow", "-o", "copy"]);
    assert!(output.status.success(), "{}", text(&output));
    let numbers = project.directory.path().join(format!("copy/slow-1-{TARGET}/numbers"));
    assert_eq!(std::fs::read_to_string(numbers).unwrap().lines().count(), 40);
}

#[test]
fn an_output_that_is_there_is_refused_before_anything_is_built() {
    let project = Project::new();
    project.recipe("hello", "", "echo hello > /build/out/x\n");
    let taken = format!("copy/hello-1-{TARGET}");
    std::fs::create_dir_all(project.directory.path().join(&taken)).unwrap();
    let output = project.run(&["build", "hello", "-o", "copy"]);
    assert!(!output.status.success());
    assert_eq!(
        text(&output),
        format!("error: {taken} exists already\n  hint: remove it, or give another `--output`\n")
    );
}

#[test]
fn a_reader_that_went_away_ends_the_program_quietly() {
    let project = Project::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = project
        .command(&shared_store(), &["environment", "list"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(141), ""));
}

#[test]
fn a_build_goes_on_when_nobody_reads_how_it_goes() {
    let project = Project::new();
    project.recipe("unseen", "", "echo x > /build/out/x\n");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = project
        .command(&shared_store(), &["--verbose", "build", "unseen", "-o", "copy"])
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    until("it ends", Duration::from_secs(120), || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    assert!(project.directory.path().join(format!("copy/unseen-1-{TARGET}/x")).exists());
}

#[test]
fn two_builds_at_once_do_the_work_once() {
    let project = Project::new();
    // The time makes every run of this test an action of its own.
    let script = format!("# {:?}\nsleep 1; echo x > /build/out/x\n", std::time::SystemTime::now());
    project.recipe("once", "", &script);
    let said: String = project.run_at_once(2, &["build", "once"]).iter().map(text).collect();
    assert_eq!(said.matches("built once@").count(), 1, "{said}");
    assert_eq!(said.matches("cached once@").count(), 1, "{said}");
}

#[test]
fn a_lock_with_a_wrong_hash_builds_nothing() {
    let project = Project::new();
    project.recipe("hello", "", "echo hello > /build/out/x\n");
    let path = project.directory.path().join("containers/sandbox.lock");
    let lock = std::fs::read_to_string(&path).unwrap();
    let at = lock.find("sha256 = \"").unwrap() + 10;
    let wrong = format!("{}{}{}", &lock[..at], "0".repeat(64), &lock[at + 64..]);
    std::fs::write(&path, wrong).unwrap();
    let store = tempfile::tempdir().unwrap();
    let output = project.command(store.path(), &["build", "hello"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("not that of the lock"), "{}", text(&output));
}

/// Runs `xtask` in `project` after `prepare`, a shell script, in a mount namespace of its own. It finds the store's
/// directory in `$1`.
fn run_with_mounts(project: &Project, store: &Path, prepare: &str, arguments: &[&str]) -> Output {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let user = if is_root { [].as_slice() } else { &["--user", "--map-root-user"] };
    Command::new("unshare")
        .args(user)
        .args(["--mount", "sh", "-ec", &format!("{prepare}; shift; exec \"$@\""), "sh"])
        .arg(store)
        .arg(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .current_dir(project.directory.path())
        .env("MLC_REPRO_STORE", store)
        .output()
        .unwrap()
}

#[test]
fn a_full_disk_is_explained_and_the_build_goes_on_when_there_is_room() {
    let project = Project::new();
    project.recipe("hello", "", "echo hello > /build/out/x\n");
    let vendored = project.directory.path().join("vendored");
    let vendored = vendored.to_str().unwrap();
    let vendor = project.run(&["vendor", vendored]);
    assert!(vendor.status.success(), "{}", text(&vendor));

    let store = tempfile::tempdir().unwrap();
    let arguments = ["build", "hello", "--offline", "--vendored", vendored];
    // What is left on the small disk is copied to a large one: a disk that was made larger.
    let kept = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=16m tmpfs \"$1\"; store=$1; shift; \"$@\" && exit 9; cp -a \"$store\"/. '{}'; exit 1",
        kept.path().display()
    );
    let full = run_with_mounts(&project, store.path(), &script, &arguments);
    let said = text(&full);
    assert_eq!(full.status.code(), Some(1), "{said}");
    for expected in ["cannot write to the store at", "MB free", "`cargo xtask store gc`", "No space left"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let built = project.command(kept.path(), &arguments).output().unwrap();
    assert!(built.status.success(), "{}", text(&built));
}

#[test]
fn a_store_on_a_read_only_disk_is_explained() {
    let project = Project::new();
    project.recipe("hello", "", "echo hello > /build/out/x\n");
    let store = tempfile::tempdir().unwrap();
    let output =
        run_with_mounts(&project, store.path(), "mount -t tmpfs -o ro tmpfs \"$1\"", &["build", "hello"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot use {} as a store", store.path().display())), "{said}");
    assert!(said.contains("it must be a directory that you may write to"), "{said}");
}

#[test]
fn two_releases_at_once_make_the_same_one() {
    let project = Project::new();
    let script = format!(
        "# {:?}\nmkdir /build/out/{{lib,licenses}}; sleep 0.5; echo data > /build/out/lib/data; echo MIT > /build/out/licenses/LICENSE\n",
        std::time::SystemTime::now()
    );
    project.recipe("thing", "", &script);
    project.release("small", "thing");
    let mut built = 0;
    for output in project.run_at_once(3, &["release", "small"]) {
        assert!(output.status.success(), "{}", text(&output));
        built += text(&output).matches("built thing@").count();
    }
    assert_eq!(built, 1);
    let verified = project.run(&["verify", "dist/small"]);
    assert!(verified.status.success(), "{}", text(&verified));
    let left = std::fs::read_dir(project.directory.path().join("dist")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter().all(|name| name == "small" || name == ".lock"),
        "something was left beside the release"
    );
}

#[test]
fn a_damaged_output_is_found_and_built_again() {
    let project = Project::new();
    let seed = format!("{:?}", std::time::SystemTime::now());
    project.recipe("hello", "", &format!("# {seed}\necho hello > /build/out/x\n"));
    let store = tempfile::tempdir().unwrap();
    let vendored = project.directory.path().join("vendored");
    let vendored = vendored.to_str().unwrap();
    assert!(project.run(&["vendor", vendored]).status.success());
    let arguments = ["build", "hello", "--json", "--offline", "--vendored", vendored];
    let first = outputs(&project.command(store.path(), &arguments).output().unwrap());
    let hello = Digest::of(b"hello\n").hex();
    let blob = store.path().join(format!("cas/sha256/{}/{hello}", &hello[..2]));
    std::fs::set_permissions(&blob, Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&blob, "jello\n").unwrap();
    let arguments = [&arguments[..], &["-o", "copy"]].concat();
    let found = project.command(store.path(), &arguments).output().unwrap();
    assert_eq!(found.status.code(), Some(1));
    for expected in ["was damaged, and is in quarantine now", "hint: run the command again"] {
        assert!(text(&found).contains(expected), "{}", text(&found));
    }
    let healed = project.command(store.path(), &arguments).output().unwrap();
    assert_eq!(outputs(&healed), first);
    assert!(text(&healed).contains("built hello@"), "{}", text(&healed));
    let copy = project.directory.path().join(format!("copy/hello-1-{TARGET}/x"));
    assert_eq!(std::fs::read_to_string(copy).unwrap(), "hello\n");
}

/// How long a build may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_interrupted_build_leaves_no_process_and_no_result() {
    let project = Project::new();
    let marker = format!("600.{}", std::process::id());
    project.recipe("long", "", &format!("sleep {marker} & wait; echo x > /build/out/x\n"));
    // Who runs the tests may ignore SIGINT, as a shell does for what is in its background; a terminal's programs do not.
    let child = Command::new("env")
        .args(["--default-signal=INT", env!("CARGO_BIN_EXE_xtask"), "build", "long"])
        .current_dir(project.directory.path())
        .env("MLC_REPRO_STORE", shared_store())
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the build runs", PATIENCE, || is_running(&marker));
    // As a terminal does on Ctrl-C: to the whole group.
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(text(&output).contains("interrupted: what was complete is kept"), "{}", text(&output));
    until("the build's processes have ended", PATIENCE, || !is_running(&marker));
    project.recipe("long", "", "echo x > /build/out/x\n");
    let built = project.run(&["build", "long"]);
    assert!(built.status.success(), "{}", text(&built));
}

#[test]
fn collecting_garbage_keeps_what_a_release_needs() {
    let project = Project::new();
    let script =
        "mkdir /build/out/licenses; echo data > /build/out/data; echo MIT > /build/out/licenses/LICENSE\n";
    project.recipe("thing", "", script);
    project.recipe("garbage", "", "head -c 1000000 /dev/zero > /build/out/garbage\n");
    project.release("small", "thing");
    let vendored = project.directory.path().join("vendored");
    assert!(project.run(&["vendor", vendored.to_str().unwrap()]).status.success());
    let store = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let offline: &[&str] = match arguments[0] {
            "store" => &[],
            _ => &["--offline", "--vendored", vendored.to_str().unwrap()],
        };
        let output = project.command(store.path(), &[offline, arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    run(&["build", "garbage"]);
    run(&["release", "small"]);
    std::fs::remove_dir_all(&vendored).unwrap();
    std::fs::create_dir(&vendored).unwrap();
    let collected = run(&["store", "gc"]);
    assert!(collected.contains("removed") && !collected.contains("removed 0 blobs"), "{collected}");
    let kept = run(&["release", "small"]);
    assert!(kept.contains("is up to date") && !kept.contains("built "), "{kept}");
    std::fs::remove_dir_all(project.directory.path().join("dist")).unwrap();
    let again = run(&["release", "small"]);
    assert!(again.contains("is written") && !again.contains("built "), "{again}");
    assert!(run(&["store", "fsck"]).contains("blobs hashed"));
}

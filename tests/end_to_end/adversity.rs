//! Killed processes, processes at the same time, wrong hashes, full disks: a right result or a clear error.

use crate::project::{Project, TARGET, shared_store, text};
use std::{process::Stdio, time::Duration};

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
fn two_builds_at_once_do_the_work_once() {
    let project = Project::new();
    // The time makes every run of this test an action of its own.
    let script = format!("# {:?}\nsleep 1; echo x > /build/out/x\n", std::time::SystemTime::now());
    project.recipe("once", "", &script);
    let children: Vec<_> = (0..2)
        .map(|_| {
            project
                .command(&shared_store(), &["build", "once"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let said: String = children.into_iter().map(|child| text(&child.wait_with_output().unwrap())).collect();
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

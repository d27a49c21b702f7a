//! Who holds what others wait for.

use crate::adversity::{self, Notes};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};
use store::{Silent, Store};

const LONG: Duration = Duration::from_secs(60);

/// Another process that holds the lock `work` until it is killed.
fn holder(root: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "waiting::who_holds_a_lock_is_named", "--nocapture"])
        .env(adversity::CHILD, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().contains("held")));
    child
}

fn send(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

#[test]
fn who_holds_a_lock_is_named() {
    if let Some(root) = adversity::child_store() {
        let store = Store::open(&root).unwrap();
        let _held = store.lock_work("work", "llvm@x86_64-unknown-linux-gnu", &Silent).unwrap();
        println!("held");
        std::thread::sleep(Duration::from_secs(1000));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut child = holder(directory.path());
    let (notes, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let store = Store::open(directory.path()).unwrap();
        let waiting = scope.spawn(move || drop(store.lock_work("work", "the same", &Notes(notes)).unwrap()));
        let first = told.recv_timeout(LONG).unwrap();
        let expected = format!("waiting for process {} to finish llvm@x86_64-unknown-linux-gnu", child.id());
        assert_eq!(first, expected);
        send(&child, rustix::process::Signal::STOP);
        let second = told.recv_timeout(LONG).unwrap();
        assert!(second.starts_with(&format!("process {} is stopped", child.id())), "{second}");
        assert!(
            second.contains("llvm@x86_64-unknown-linux-gnu") && second.contains("kill -CONT"),
            "{second}"
        );
        send(&child, rustix::process::Signal::CONT);
        assert_eq!(told.recv_timeout(LONG).unwrap(), expected);
        assert!(!waiting.is_finished());
        child.kill().unwrap();
        child.wait().unwrap();
        waiting.join().unwrap();
    });
    assert!(told.try_recv().is_err());
}

/// A program that the holder started may have inherited the lock.
#[test]
fn a_lock_without_a_living_holder_is_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = holder(directory.path());
    let path = directory.path().join("locks/work");
    let text = std::fs::read_to_string(&path).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let inherited = std::fs::File::open(&path).unwrap();
    inherited.lock().unwrap();
    std::fs::write(&path, text).unwrap();
    let (notes, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let store = Store::open(directory.path()).unwrap();
        let waiting = scope.spawn(move || drop(store.lock_work("work", "the same", &Notes(notes)).unwrap()));
        let note = told.recv_timeout(LONG).unwrap();
        let expected = format!("process {} has ended while it worked on llvm@", child.id());
        assert!(note.starts_with(&expected) && note.contains("locks/work is still locked"), "{note}");
        drop(inherited);
        waiting.join().unwrap();
    });
}

#[test]
fn threads_of_one_process_wait_in_silence() {
    let directory = tempfile::tempdir().unwrap();
    let (notes, told) = mpsc::channel();
    let stores = [(); 2].map(|()| Store::open(directory.path()).unwrap());
    let held = stores[0].lock_work("work", "one", &Notes(notes.clone())).unwrap();
    std::thread::scope(|scope| {
        for store in &stores {
            let notes = notes.clone();
            scope.spawn(move || drop(store.lock_work("work", "another", &Notes(notes)).unwrap()));
        }
        std::thread::sleep(Duration::from_millis(700));
        drop(held);
    });
    drop(notes);
    assert!(told.recv().is_err());
}

//! What runs in a container is kept in it, gives what the sandbox gives, and leaves nothing behind.
//!
//! Real engines: dockerd of Debian's docker.io, one for most tests and some of their own for those that break them; Debian's podman.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../machine/mod.rs"]
mod machine;

mod adversity;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod engine;
mod image;

use engine::Engine;
use environment::{Backend, Docker};
use machine::{
    SECONDS, keeps_the_promise, long, machine, process, run, tells_how_it_ended, try_run,
    wait::{self, lives, until},
};
use std::{
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// One engine for one test after another: what is left behind in it is then seen, and whose it is.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for its turn, and makes what every test needs.
fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    machine();
    turn
}

/// Names the engine in a process that a test starts.
const HOST: &str = "TEST_HOST";

#[test]
fn containers_do_what_the_sandbox_does() {
    let _turn = turn();
    let engine = Engine::start();
    let docker = Docker::new(Some(&engine.host())).unwrap();
    assert!(docker.check().unwrap().contains("engine "), "{:?}", docker.check());
    keeps_the_promise(&docker);
    machine::hides_the_machine(&docker);
    machine::probe::filters_system_calls(&docker);
    let limited =
        |limits| Box::new(Docker::new(Some(&engine.host())).unwrap().with_limits(limits)) as Box<dyn Backend>;
    machine::limits::keeps_to_limits(&limited);
    machine::keeps_trees_as_they_are(&docker);
    machine::refuses_what_no_tree_holds(&docker);
    tells_how_it_ended(&docker);
    output_comes_while_it_runs(&docker, &engine);
    nothing_outside_is_reached(&docker);
    what_is_left_by_the_dead_goes(&docker, &engine);
    assert_eq!(engine.leftovers(), "");
    // Loaded once, under the ID that was foreseen, and never from anywhere else.
    let image = environment::Image::of(&machine().store, &machine().environment, &store::Silent).unwrap();
    assert_eq!(engine.docker(&["images", "--no-trunc", "--quiet"]), image.ids()[0]);
}

#[test]
fn podman_does_what_docker_does() {
    let _turn = turn();
    let engine = Engine::podman();
    let podman = Docker::new(Some(&engine.host())).unwrap();
    keeps_the_promise(&podman);
    machine::hides_the_machine(&podman);
    machine::probe::filters_system_calls(&podman);
    let limited =
        |limits| Box::new(Docker::new(Some(&engine.host())).unwrap().with_limits(limits)) as Box<dyn Backend>;
    machine::limits::keeps_to_limits(&limited);
    machine::keeps_trees_as_they_are(&podman);
    machine::refuses_what_no_tree_holds(&podman);
    tells_how_it_ended(&podman);
    assert_eq!(engine.leftovers(), "");
}

fn output_comes_while_it_runs(docker: &Docker, engine: &Engine) {
    let mut running = String::new();
    let script = ["/bin/bash", "-c", "echo begun >&2; sleep 1; echo ended"];
    let ran = try_run(docker, &script, &[("PATH", "/usr/bin")], &mut |bytes| {
        if bytes.starts_with(b"begun") {
            running = engine.docker(&["ps", "--format", "{{.Names}} {{.Networks}}"]);
        }
    });
    assert_eq!(ran.unwrap().output, "begun\nended\n");
    assert!(running.starts_with(&format!("mlc-repro-{}-", std::process::id())), "{running}");
    assert!(running.ends_with(" none"), "{running}");
}

fn nothing_outside_is_reached(docker: &Docker) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ran = run(docker, &format!("exec 3<>/dev/tcp/127.0.0.1/{port}"));
    assert!(ran.output.contains("Connection refused"), "{}", ran.output);
    for script in ["chroot / /usr/bin/true", "bwrap --unshare-user --ro-bind / / /usr/bin/true"] {
        assert!(!run(docker, script).exit.success(), "{script}");
    }
    // Nothing of this machine's name servers; no process but the container's.
    let seen = machine::said(docker, "cat /etc/resolv.conf; ls /proc");
    assert!(seen.starts_with("nameserver 127.0.0.1"), "{seen}");
    assert!(seen.split(' ').filter(|name| name.parse::<u32>().is_ok()).count() <= 4, "{seen}");
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn wait_in_a_process() {
    let docker = Docker::new(Some(&std::env::var(HOST).unwrap())).unwrap();
    let seconds = std::env::var(SECONDS).unwrap();
    run(&docker, &format!("sleep {seconds} & sleep {seconds}"));
}

/// A process that runs something long in a container, from when it is seen to run.
fn waiting(engine: &Engine, seconds: &str) -> std::process::Child {
    let mut command = process(&["/usr/bin/env"], "wait_in_a_process");
    command.env(SECONDS, seconds).env(HOST, engine.host()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    until("it sleeps", Duration::from_secs(120), || {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
        let id = engine.docker(&["ps", "--quiet"]);
        !id.is_empty() && engine.docker(&["top", &id, "-o", "pid,args"]).contains(&format!("sleep {seconds}"))
    });
    child
}

fn what_is_left_by_the_dead_goes(docker: &Docker, engine: &Engine) {
    let seconds = long(1);
    let mut child = waiting(engine, &seconds);
    child.kill().unwrap();
    child.wait().unwrap();
    // The command ends with us; what is left of it, the next process removes.
    assert!(!lives(&seconds, Duration::from_secs(30)));
    assert_ne!(engine.leftovers(), "");
    assert!(run(docker, "true").exit.success());
    assert_eq!(engine.leftovers(), "");

    // Ctrl-C.
    let seconds = long(2);
    let mut child = waiting(engine, &seconds);
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(engine.leftovers(), "");
    assert!(!lives(&seconds, Duration::from_secs(30)));
}

//! What runs in Nix's sandbox is kept in it, gives what the sandbox gives, and leaves nothing behind.
//!
//! Real Nix: Debian's nix-bin, with a store below a store of the tests.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../machine/mod.rs"]
mod machine;

use environment::{Backend, Nix, Sandbox};
use machine::{
    SECONDS, keeps_the_promise, long, machine, process, run, said, tells_how_it_ended, try_run,
    wait::{lives, until},
};
use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use store::Silent;

fn nix() -> Nix {
    Nix::new(&machine().store, &machine().environment, &Silent).unwrap()
}

/// Everything in the tests' Nix store. Several tests may use it at once, but for what stays they leave.
fn stored() -> BTreeSet<String> {
    let entries = std::fs::read_dir(machine().store.root().join("nix/nix/store")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn nixs_sandbox_does_what_ours_does() {
    let nix = self::nix();
    assert!(nix.check().unwrap().contains("an empty action takes"));
    keeps_the_promise(&nix);
    machine::hides_the_machine(&nix);
    machine::probe::filters_system_calls(&nix);
    let limited = |limits| Box::new(self::nix().with_limits(limits)) as Box<dyn Backend>;
    machine::limits::keeps_to_limits(&limited);
    machine::keeps_trees_as_they_are(&nix);
    machine::refuses_what_no_tree_holds(&nix);
    tells_how_it_ended(&nix);

    let mut pieces = Vec::new();
    let script = ["/bin/bash", "-c", "echo begun >&2; sleep 1; date +%s"];
    let started = std::time::Instant::now();
    try_run(&nix, &script, &[("PATH", "/usr/bin")], &mut |_| pieces.push(started.elapsed())).unwrap();
    assert!(pieces.last().unwrap().as_millis() - pieces[0].as_millis() >= 900, "{pieces:?}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ran = run(&nix, &format!("exec 3<>/dev/tcp/127.0.0.1/{port}"));
    assert!(ran.output.contains("Connection refused"), "{}", ran.output);
    assert!(!run(&nix, "bwrap --unshare-user --ro-bind / / /usr/bin/true").exit.success());
    assert_eq!(said(&nix, "ls -d /nix 2>/dev/null || echo none"), "none");

    let ran = try_run(&nix, &["/bin/bash", "-c", "mkfifo ../out/pipe"], &[("PATH", "/usr/bin")], &mut |_| {});
    let error = store::full_text(&ran.unwrap_err());
    assert!(error.contains("outputs are files, directories and links"), "{error}");

    what_is_left_by_the_dead_goes(&nix);
    // The environment stays, and nothing of any action.
    let left: Vec<_> = stored().into_iter().filter(|name| name.contains("mlc-repro")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn wait_in_a_process() {
    let seconds = std::env::var(SECONDS).unwrap();
    run(&nix(), &format!("sleep {seconds} & sleep {seconds}"));
}

fn what_is_left_by_the_dead_goes(nix: &Nix) {
    let seconds = long(4);
    let mut command = process(&["/usr/bin/env"], "wait_in_a_process");
    let mut child =
        command.env(SECONDS, &seconds).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let sleeps = || {
        let output = Command::new("ps").args(["-eo", "args"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().any(|line| line == format!("sleep {seconds}"))
    };
    until("it sleeps", Duration::from_secs(120), || {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
        sleeps()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!lives(&seconds, Duration::from_secs(30)));
    assert!(run(nix, "true").exit.success());
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn use_in_a_process() {
    nix();
}

#[test]
fn several_processes_may_be_the_first_to_use_it() {
    let place = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let root = place.path().join(round.to_string());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut command = process(&["/usr/bin/env"], "use_in_a_process");
                    machine::must_pass(command.env("MLC_REPRO_NIX_STORE", &root));
                });
            }
        });
    }
    // Nix makes read-only what it adds, which only root removes as it is.
    assert!(Command::new("chmod").args(["-R", "u+w"]).arg(place.path()).status().unwrap().success());
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn promise_in_a_process() {
    keeps_the_promise(&nix());
}

#[test]
fn an_ordinary_user_may_run_it() {
    machine::by_an_ordinary_user("promise_in_a_process", || keeps_the_promise(&nix()));
}

#[test]
fn both_sandboxes_show_the_same_files() {
    let sandbox = Sandbox::new(&machine().store, &machine().environment, &Silent).unwrap();
    // All that is not a matter of when: names, links, sizes, contents' sums of what is small.
    let script = "shopt -s globstar dotglob; for path in /etc/** /usr/lib64/** /usr/bin/**; do
        [ -L $path ] && readlink $path; [ -f $path ] && [ ! -L $path ] && cksum $path; [ -d $path ] && echo $path; done; true";
    let [one, other] = [said(&nix(), script), said(&sandbox, script)];
    // Too long to be shown.
    assert!(one == other && one.len() > 1000);
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn refusal_in_a_process() {
    let expected = std::env::var("TEST_EXPECTED").unwrap();
    let error = match Nix::new(&machine().store, &machine().environment, &Silent) {
        Ok(nix) => nix.check().unwrap_err(),
        Err(error) => error,
    };
    let error = store::full_text(&error);
    for part in expected.split('|') {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

/// Starts [`refusal_in_a_process`].
fn is_refused(starter: &[&str], variables: &[(&str, &Path)], expected: &str) {
    nix();
    let mut command = process(starter, "refusal_in_a_process");
    machine::must_pass(command.env("TEST_EXPECTED", expected).envs(variables.iter().copied()));
}

#[test]
fn a_machine_without_nix_is_told() {
    let empty = tempfile::tempdir().unwrap();
    is_refused(&["/usr/bin/env"], &[("PATH", empty.path())], "there is no `nix-store` on PATH|install Nix");
}

#[test]
fn an_old_nix_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("nix-store");
    std::fs::write(&program, "#!/bin/sh\necho 'nix-store (Nix) 2.3.16'\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    is_refused(&["/usr/bin/env"], &[("PATH", directory.path())], "(Nix) 2.3.16|2.8 is needed");
}

#[test]
fn a_store_that_is_read_only_is_told() {
    let directory = tempfile::tempdir().unwrap();
    // Read-only in a namespace of its own.
    let script = "mount --bind \"$MLC_REPRO_NIX_STORE\" \"$MLC_REPRO_NIX_STORE\"
        mount -o remount,bind,ro \"$MLC_REPRO_NIX_STORE\" && exec \"$@\"";
    is_refused(
        &["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"],
        &[("MLC_REPRO_NIX_STORE", directory.path())],
        "Read-only file system|MLC_REPRO_NIX_STORE names another",
    );
}

#[test]
fn a_machine_that_has_no_sandbox_for_it_is_told() {
    // The limit is set in a namespace of our own; this machine's stays as it is. One more may be made, in which we are an
    // ordinary user.
    let script = "echo 1 > /proc/sys/user/max_user_namespaces && exec unshare --user --map-user=1000 --map-group=1000 \"$@\"";
    is_refused(
        &["unshare", "-Ur", "sh", "-c", script, "sh"],
        &[],
        "cloning builder process|its sandbox needs user, mount and PID namespaces",
    );
}

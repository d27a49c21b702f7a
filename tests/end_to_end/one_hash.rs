//! Every way to run an action gives the same bytes, and says plainly when it can't.

#[path = "../../xtask/environment/tests/docker/engine.rs"]
#[allow(dead_code, reason = "the tests of the Docker backend use the rest")]
pub mod engine;

use crate::project::{Project, outputs, text};
use crate::wait;
use engine::Engine;
use std::collections::BTreeMap;

/// All that a build can see of what it is given, and of where it runs, where backends could differ. Of the root's files times
/// are left out: Nix keeps none.
const SCRIPT: &str = "
    stat -c '%n %A %u %g %s %y' /build/src /build/src/* > /build/out/source
    stat -c '%n %U %G %s' /usr/bin/* > /build/out/programs
    { id; umask; pwd; ulimit -c; hostname 2>/dev/null || cat /proc/sys/kernel/hostname; date +%Z; ls /sys; } > /build/out/place
    (unset JOBS; env | sort) > /build/out/variables
    mkdir -p copy; cp -r /build/src/. copy/; touch copy/new; ls -R copy > /build/out/copy
    printf '#!/bin/sh\\n' > /build/out/program; chmod 755 /build/out/program; ln -s program /build/out/link
    mkdir /build/out/licenses; echo MIT > /build/out/licenses/LICENSE
";

#[test]
fn every_backend_gives_the_same_bytes() {
    let project = Project::new();
    project.recipe("same", "", SCRIPT);
    let (engine, podman) = (Engine::start(), Engine::podman());
    let vendored = project.directory.path().join("vendored");
    let vendored = vendored.to_str().unwrap();
    assert!(project.run(&["vendor", vendored]).status.success());
    let mut found = BTreeMap::new();
    for (backend, jobs, host) in [
        ("sandbox", "1", String::new()),
        ("docker", "2", engine.host()),
        ("docker", "1", podman.host()),
        ("nix", "1", String::new()),
    ] {
        // A store of its own, so that nothing is found that another built.
        let store = tempfile::tempdir().unwrap();
        let arguments = [
            "build",
            "same",
            "--json",
            "--backend",
            backend,
            "--jobs",
            jobs,
            "--offline",
            "--vendored",
            vendored,
        ];
        let output = project.command(store.path(), &arguments).env("DOCKER_HOST", &host).output().unwrap();
        found.insert(outputs(&output), (backend, host));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((engine.leftovers(), podman.leftovers()), (String::new(), String::new()));

    // A release that the sandbox built is proven by containers.
    project.release("small", "same");
    for arguments in
        [&["release", "small"][..], &["verify", "--rebuild", "--backend", "docker", "dist/small"]]
    {
        let mut command = project.command(&crate::shared_store(), arguments);
        let output = command.env("DOCKER_HOST", engine.host()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
    assert_eq!(engine.leftovers(), "");
}

#[test]
fn a_moved_clock_gives_the_same_bytes_and_is_seen_by_who_asks() {
    /// Longer than from any year, month or day of the month to the same one.
    const LATER: &str = "+1903d";
    let project = Project::new();
    // Makes every run of this test build.
    let now = format!("# {:?}\n", std::time::SystemTime::now());
    let archived = now.clone()
        + "mkdir copy; cp -r /build/src/. copy/; echo new > copy/new
        tar --create --sort=name --mtime=@$SOURCE_DATE_EPOCH copy > /build/out/archive";
    project.recipe("fixed", "", &archived);
    project.recipe("dated", "", &archived.replace("--mtime=@$SOURCE_DATE_EPOCH ", ""));
    project.recipe("year", "", &(now + "date +%Y > /build/out/year"));
    let built = |recipe: &str| outputs(&project.run(&["build", recipe, "--json"]));
    let recipes = ["fixed", "dated", "year"];
    let before = recipes.map(built);
    recipes.iter().for_each(|recipe| project.move_clock(recipe, LATER));
    let after = recipes.map(built);
    let same: Vec<_> = before.iter().zip(&after).map(|(before, after)| before == after).collect();
    // Where it isn't kept from a build, the clock is seen: the first is no accident.
    assert_eq!(same, [true, false, false]);
}

#[test]
fn the_backend_may_be_named_by_a_variable_and_is_explained() {
    let project = Project::new();
    project.recipe("hello", "", "echo hello > /build/out/x\n");
    let store = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}/none", store.path().display());
    let run = |arguments: &[&str]| {
        let mut command = project.command(store.path(), arguments);
        command.env("MLC_REPRO_BACKEND", "docker").env("DOCKER_HOST", &socket).output().unwrap()
    };
    let output = run(&["build", "hello"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("no container engine answers at unix://"), "{}", text(&output));
    assert!(text(&output).contains("hint: start it"), "{}", text(&output));
    // `doctor` fails for what was chosen, and only mentions what was not.
    let chosen = run(&["doctor"]);
    assert!(text(&chosen).contains("FAILED  docker"), "{}", text(&chosen));
    let other = text(&run(&["doctor", "--backend", "sandbox"]));
    assert!(other.contains("unused  docker") && other.contains("ok      nix"), "{other}");
    let wrong = project.command(store.path(), &["build", "hello", "--backend", "vm"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

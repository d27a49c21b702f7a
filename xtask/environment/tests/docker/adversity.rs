//! Engines that are not there, are none, break, or hold what they should not.

use crate::{
    engine::Engine,
    machine::{long, machine, run, try_run, wait::lives},
    turn, waiting,
};
use environment::{Docker, Image};
use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
};

fn error(host: &str) -> String {
    store::full_text(&Docker::new(Some(host)).err().unwrap())
}

/// The error of a run that can't succeed.
fn failure(docker: &Docker) -> String {
    store::full_text(&try_run(docker, &["/bin/true"], &[], &mut |_| {}).unwrap_err())
}

fn image() -> Image {
    Image::of(&machine().store, &machine().environment, &store::Silent).unwrap()
}

#[test]
fn what_is_no_engine_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let host = format!("unix://{}", socket.display());
    let missing = error(&host);
    assert!(missing.contains("no container engine answers at"), "{missing}");
    assert!(missing.contains("start it"), "{missing}");
    assert!(error("ssh://somewhere").contains("is of a kind that is not supported"));

    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnonsense");
        }
    });
    let nonsense = error(&host);
    assert!(nonsense.contains("is not a container engine"), "{nonsense}");
    assert!(nonsense.contains("DOCKER_HOST"), "{nonsense}");
}

#[test]
fn names_that_are_taken_stay_whose_they_are() {
    let _turn = turn();
    let engine = Engine::start();
    let docker = Docker::new(Some(&engine.host())).unwrap();
    let name = image().name;
    let empty = tempfile::NamedTempFile::new().unwrap();
    empty.as_file().write_all(&[0; 1024]).unwrap();
    let other = engine.docker(&["import", empty.path().to_str().unwrap(), &name]);
    let failure = failure(&docker);
    assert!(failure.contains(&format!("has another image by the name of {name} ({other})")), "{failure}");
    assert!(failure.contains(&format!("`docker image rm {name}`")), "{failure}");
    assert_eq!(engine.docker(&["image", "inspect", "--format", "{{.Id}}", &name]), other);
    engine.docker(&["image", "rm", &name]);

    let mut used = String::new();
    let script = ["/bin/bash", "-c", "echo begun; sleep 1"];
    try_run(&docker, &script, &[("PATH", "/usr/bin")], &mut |_| {
        used = engine.docker(&["ps", "--format", "{{.Names}}"]);
    })
    .unwrap();
    let (process, number) = used.rsplit_once('-').unwrap();
    let next = format!("{process}-{}", number.parse::<u32>().unwrap() + 1);
    let stranger = engine.docker(&["create", "--name", &next, "--network", "none", &name, "/bin/true"]);
    assert!(run(&docker, "true").exit.success());
    assert_eq!(engine.docker(&["ps", "--all", "--quiet", "--no-trunc"]), stranger);
}

#[test]
fn two_builds_at_once_share_the_image() {
    let _turn = turn();
    let engine = Engine::start();
    std::thread::scope(|scope| {
        for number in 0..2 {
            let host = engine.host();
            scope.spawn(move || {
                let docker = Docker::new(Some(&host)).unwrap();
                let ran = run(&docker, &format!("sleep 1; echo {number} > ../out/number"));
                assert_eq!(ran.text("number"), format!("{number}\n"));
            });
        }
    });
    assert_eq!(engine.docker(&["images", "--no-trunc", "--quiet"]), image().ids()[0]);
    assert_eq!(engine.leftovers(), "");
}

#[test]
fn an_engine_that_dies_is_told_and_keeps_nothing_once_it_is_back() {
    let _turn = turn();
    let mut engine = Engine::start();
    let seconds = long(3);
    let child = waiting(&engine, &seconds);
    engine.end("KILL");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("the container engine at") && said.contains("could not tell how a container ended"),
        "{said}"
    );
    engine.restart(&[]);
    assert_ne!(engine.leftovers(), "");
    assert!(run(&Docker::new(Some(&engine.host())).unwrap(), "true").exit.success());
    assert_eq!(engine.leftovers(), "");
    assert!(!lives(&seconds, std::time::Duration::from_secs(30)));
}

#[test]
fn a_disk_that_fills_is_told() {
    let _turn = turn();
    // Its data root is a small file system, mounted where only it sees it. `sh -c SCRIPT sh` and its directory follow.
    let script = "mkdir -p \"$5/data\" && mount -t tmpfs -o size=16m tmpfs \"$5/data\" && exec \"$@\"";
    let engine = Engine::start_in(&["unshare", "--mount", "sh", "-c", script, "sh"]);
    let docker = Docker::new(Some(&engine.host())).unwrap();
    let failure = failure(&docker);
    assert!(failure.contains("could not load the image") && failure.contains("no space left"), "{failure}");
    assert!(failure.contains("its disk is full"), "{failure}");
    assert_eq!(engine.leftovers() + &engine.docker(&["images", "--all", "--quiet"]), "");
}

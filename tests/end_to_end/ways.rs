//! Mirrors by digest on the command line, and what `doctor` says of archives. No registry is asked.

use crate::{
    http::{Reply, Server},
    project::{Project, text},
};
use std::{path::Path, process::Command};
use store::Digest;

const PACKAGES: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];

/// A project with an environment of six small packages, as of 2026-11-21.
pub fn project() -> Project {
    let project = Project::new();
    let packages: String = PACKAGES
        .iter()
        .map(|name| {
            let digest = Digest::of(content(name).as_bytes());
            format!(
                "\n[[input]]\nname = \"{name}\"\nkind = \"debian\"\npackage = \"{name}\"\nversion = \"1\"\narchitecture = \"all\"\npool = \"pool/{name}.deb\"\nsize = {}\nsha256 = \"{}\"\n",
                digest.size,
                digest.hex()
            )
        })
        .collect();
    let archive = "[[archive]]\nsuite = \"trixie\"\nlabel = \"Debian\"\ndate = \"2026-11-21T09:15:44Z\"\nsnapshot = \"20261122T000000Z\"\n";
    let definition = format!("suite = \"trixie\"\narchitecture = \"amd64\"\npackages = {PACKAGES:?}\n");
    project.write("containers/tiny.toml", &definition);
    project.write("containers/tiny.lock", &format!("version = 1\n\n{archive}{packages}"));
    project
}

fn content(name: &str) -> String {
    format!("the package {name}")
}

/// A server that has all packages.
pub fn mirror() -> Server {
    Server::start(|_, request| {
        let name = request.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".deb");
        if PACKAGES.contains(&name) { Reply::file(content(name).as_bytes()) } else { Reply::status(404) }
    })
}

/// `xtask` without a mirror that this machine is told of.
pub fn fetch(project: &Project, store: &Path, arguments: &[&str]) -> Command {
    let mut command = project.command(store, arguments);
    for name in [
        "MLC_REPRO_DEBIAN_MIRROR",
        "MLC_REPRO_DEBIAN_SNAPSHOT",
        "MLC_REPRO_MIRROR",
        "http_proxy",
        "HTTP_PROXY",
    ] {
        command.env_remove(name);
    }
    command
}

#[test]
fn doctor_says_whether_the_archive_has_what_is_locked() {
    let project = project();
    let sample = std::fs::read_to_string(project.directory.path().join("containers/sandbox.lock")).unwrap();
    let pool =
        sample.lines().find_map(|line| line.strip_prefix("pool = \"")?.strip_suffix('"')).unwrap().to_owned();
    for has in [true, false] {
        let pool = pool.clone();
        let server = Server::start(move |_, request| match has && request.path.ends_with(&pool) {
            true => Reply::file(b"x"),
            false => Reply::status(404),
        });
        let store = tempfile::tempdir().unwrap();
        let mut command = fetch(&project, store.path(), &["doctor"]);
        let output = command.env("MLC_REPRO_DEBIAN_MIRROR", server.url("/debian")).output().unwrap();
        let said = text(&output);
        let line = said.lines().find(|line| line.split_whitespace().nth(1) == Some("debian")).unwrap();
        assert!(line.contains(&server.address), "{line}");
        assert_eq!(line.starts_with("ok"), has, "{line}");
        assert_eq!(line.contains("has what the locks name"), has, "{line}");
        assert_eq!(server.requests().iter().filter(|request| request.method == "HEAD").count(), 1);
    }
}

#[test]
fn a_project_is_fetched_from_a_mirror_of_a_vendored_directory_alone() {
    let project = project();
    let current = mirror();
    let store = tempfile::tempdir().unwrap();
    let vendored = project.directory.path().join("vendored");
    // The sandbox of the repository is not wanted here.
    for file in ["sandbox.toml", "sandbox.lock"] {
        std::fs::remove_file(project.directory.path().join("containers").join(file)).unwrap();
    }
    let output = fetch(&project, store.path(), &["vendor", vendored.to_str().unwrap()])
        .env("MLC_REPRO_DEBIAN_MIRROR", current.url("/debian"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let server = Server::of_directory(vendored);
    let empty = tempfile::tempdir().unwrap();
    let output = fetch(&project, empty.path(), &["fetch", "--mirror", &server.address])
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(server.requests().len(), PACKAGES.len());
    let through_variable = tempfile::tempdir().unwrap();
    let output = fetch(&project, through_variable.path(), &["fetch"])
        .env("MLC_REPRO_MIRROR", format!("http://127.0.0.1:9 {}/", server.address))
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

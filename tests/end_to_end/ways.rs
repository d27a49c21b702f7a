//! Where Debian packages come from: which archives a machine's apt knows, what a mirror has dropped, what dated archives keep.
//! No registry is asked.

use crate::{
    http::{Reply, Server},
    project::{Project, text},
};
use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};
use store::Digest;

const PACKAGES: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];

/// A project with an environment of six small packages, as of 2026-11-21.
fn project() -> Project {
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
    project.write("containers/tiny.toml", "suite = \"trixie\"\narchitecture = \"amd64\"\npackages = []\n");
    project.write("containers/tiny.lock", &format!("version = 1\n\n{archive}{packages}"));
    project
}

fn content(name: &str) -> String {
    format!("the package {name}")
}

/// The package that a path ends with, unless it is one of those that are gone.
fn package(path: &str, gone: &[&str]) -> Reply {
    let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".deb");
    match PACKAGES.contains(&name) && path.contains("/pool/") && !gone.contains(&name) {
        true => Reply::file(content(name).as_bytes()),
        false => Reply::status(404),
    }
}

/// A Debian mirror that has a Release file of this date, and all packages but some.
fn mirror(origin: &'static str, date: &'static str, gone: &'static [&'static str]) -> Server {
    Server::start(move |_, request| match request.path.ends_with("/dists/trixie/InRelease") {
        true => Reply::file(format!("Origin: {origin}\nLabel: {origin}\nDate: {date}\nSHA256:\n").as_bytes()),
        false => package(&request.path, gone),
    })
}

const NEWER: &str = "Sat, 12 Dec 2026 09:15:44 UTC";
const GONE: &[&str] = &["p1", "p3", "p4"];

/// `xtask` with programs of the test's own before those of the machine; without a mirror that this machine is told of.
fn fetch(project: &Project, store: &Path, arguments: &[&str]) -> Command {
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
    let programs = project.directory.path().join("programs");
    std::fs::create_dir_all(&programs).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", programs.display()));
    command
}

fn program(project: &Project, name: &str, script: &str) {
    project.write(&format!("programs/{name}"), &format!("#!/bin/sh\n{script}"));
    let path = project.directory.path().join("programs").join(name);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// An apt that lists these targets, and knows nothing else.
fn apt(project: &Project, targets: &str) {
    program(project, "apt-get", &format!("case \"$1\" in indextargets) printf '%s' '{targets}' ;; esac\n"));
    program(project, "apt-config", "exit 0\n");
}

fn fetch_all(project: &Project, prepare: impl Fn(&mut Command)) -> Output {
    let store = tempfile::tempdir().unwrap();
    let mut command = fetch(project, store.path(), &["fetch"]);
    command.args(PACKAGES);
    prepare(&mut command);
    command.output().unwrap()
}

#[test]
fn on_ubuntu_nothing_is_asked_and_the_remedy_is_named_at_once() {
    let server = mirror("Ubuntu", NEWER, &[]);
    let project = project();
    apt(&project, &format!("{} Ubuntu Ubuntu noble\n", server.url("/ubuntu/")));
    let start = Instant::now();
    let output = fetch_all(&project, |_| {});
    assert_eq!(output.status.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let said = text(&output);
    assert!(said.contains("those of Ubuntu, not Debian's"), "{said}");
    assert_eq!(said.matches("cannot find a Debian archive").count(), 1, "{said}");
    assert!(said.contains("set MLC_REPRO_DEBIAN_MIRROR"), "{said}");
    assert!(!said.contains("drops a version"), "{said}");
    assert!(server.requests().is_empty(), "{:?}", server.paths());
}

#[test]
fn before_apt_has_lists_repositories_say_themselves_what_they_are() {
    let (ubuntu, debian) = (mirror("Ubuntu", NEWER, &[]), mirror("Debian", NEWER, &[]));
    let project = project();
    let uris: String = [&ubuntu, &debian]
        .map(|server| format!("'{}' x 0 \n", server.url("/archive/dists/trixie/InRelease")))
        .concat();
    program(
        &project,
        "apt-get",
        &format!("case \"$*\" in *--print-uris*) cat <<'END'\n{uris}END\n;; esac\n"),
    );
    let output = fetch_all(&project, |_| {});
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(ubuntu.paths(), ["/archive/dists/trixie/InRelease"]);
    assert_eq!(debian.requests().len(), 1 + PACKAGES.len());
}

#[test]
fn on_a_mixed_machine_only_debian_is_asked() {
    let (vendor, debian) = (mirror("Vendor", NEWER, &[]), mirror("Debian", NEWER, &[]));
    let project = project();
    let targets = format!(
        "{0} Vendor Vendor stable\n{1} Debian Debian trixie\n{1} Debian Debian trixie-updates\n{0}x Ubuntu Ubuntu noble\n",
        vendor.url("/apt/"),
        debian.url("/debian/")
    );
    apt(&project, &targets);
    let output = fetch_all(&project, |_| {});
    assert!(output.status.success(), "{}", text(&output));
    assert!(vendor.requests().is_empty());
    assert_eq!(debian.requests().len(), PACKAGES.len());
}

#[test]
fn without_apt_the_remedy_is_named() {
    let output = fetch_all(&project(), |command| {
        command.env("PATH", "/nonexistent");
    });
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("this machine has no `apt-get`") && said.contains("set MLC_REPRO_DEBIAN_MIRROR"),
        "{said}"
    );
}

/// A dated archive that redirects to the import before the date, and refuses its first visitor.
fn dated(busy: bool) -> Server {
    Server::start(move |turn, request| match request.path.strip_prefix("/20261122T000000Z/") {
        _ if busy && turn == 0 => Reply::status(429).with("Retry-After", 1),
        Some(rest) => Reply::status(302).with("Location", format!("/20261121T210000Z/{rest}")),
        None if request.path.starts_with("/20261121T210000Z/") => package(&request.path, &[]),
        None => Reply::status(404),
    })
}

#[test]
fn what_a_mirror_has_dropped_comes_from_the_dated_archive() {
    let project = project();
    let (current, archive) = (mirror("Debian", NEWER, GONE), dated(false));
    let output = fetch_all(&project, |command| {
        command
            .env("MLC_REPRO_DEBIAN_MIRROR", current.url("/debian"))
            .env("MLC_REPRO_DEBIAN_SNAPSHOT", archive.url("/@SNAPSHOTID@/"));
    });
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3 packages from the archive of 2026-11-21"), "{said}");
    let asked = archive.paths();
    assert_eq!(asked.iter().filter(|path| path.starts_with("/20261122T000000Z/")).count(), 3, "{asked:?}");
    assert_eq!(asked.len(), 6, "each is redirected once: {asked:?}");
    assert_eq!(current.requests().len(), PACKAGES.len());
}

#[test]
fn a_dated_archive_that_is_busy_is_waited_for() {
    let project = project();
    let (current, archive) = (mirror("Debian", NEWER, GONE), dated(true));
    let start = Instant::now();
    let output = fetch_all(&project, |command| {
        command
            .env("MLC_REPRO_DEBIAN_MIRROR", current.url("/debian"))
            .env("MLC_REPRO_DEBIAN_SNAPSHOT", archive.url("/@SNAPSHOTID@"));
    });
    assert!(output.status.success(), "{}", text(&output));
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(archive.requests().len(), 7);
}

#[test]
fn apt_says_where_dated_archives_are() {
    let project = project();
    let (current, archive) = (mirror("Debian", NEWER, GONE), dated(false));
    apt(&project, &format!("{} Debian Debian trixie\n", current.url("/debian/")));
    program(
        &project,
        "apt-config",
        &format!("echo 'Acquire::Snapshots::URI::Origin::Debian \"{}\";'\n", archive.url("/@SNAPSHOTID@/")),
    );
    let output = fetch_all(&project, |_| {});
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(archive.requests().len(), 6);
}

#[test]
fn why_an_archive_lacks_a_package_is_looked_at_before_age_is_blamed() {
    for (origin, date, expected, is_age) in [
        ("Debian", NEWER, "has a newer state (2026-12-12) than the lock (2026-11-21)", true),
        ("Debian", "Sun, 01 Nov 2026 09:15:44 UTC", "has an older state (2026-11-01) than the lock", false),
        ("Debian", "Sat, 21 Nov 2026 09:15:44 UTC", "has the state of the lock (2026-11-21)", false),
        ("Ubuntu", NEWER, "is an archive of Ubuntu, not of Debian", false),
    ] {
        let (project, current) = (project(), mirror(origin, date, GONE));
        apt(&project, "");
        let output = fetch_all(&project, |command| {
            command.env("MLC_REPRO_DEBIAN_MIRROR", current.url("/debian"));
        });
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.matches(expected).count(), 1, "{said}");
        assert_eq!(said.contains("drops a version"), is_age, "{said}");
        assert!(said.contains("MLC_REPRO_DEBIAN_SNAPSHOT"), "{said}");
        for name in GONE {
            assert_eq!(said.matches(&format!("{name}.deb: the server answered 404")).count(), 1, "{said}");
        }
    }
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
    let current = mirror("Debian", NEWER, &[]);
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

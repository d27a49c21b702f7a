//! Where Debian packages come from: which archives a machine's apt knows, what a mirror has dropped, what dated archives keep.
//! No registry is asked.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../ways/server.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod server;

use input::{FetchOptions, Input, Intent, Lock, Unavailable, check, debian_registry, fetch};
use server::{Reply, Server};
use std::{
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
    time::{Duration, Instant},
};
use store::{Digest, Meter, Progress, Silent, Store, Unit};
use tempfile::TempDir;

const PACKAGES: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];

/// The lock of an environment of six small packages, as of 2026-11-21, and programs.
struct Project {
    directory: TempDir,
}

fn project() -> Project {
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
    let project = Project { directory: tempfile::tempdir().unwrap() };
    std::fs::create_dir(project.directory.path().join("programs")).unwrap();
    project.write("tiny.lock", &format!("version = 1\n\n{archive}{packages}"));
    project
}

impl Project {
    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.directory.path().join(path), text).unwrap();
    }
}

/// What a process does that another test starts with its own variables; nothing elsewhere.
#[test]
fn in_another_process() {
    let Some(project) = std::env::var_os("PROJECT_OF_TEST").map(std::path::PathBuf::from) else { return };
    let lock = Lock::load(&project.join("tiny.lock")).unwrap();
    let store = Store::open(&project.join("store")).unwrap();
    let options = FetchOptions::default().with_lock(&lock);
    if std::env::var_os("DOCTOR").is_some() {
        match debian_registry(&options, lock.get("p1")) {
            Ok(line) => eprintln!("ok {line}"),
            Err(error) => eprintln!("FAILED {}", input::full_text(&error)),
        }
        return;
    }
    let inputs: Vec<&Input> = lock.inputs.iter().collect();
    if let Err(error) = fetch(&store, &inputs, &options, &Notes) {
        eprintln!("{}", input::full_text(&error));
        assert!(error.is::<Unavailable>());
        std::process::exit(1);
    }
    assert!(PACKAGES.iter().all(|name| store.contains(&Digest::of(content(name).as_bytes()))));
}

/// Says notes on stderr.
struct Notes;

impl Progress for Notes {
    fn begin(&self, label: &str, total: u64, unit: Unit) -> Box<dyn Meter> {
        Silent.begin(label, total, unit)
    }

    fn note(&self, message: &str) {
        eprintln!("note: {message}");
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
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

/// Fetches the packages in a process with programs of the test's own before those of the machine, and without a mirror that this
/// machine is told of.
fn fetch_all(project: &Project, prepare: impl Fn(&mut Command)) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["in_another_process", "--exact", "--nocapture"]);
    for name in [
        "MLC_REPRO_DEBIAN_MIRROR",
        "MLC_REPRO_DEBIAN_SNAPSHOT",
        "http_proxy",
        "HTTP_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
    let programs = project.directory.path().join("programs");
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PROJECT_OF_TEST", project.directory.path())
        .env("PATH", format!("{}:{path}", programs.display()));
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
fn doctor_says_whether_an_archive_has_what_is_locked() {
    for has in [true, false] {
        let project = project();
        let server = mirror("Debian", NEWER, if has { &[] } else { GONE });
        apt(&project, &format!("{} Debian Debian trixie\n", server.url("/debian/")));
        let output = fetch_all(&project, |command| {
            command.env("DOCTOR", "1");
        });
        let said = text(&output);
        assert!(said.contains(&server.address), "{said}");
        assert_eq!(said.contains("has what the locks name (asked for p1 1)"), has, "{said}");
        assert_eq!(said.contains("has a newer state"), !has, "{said}");
        assert_eq!(server.requests().iter().filter(|request| request.method == "HEAD").count(), 1);
    }
}

#[test]
fn a_lock_has_the_state_of_every_suite_that_is_asked_for() {
    let project = project();
    let path = project.directory.path().join("tiny.lock");
    let lock = Lock::load(&path).unwrap();
    let mut both = lock.clone();
    let backports = |mut archive: input::Archive| {
        archive.suite = "trixie-backports".into();
        archive
    };
    both.archives.push(backports(lock.archives[0].clone()));
    let one = "suite = \"trixie\"\narchitecture = \"amd64\"\npackages = [\"p0\"]\n";
    let more = format!("{one}suites = [\"trixie-backports\"]\n");
    let source = format!("{one}[suite_of]\np0 = \"trixie-backports\"\n");
    for (definition, lock, expected) in [
        (one, &lock, None),
        (&more, &both, None),
        (&source, &both, None),
        (&more, &lock, Some("no package of it is of `trixie-backports`")),
        (&source, &lock, Some("no package of it is of `trixie-backports`")),
        (one, &both, Some("its packages are of `trixie-backports`, not of `trixie`")),
    ] {
        project.write("tiny.toml", definition);
        project.write("tiny.lock", &lock.to_toml().unwrap());
        let found = check(&Intent { path: path.with_extension("toml") });
        match (found, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => {
                assert!(format!("{error:#}").contains(expected), "{definition}: {error:#}");
            }
            (found, _) => panic!("{definition}: {found:?}"),
        }
    }
}

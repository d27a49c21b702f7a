//! Results that go from one store to another: a release of them is the same, but that it says whose they are.
//!
//! The packages of the sandbox come from this machine's Debian archive, as in the other tests of this file's program.

use crate::{
    http::{Reply, Server},
    project::{Project, TARGET, shared_store, text},
};
use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::Command,
};

/// A release of two steps, with a store that built it.
struct Shared {
    project: Project,
    archive: PathBuf,
    unpacked: PathBuf,
}

impl Shared {
    fn new() -> Self {
        let project = Project::of_two_steps("echo part > /build/out/part\n");
        let at = |path: &str| project.directory.path().join(path);
        let (archive, unpacked) = (at("results.tar"), at("unpacked"));
        let export = ["store", "export", "small", "-o", archive.to_str().unwrap()];
        let output = project.run(&export);
        assert!(output.status.success(), "{}", text(&output));
        std::fs::create_dir(&unpacked).unwrap();
        let tar = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&unpacked).status();
        assert!(tar.unwrap().success());
        Self { archive, unpacked, project }
    }

    fn release(&self, place: &str) -> PathBuf {
        self.project.directory.path().join(place).join("small")
    }

    /// The release from another store, which must hold what the one from sources holds.
    fn check(&self, place: &str, from: &str) {
        let output = self.project.run(&["release", "small", "-o", "own"]);
        assert!(output.status.success(), "{}", text(&output));
        let read = |place: &str, name: &str| std::fs::read_to_string(self.release(place).join(name)).unwrap();
        let json = read(place, "release.json");
        let marks = json.lines().filter(|line| line.trim_start() == format!("\"imported\": \"{from}\","));
        assert_eq!(marks.count(), 2, "{json}");
        // The bill of materials says so as well.
        let without = |json: &str| {
            let mut json: serde_json::Value = serde_json::from_str(json).unwrap();
            json["bom"].take();
            let text = serde_json::to_string_pretty(&json).unwrap();
            text.lines().filter(|line| !line.contains("\"imported\":")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(without(&json), without(&read("own", "release.json")));
        let archive = format!("whole-1-{TARGET}.tar.gz");
        let bytes = |place: &str| std::fs::read(self.release(place).join(&archive)).unwrap();
        assert_eq!(bytes(place), bytes("own"));
    }
}

#[test]
fn an_exported_release_is_made_again_without_building_anything() {
    let shared = Shared::new();
    // Another user, where there can be one.
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), shared.project.directory.path()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let program = directory.path().join("xtask");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    let (program, archive) = (program.display(), shared.archive.display());
    let script = format!(
        "'{program}' store import '{archive}' --name friend && '{program}' --offline release small -o theirs \
         && '{program}' --offline release small -o theirs"
    );
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let mut command = Command::new(if is_root { "setpriv" } else { "sh" });
    if is_root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
    }
    let output = command
        .args(["-c", &script])
        .current_dir(shared.project.directory.path())
        .env("MLC_REPRO_STORE", directory.path().join("store"))
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for expected in [
        format!("imported part@{TARGET}"),
        format!("imported whole@{TARGET}"),
        "from friend".into(),
        "2 of 2 steps were not built here".into(),
        "is up to date".into(),
    ] {
        assert!(said.contains(&expected), "{expected}: {said}");
    }
    shared.check("theirs", "friend");

    // The same results are the same file, whenever they are written.
    let again = shared.project.directory.path().join("again.tar");
    let output = shared.project.run(&["store", "export", "small", "-o", again.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(std::fs::read(&again).unwrap() == std::fs::read(&shared.archive).unwrap());

    let theirs = shared.release("theirs");
    let theirs = theirs.to_str().unwrap();
    let said = text(&shared.project.run(&["verify", theirs]));
    assert!(said.contains("PASS") && said.contains("it was imported from friend"), "{said}");
    // Nobody's word counts in a rebuild, whatever the environment says.
    let mut command = shared.project.command(&shared_store(), &["verify", "--rebuild", theirs]);
    let output = command.env("MLC_REPRO_FROM", &shared.archive).output().unwrap();
    let said = text(&output);
    assert!(output.status.success() && said.contains("was rebuilt to the same bytes"), "{said}");
    assert!(said.contains("built part@") && !said.contains("imported part@"), "{said}");
}

#[test]
fn results_are_taken_from_archives_stores_and_servers() {
    let shared = Shared::new();
    let server = Server::of_directory(shared.unpacked.clone());
    let ways = [
        ("archive", shared.archive.display().to_string()),
        ("directory", shared.unpacked.display().to_string()),
        ("store", shared_store().display().to_string()),
        ("server", server.address.clone()),
    ];
    for (name, place) in ways {
        let store = tempfile::tempdir().unwrap();
        let from = format!("{name}={place}");
        let output =
            shared.project.run_alone(store.path(), &["release", "small", "-o", name, "--from", &from]);
        let said = text(&output);
        assert!(output.status.success(), "{name}: {said}");
        assert!(said.contains(&format!("results of `{name}` are trusted")), "{said}");
        shared.check(name, name);
    }
    assert!(server.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn a_server_that_lies_is_refused_by_digest() {
    let shared = Shared::new();
    let directory = shared.unpacked.clone();
    let liar = Server::start(move |_, request| {
        match std::fs::read(directory.join(request.path.trim_start_matches('/'))) {
            Ok(mut content) if request.path.starts_with("/cas/") && !content.is_empty() => {
                content[0] ^= 1;
                Reply::file(&content)
            }
            Ok(content) => Reply::file(&content),
            Err(_) => Reply::status(404),
        }
    });
    let store = tempfile::tempdir().unwrap();
    let from = format!("liar={}", liar.address);
    let arguments = ["release", "small", "-o", "theirs", "--from", &from];
    let output = shared.project.run_alone(store.path(), &arguments);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing is taken from `liar`") && said.contains("sends something else"), "{said}");
    assert!(!shared.release("theirs").exists());
    // Whoever tells the truth is asked next.
    let from = format!("MLC={}", shared.unpacked.display());
    let output = shared.project.run_alone(store.path(), &[&arguments[..], &["--from", &from]].concat());
    assert!(output.status.success(), "{}", text(&output));
    shared.check("theirs", "MLC");
}

#[test]
fn whoever_is_named_wrongly_is_told_so() {
    let shared = Shared::new();
    let store = tempfile::tempdir().unwrap();
    let nothing = shared.project.directory.path().join("recipes");
    let bad = shared.project.directory.path().join("bad.tar");
    std::fs::write(&bad, "no archive").unwrap();
    for (from, expected) in [
        (nothing.display().to_string(), "is neither a store nor an unpacked archive"),
        (bad.display().to_string(), "is not an archive of results"),
        ("/nonexistent".to_owned(), "cannot open /nonexistent"),
        (format!("a b={}", shared.unpacked.display()), "can't be the name"),
        (format!("..={}", shared.unpacked.display()), "can't be the name"),
        ("ftp://127.0.0.1/results".to_owned(), "is not an address that starts with"),
    ] {
        let output = shared.project.run_alone(store.path(), &["release", "small", "--from", &from]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{from}: {said}");
        assert!(said.contains(expected), "{from}: {said}");
    }
    let arguments = ["release", "small", "--offline", "--from", "http://127.0.0.1:9/"];
    let said = text(&shared.project.run_alone(store.path(), &arguments));
    assert!(said.contains("`--offline` forbids it"), "{said}");
}

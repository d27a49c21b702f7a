//! Results that go through a server of the Remote Execution API. The server is a real one; what one may say that lies is tested
//! beside the client (xtask/remote/tests).

use crate::{
    casd::Casd,
    project::{Project, TARGET, outputs, shared_store, text},
};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

/// A release of two steps.
fn project() -> Project {
    let project = Project::new();
    project.recipe("part", "", "head -c 3000000 /dev/zero > /build/out/large; echo part > /build/out/part\n");
    project.recipe(
        "whole",
        "\"part\"",
        "cp /build/src/dependencies/part/part /build/out/; mkdir /build/out/licenses\n\
         echo MIT > /build/out/licenses/LICENSE\n",
    );
    project.release("small", "whole");
    project
}

/// `xtask` where nothing can be fetched or started.
fn alone(project: &Project, store: &Path, arguments: &[&str]) -> Output {
    let mut command = project.command(store, arguments);
    command.env("PATH", "/nonexistent").env("MLC_REPRO_DEBIAN_MIRROR", "http://127.0.0.1:9");
    command.env_remove("MLC_REPRO_MIRROR").output().unwrap()
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![directory.to_owned()], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap().is_dir() {
                true => open.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

#[test]
fn a_release_comes_out_of_a_cache_without_anything_being_built() {
    let project = project();
    let casd = Casd::start();
    let (cache, url) = (format!("team={}", casd.url()), casd.url());
    let build = ["build", "whole", "--json", "--cache", &url, "--cache-upload"];
    let built = outputs(&project.run(&build));
    // Everything is there by now.
    let output = project.run(&[&build[..], &["-v"]].concat());
    assert!(text(&output).contains(" 0 blobs sent (0 bytes)"), "{}", text(&output));

    let store = tempfile::tempdir().unwrap();
    let output = alone(&project, store.path(), &["release", "small", "-o", "theirs", "--cache", &cache]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for expected in [
        format!("results of `team` are trusted, and not built here ({url})"),
        format!("imported part@{TARGET}"),
        format!("imported whole@{TARGET}"),
        "from team".to_owned(),
        "2 of 2 steps were not built here".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected}: {said}");
    }
    // The same tree, all of it intact, and inputs as well where they are asked for.
    assert_eq!(outputs(&alone(&project, store.path(), &["build", "whole", "--json"])), built);
    let output = project.command(store.path(), &["store", "fsck"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    project.recipe("more", "\"part\"", "cp /build/src/dependencies/part/part /build/out/more\n");
    let output = alone(&project, store.path(), &["build", "more", "--cache", &cache]);
    assert!(text(&output).contains(&format!("built more@{TARGET}")), "{}", text(&output));

    // Nobody's word counts in a rebuild, whatever the environment says.
    let theirs = project.directory.path().join("theirs/small");
    let rebuild = ["verify", "--rebuild", theirs.to_str().unwrap()];
    let mut command = project.command(&shared_store(), &rebuild);
    let said = text(&command.env("MLC_REPRO_CACHE", &cache).output().unwrap());
    assert!(said.contains("was rebuilt to the same bytes") && said.contains("built part@"), "{said}");
    assert!(!said.contains("imported part@"), "{said}");
}

#[test]
fn what_changed_in_a_cache_is_not_taken() {
    let project = project();
    let casd = Casd::start();
    let url = casd.url();
    let output = project.run(&["build", "part", "--cache", &url, "--cache-upload"]);
    assert!(output.status.success(), "{}", text(&output));
    let mut flipped = 0;
    for path in files(&casd.cache()) {
        let Ok(mut bytes) = std::fs::read(&path) else { continue };
        if bytes == b"part\n" {
            bytes[0] ^= 1;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            std::fs::write(&path, bytes).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);
    let store = tempfile::tempdir().unwrap();
    let output = alone(&project, store.path(), &["build", "part", "--cache", &url]);
    let said = text(&output);
    // It is built again, out of inputs that are what they should be.
    assert!(
        said.contains("nothing is taken from") && said.contains("something else than the blob"),
        "{said}"
    );
    assert!(said.contains(&format!("built part@{TARGET}")) && !said.contains("imported"), "{said}");
    let output = project.command(store.path(), &["store", "fsck"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_cache_that_does_not_answer_is_told_in_one_sentence() {
    let project = project();
    let unreachable = ["build", "part", "--cache", "unix:/nonexistent/socket"];
    let output = project.run(&unreachable);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let sentence =
        "unix:/nonexistent/socket does not answer: there is no such socket; nothing is taken from there";
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    let casd = Casd::start();
    let url = casd.url();
    for (arguments, says) in [
        (&["build", "part", "--cache", "localhost:1"][..], "is no address of a server"),
        (&["build", "part", "--cache-upload"], "--cache <[NAME=]URL>"),
        (&["--offline", "build", "part", "--cache", &url], "`--offline` forbids it"),
        (&["build", "part", "--cache", &url, "--remote-instance", "other"], "has no instance `other`"),
        (&["build", "part", "--cache", &url, "--tls-ca", "Cargo.toml"], "cannot read Cargo.toml"),
        (&["graph", "--tls-ca", "x"], "does not take `--tls-ca`"),
    ] {
        let output = project.run(arguments);
        let said = text(&output);
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {said}");
    }
}

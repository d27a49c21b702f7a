//! Results that go through a server of the Remote Execution API. The server is a real one; what one may say that lies is tested
//! beside the client (xtask/remote/tests).

use crate::{
    casd::Casd,
    project::{Project, TARGET, outputs, shared_store, text},
    wait::{is_running, lives, until},
};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

/// A release of two steps.
fn project() -> Project {
    Project::of_two_steps("head -c 3000000 /dev/zero > /build/out/large; echo part > /build/out/part\n")
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
    let output = project.run_alone(store.path(), &["release", "small", "-o", "theirs", "--cache", &cache]);
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
    assert_eq!(outputs(&project.run_alone(store.path(), &["build", "whole", "--json"])), built);
    let output = project.command(store.path(), &["store", "fsck"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    project.recipe("more", "\"part\"", "cp /build/src/dependencies/part/part /build/out/more\n");
    let output = project.run_alone(store.path(), &["build", "more", "--cache", &cache]);
    assert!(text(&output).contains(&format!("built more@{TARGET}")), "{}", text(&output));

    // A job that took everything from the cache hands it on as a file, and needs the cache no more.
    let (job, next) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = job.path().join("whole.tar");
    let file = file.to_str().unwrap();
    for (store, arguments) in [
        (&job, &["build", "whole", "--cache", &cache][..]),
        (&job, &["store", "export", &format!("whole@{TARGET}"), "-o", file]),
        (&next, &["store", "import", file, "--name", "job"]),
        (&next, &["--offline", "release", "small", "-o", "next"]),
    ] {
        let output = project.run_alone(store.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }

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
    let output = project.run_alone(store.path(), &["build", "part", "--cache", &url]);
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
        (&["build", "part", "--cache", "localhost:1"][..], "is not an address of a server"),
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

/// A store that has the packages of the sandbox out of a cache, and no result.
fn empty_store(project: &Project, casd: &Casd) -> tempfile::TempDir {
    let output = project.run(&["build", "part", "--cache", &casd.url(), "--cache-upload"]);
    assert!(output.status.success(), "{}", text(&output));
    tempfile::tempdir().unwrap()
}

/// `xtask` that runs builds on a cluster, and nothing here.
fn remotely(project: &Project, store: &Path, casd: &Casd, arguments: &[&str]) -> Command {
    let url = casd.url();
    let all = [arguments, &["-v", "--cache", &url, "--backend", "remote", "--remote", &url]].concat();
    let mut command = project.command(store, &all);
    command.env("PATH", "/nonexistent").env("MLC_REPRO_DEBIAN_MIRROR", "http://127.0.0.1:9");
    command.env_remove("MLC_REPRO_MIRROR");
    command
}

#[test]
fn a_cluster_gives_the_bytes_of_the_sandbox_and_is_sent_things_once() {
    let project = project();
    // Links, empty directories, modes, and names with a new line; `JOBS` is not set there.
    project.recipe(
        "every",
        "\"part\"",
        "test \"$PWD\" = /build/work; echo \"$TARGET $VERSION ${JOBS:-none}\" >&2\n\
         cd /build/out; mkdir -p a/b empty; ln -s a/b link; ln -s /nowhere dangling; printf 'x\\n' > $'a/new\\nline'\n\
         cp /build/src/dependencies/part/* a/b/; printf '#!/bin/sh\\n' > run; chmod 700 run; echo done\n",
    );
    let row = |output: &Output| {
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json.as_array().unwrap().iter().find(|row| row["recipe"] == "every").unwrap().clone()
    };
    let local = row(&project.run(&["build", "every", "--json"]))["outputs"].clone();
    let casd = Casd::start();
    let (one, two) = (empty_store(&project, &casd), tempfile::tempdir().unwrap());
    let output = remotely(&project, one.path(), &casd, &["build", "every", "--json"]).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let every = row(&output);
    assert_eq!((every["outcome"].as_str(), &every["outputs"]), (Some("built"), &local), "{said}");
    let output = project.command(one.path(), &["store", "fsck"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    // Another machine finds what was run for the first.
    let output = remotely(&project, two.path(), &casd, &["build", "every"]).output().unwrap();
    let said = text(&output);
    assert!(said.contains(&format!("imported every@{TARGET}")), "{said}");
    // What is new is sent, and what is there is not: a few questions, and no more than its own sources.
    project.recipe("other", "", "echo other > /build/out/other\n");
    let output = remotely(&project, one.path(), &casd, &["build", "other"]).output().unwrap();
    let said = text(&output);
    assert!(said.contains(&format!("built other@{TARGET}")), "{said}");
    let counts = said.lines().filter(|line| line.contains("questions for missing blobs"));
    for line in counts {
        let number = |word: &str| -> u64 {
            let before = line.split(word).next().unwrap().trim_end();
            before.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(number("questions for") <= 3 && number("blobs sent") < 20, "{line}");
    }
}

#[test]
fn a_failure_is_told_with_its_log_and_is_run_again_the_next_time() {
    let project = project();
    project.recipe("broken", "", "echo \"moment $(date +%s%N)\" >&2; exit 7\n");
    let casd = Casd::start();
    let store = empty_store(&project, &casd);
    let moment = || {
        let output = remotely(&project, store.path(), &casd, &["build", "broken"]).output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("`broken@{TARGET}` failed: exit status 7")), "{said}");
        let moment = said.split("moment ").nth(1).unwrap_or_else(|| panic!("{said}"));
        moment.split_whitespace().next().unwrap().to_owned()
    };
    assert_ne!(moment(), moment());
    // What leaves nothing has failed as well.
    project.recipe("nothing", "", "true\n");
    let output = remotely(&project, store.path(), &casd, &["build", "nothing"]).output().unwrap();
    assert!(text(&output).contains("it wrote nothing to /build/out"), "{}", text(&output));
    for (arguments, says) in [
        (&["build", "part", "--backend", "remote"][..], "name the cluster with `--remote URL`"),
        (
            &["build", "nothing", "--backend", "remote", "--remote", "unix:/nonexistent"],
            "there is no such socket",
        ),
    ] {
        let output = project.command(store.path(), arguments).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(says), "{}", text(&output));
    }
}

#[test]
fn a_server_without_room_is_told_once_and_ends_no_build() {
    let project = project();
    project.recipe("large", "", "head -c 3000000 /dev/urandom > /build/out/large\n");
    let casd = Casd::with_room("1M");
    let url = casd.url();
    let output = project.run(&["build", "large", "whole", "--cache", &url, "--cache-upload"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("it is given nothing more").count(), 1, "{said}");
    assert_eq!(said.matches(&format!("{url} has no room for it")).count(), 1, "{said}");

    project.recipe("later", "", "echo later > /build/out/later\n");
    let remotely = ["build", "later", "--backend", "remote", "--remote", &url];
    let output = project.command(&shared_store(), &remotely).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("has no room for it") && said.contains("hint: give the server more room"),
        "{said}"
    );
}

#[test]
fn a_cluster_that_dies_and_a_user_who_waits_no_longer_leave_nothing() {
    let project = project();
    let mut casd = Casd::start();
    let store = empty_store(&project, &casd);
    let start = |word: &str| {
        project.recipe("long", "", &format!("sleep {word}; echo x > /build/out/x\n"));
        let mut command =
            remotely(&project, store.path(), &casd, &["build", "long", "--remote-retries", "1"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("the action runs", Duration::from_secs(60), || is_running(&format!("sleep\0{word}")));
        child
    };
    // Ctrl-C ends the action where it runs.
    let child = start("3001.25");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(!lives("sleep\x003001.25", Duration::from_secs(20)));

    let child = start("3002.25");
    casd.kill();
    let output = child.wait_with_output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{} does not answer", casd.url())), "{said}");
    let output = project.command(store.path(), &["store", "fsck"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

//! What a person meets at the keyboard: answers that come early, and documents that are true.

use crate::project::{Project, TARGET, repository, shared_store, text};
use std::process::{Command, Output};

/// A recipe that fails and one that takes a moment; neither needs the other.
fn two() -> Project {
    let project = Project::new();
    project.recipe("bad", "", "echo the reason; exit 3\n");
    project.recipe("slow", "", "sleep 2; date +%N > /build/out/now\n");
    project
}

#[test]
fn a_failure_is_told_when_it_happens() {
    let project = two();
    // Something of its own in the script, so that no run before has built it.
    project.write(
        "recipes/packages/slow/build.sh",
        &format!("# {}\nsleep 2; date > /build/out/now\n", project.directory.path().display()),
    );
    let output = project.run(&["build", "bad", "slow", "-j", "2"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let failed = said.find("error: `bad@").unwrap_or_else(|| panic!("{said}"));
    let built = said.find("built slow@").unwrap_or_else(|| panic!("{said}"));
    assert!(failed < built, "{said}");
    assert!(said.contains(&format!("waiting for what is still running: slow@{TARGET}")), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains(&format!("building bad@{TARGET}")), "{said}");
}

#[test]
fn the_log_of_the_last_run_is_printed() {
    let project = Project::new();
    project.recipe("noisy", "", "echo the reason; exit 3\n");
    project.recipe("slow", "", "");
    assert_eq!(project.run(&["build", "noisy"]).status.code(), Some(1));
    let log = project.run(&["log", "noisy"]);
    assert_eq!((log.status.code(), text(&log).as_str()), (Some(0), "the reason\n"));
    let json: serde_json::Value =
        serde_json::from_slice(&project.run(&["log", "noisy", "--json"]).stdout).unwrap();
    assert_eq!(json[0]["failed"], true);
    // Something of its own, so that it runs.
    let script = format!("# {}\necho better; echo > /build/out/x\n", project.directory.path().display());
    project.write("recipes/packages/noisy/build.sh", &script);
    assert!(project.run(&["build", "noisy"]).status.success());
    assert_eq!(text(&project.run(&["log", "noisy"])), "better\n");
    // The result of another recipe whose action is the same one.
    project.recipe("same", "", &script);
    let built = project.run(&["build", "same"]);
    assert!(text(&built).contains("cached same@"), "{}", text(&built));
    assert_eq!(text(&project.run(&["log", "same"])), "better\n");
    let none = project.run(&["log", "slow", "--store", "/nonexistent/store"]);
    assert!(text(&none).contains("the store has no log of `slow`"), "{}", text(&none));
}

#[test]
fn what_is_impossible_is_said_before_the_work() {
    let project = two();
    project.release("small", "slow");
    project.write("file", "");
    let file = project.directory.path().join("file");
    let output = project.run(&["release", "small", "-o", "file"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("file is a file, not a directory") && !said.contains("building"), "{said}");
    assert_eq!(std::fs::read(file).unwrap(), b"");

    // The recipe that lacks an input comes after the other one.
    let recipe = project.directory.path().join("recipes/packages/slow/recipe.toml");
    let plain = std::fs::read_to_string(&recipe).unwrap();
    project.write(
        "recipes/packages/waits/recipe.toml",
        &plain
            .replace("\"slow\"", "\"waits\"")
            .replace("dependencies = []", "dependencies = [\"slow\"]")
            .replace("[[target]]", "[[source]]\ninput = \"far\"\npath = \"far\"\n[[target]]"),
    );
    project.write("recipes/packages/waits/build.sh", "");
    let lock = std::fs::read_to_string(project.directory.path().join("recipes/inputs.lock")).unwrap();
    project.write("recipes/inputs.lock", &lock.replace("input = []\n", "pending = [\"far\"]\ninput = []\n"));
    let said = text(&project.run(&["build", "waits"]));
    assert!(said.contains(&format!("`waits@{TARGET}` can't be built")), "{said}");
    assert!(said.contains("`far` could not be reached") && !said.contains("building"), "{said}");
    let store = tempfile::tempdir().unwrap();
    let said = text(&project.run_alone(store.path(), &["build", "waits"]));
    assert!(said.contains("`far` could not be reached") && !said.contains("cannot fetch"), "{said}");

    // The only server that has it does not answer.
    let far = "[[input]]\nname = \"far\"\nsize = 1\nsha256 = \"HEX\"\nkind = \"https\"\nurls = [\"http://127.0.0.1:1/far.tar\"]\n";
    project.write("recipes/inputs.lock", &lock.replace("input = []\n", &far.replace("HEX", &"0".repeat(64))));
    let said = text(&project.run_alone(store.path(), &["build", "waits"]));
    assert!(said.contains(&format!("`waits@{TARGET}` can't be built")), "{said}");
    assert!(said.contains("cannot fetch `far`") && said.contains("--input NAME=PATH"), "{said}");
    assert!(!said.contains("building") && !said.contains("fetching"), "{said}");

    // Of a recipe for two targets, the one that can be had.
    let plain =
        std::fs::read_to_string(project.directory.path().join("recipes/packages/slow/recipe.toml")).unwrap();
    let android = "[[target]]\ntriple = \"aarch64-linux-android\"\nenvironment = \"sandbox\"\n\
                   [[target.source]]\ninput = \"far\"\npath = \"far\"\n";
    project.write("recipes/packages/both/recipe.toml", &(plain.replace("\"slow\"", "\"both\"") + android));
    project.write("recipes/packages/both/build.sh", "echo > /build/out/x\n");
    let both = project.run(&["build", "both"]);
    let said = text(&both);
    assert!(both.status.success(), "{said}");
    assert!(
        said.contains("note: `both@aarch64-linux-android` is left out, since `far` is out of reach"),
        "{said}"
    );
    let said = text(&project.run(&["build", "both@android"]));
    assert!(said.contains("error: `both@aarch64-linux-android` can't be built"), "{said}");

    // A directory that lacks what the recipe takes of it.
    let parts = project.directory.path().join("recipes/packages/waits/recipe.toml");
    let text_of_parts = std::fs::read_to_string(&parts).unwrap();
    std::fs::write(
        &parts,
        text_of_parts
            .replace("path = \"far\"\n", "path = \"far\"\nstrip = 1\nsubtrees = [\"source.properties\"]\n"),
    )
    .unwrap();
    let said = text(&project.run(&["build", "waits", "--input", "far=recipes"]));
    assert!(said.contains("recipes is not what `far` should be: it has no `source.properties`"), "{said}");

    let mut docker = project.command(store.path(), &["build", "slow", "--backend", "docker"]);
    let said = text(&docker.env("DOCKER_HOST", "unix:///nonexistent/docker.sock").output().unwrap());
    assert!(said.contains("hint:") && !said.contains("fetching"), "{said}");
}

#[test]
fn outputs_that_are_there_are_left_as_they_are() {
    let project = two();
    let build = || text(&project.run(&["build", "slow", "-o", "out"]));
    let directory = format!("out/slow-1-{TARGET}");
    assert!(build().contains(&format!("{directory} is written")));
    let said = build();
    assert!(said.contains(&format!("{directory} is up to date")) && !said.contains("error"), "{said}");
    let now = project.directory.path().join(&directory).join("more");
    let parent = std::fs::metadata(now.parent().unwrap()).unwrap();
    let mut writable = parent.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut writable, 0o755);
    std::fs::set_permissions(now.parent().unwrap(), writable).unwrap();
    std::fs::write(now, "").unwrap();
    assert!(build().contains(&format!("error: {directory} exists already")));
}

#[test]
fn what_will_be_done_is_said_first() {
    let project = two();
    project.write("recipes/packages/slow/build.sh", "echo > /build/out/x\n");
    project.recipe("after", "\"slow\"", "echo > /build/out/x\n");
    project.release("small", "after");
    let vendored = project.directory.path().join("vendored");
    let vendored = vendored.to_str().unwrap();
    assert!(project.run(&["vendor", vendored]).status.success());
    let store = tempfile::tempdir().unwrap();
    let release = |more: &[&str]| {
        let line = [&["release", "small", "--keep-going"], more].concat();
        let output = project.run_alone(store.path(), &line);
        text(&output)
    };
    // Nothing answers there, so that nothing is fetched.
    let said = release(&[]);
    let first = said.lines().next().unwrap_or_default();
    let files = std::fs::read_to_string(repository().join("containers/sandbox.lock")).unwrap();
    let files = files.matches("[[input]]").count();
    assert!(first.contains(&format!("to do: 2 of 2 steps to build; {files} files to fetch (")), "{said}");
    assert!(first.contains(" MB of disk (") && !first.contains("took"), "{said}");
    let given = ["--offline", "--vendored", vendored];
    let said = release(&given);
    assert!(said.lines().next().unwrap_or_default().ends_with("to do: 2 of 2 steps to build"), "{said}");
    assert!(!release(&given).contains("to do:"), "a release with nothing to do says nothing of it");
}

#[test]
fn an_empty_variable_is_not_set() {
    let project = two();
    let cache = tempfile::tempdir().unwrap();
    let run = |cache: &std::ffi::OsStr| -> Output {
        let mut command = project.command(&shared_store(), &["store", "du"]);
        for name in ["MLC_REPRO_STORE", "MLC_REPRO_BACKEND", "MLC_REPRO_SYSROOT", "MLC_REPRO_VERIFY_AGE"] {
            command.env(name, "");
        }
        command.env("XDG_CACHE_HOME", cache).output().unwrap()
    };
    let said = text(&run(cache.path().as_os_str()));
    assert!(said.starts_with(cache.path().to_str().unwrap()), "{said}");
    // By the specification, a relative path is not an answer.
    let said = text(&run("relative".as_ref()));
    assert!(!said.contains("relative"), "{said}");
}

#[test]
fn an_error_is_json_too() {
    let output = two().run(&["build", "slwo", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = &json["error"];
    assert!(error["message"].as_str().unwrap().contains("slwo"), "{json}");
    assert!(error["causes"].is_array() && error["hints"].is_array(), "{json}");
}

#[test]
fn wrong_command_lines_are_answered() {
    let store = tempfile::tempdir().unwrap();
    let lines = [
        "buid",
        "build tvmffi",
        "build tvm_ffi",
        "build tvm.dll",
        "build mlc4j.aar",
        "build tvm",
        "build tvm-ffi@window",
        "build tvm-ffi -j 0",
        "build tvm-ffi --backend podman",
        "build tvm-ffi --sysroot mingw",
        "build tvm-ffi --input foo=/tmp",
        "build tvm-ffi --input android-ndk",
        "build tvm-ffi --limit time=long",
        "release tmv",
        "release releases/tvm.toml",
        "release tvm -o README.md",
        "matrix nope",
        "matrix tvm --format jenkins",
        "fetch ndk",
        "fetch mlc-llm",
        "fetch --release nope",
        "verify README.md",
        "verify nosuch",
        "explain tvm-ffi",
        "explain tvmffi@linux",
        "log tvmffi",
        "environment build window",
        "environment shell linx",
        "lock update nope",
        "patch check nope",
        "store path abc",
        "ci nope",
        "model convert nosuch --quantization q4f16_1 -o out",
        "model convert nosuch --quantization q4f16_9 -o out",
        "model convert README.md --quantization q4f16_1 -o out",
        "model fetch Qwen/Qwen2.5-3B-Instruct",
        "model verify nosuch",
        "model inspect README.md",
        "artifact nosuch.dll",
        "artifact README.md",
        "diff README.md nosuch",
    ];
    let mut all = String::new();
    for line in lines {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(line.split(' '))
            .current_dir(repository())
            .env("MLC_REPRO_STORE", store.path())
            .env_remove("MLC_REPRO_BACKEND")
            .env("COLUMNS", "100")
            .output()
            .unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{line}: {}", text(&output));
        let said = text(&output)
            .replace(store.path().to_str().unwrap(), "STORE")
            .replace(repository().canonicalize().unwrap().to_str().unwrap(), "REPOSITORY")
            .replace(repository().to_str().unwrap(), "REPOSITORY");
        all += &format!("=== {line} ({})\n{said}\n", output.status.code().unwrap());
    }
    insta::assert_snapshot!(all);
}

/// What bash offers for a line that is typed so far.
fn offered(project: &Project, line: &str) -> Vec<String> {
    let script = r#"
        source <(xtask completions bash)
        COMP_LINE=$1; COMP_POINT=${#1}
        read -ra COMP_WORDS <<<"${1//@/ @ }"
        case "$1" in *' ') COMP_WORDS+=('') ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        if [ "${COMP_WORDS[0]}" = cargo ]; then _cargo_with_xtask; else _xtask; fi
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_xtask")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash", line])
        .current_dir(project.directory.path())
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output).lines().map(str::to_owned).collect()
}

#[test]
fn names_are_completed_as_they_are_typed() {
    let project = two();
    project.release("small", "slow");
    for (line, expected) in [
        ("cargo xtask build ba", "bad"),
        ("xtask build sl", "slow"),
        // bash keeps what stands before the `@`.
        ("cargo xtask log slow@x86", TARGET),
        ("cargo xtask release sm", "small"),
        ("cargo xtask graph --release sm", "small"),
        ("cargo xtask environment build sa", "sandbox"),
        ("cargo xtask lock update in", "inputs"),
        ("cargo xtask relea", "release"),
        ("cargo xtask build bad --keep-g", "--keep-going"),
    ] {
        assert_eq!(offered(&project, line), [expected], "{line}");
    }
    let all = offered(&project, "cargo xtask build ");
    assert!(all.contains(&"bad".to_owned()) && all.contains(&"slow".to_owned()), "{all:?}");
    assert!(!offered(&project, "cargo xtask comple").contains(&"complete".to_owned()));
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&project.run(&["completions", shell]));
        assert!(script.contains("complete --") && script.contains("cargo"), "{shell}: {script}");
    }
}

#[test]
fn garbage_collection_leaves_what_fits() {
    let project = two();
    let store = tempfile::tempdir().unwrap();
    let vendored = project.directory.path().join("vendored");
    assert!(project.run(&["vendor", vendored.to_str().unwrap()]).status.success());
    let build = ["build", "slow", "--offline", "--vendored", vendored.to_str().unwrap()];
    let built = project.command(store.path(), &build).output().unwrap();
    assert!(built.status.success(), "{}", text(&built));
    let gc = |more: &[&str]| {
        let output = project.command(store.path(), &[&["store", "gc"], more].concat()).output().unwrap();
        text(&output)
    };
    let node = format!("  slow@{TARGET}");
    assert!(gc(&["--dry-run"]).contains(&node), "{}", gc(&["--dry-run"]));
    for keeps in [&["--older-than", "1"][..], &["--max-size", "100G"]] {
        assert!(!gc(keeps).contains(&node), "{keeps:?}");
    }
    let cached = project.command(store.path(), &build).output().unwrap();
    assert!(text(&cached).contains("cached slow@"), "{}", text(&cached));
    assert!(gc(&["--max-size", "1"]).contains(&node));
    assert!(gc(&["--max-size", "many"]).contains("is not a size such as 20G or 500M"));
}

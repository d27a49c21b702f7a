//! `xtask` as a user runs it, on a small project of its own: real packages, a real sandbox, real builds.
//!
//! The packages of the environment `sandbox` (about 10 MB) come from this machine's own Debian archive, once: the store
//! of these tests is kept in the target directory.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod aar;
mod adversity;
mod android;
mod casd;
mod cut_off;
mod documents;
mod events;
mod given;
#[path = "../../xtask/input/tests/ways/server.rs"]
#[allow(dead_code, reason = "the tests of `input` use the rest")]
mod http;
mod kills;
mod model;
mod network;
mod oci;
mod one_hash;
mod project;
mod publishing;
mod registries;
mod registry;
mod remote;
#[path = "../../xtask/input/tests/fetch/server.rs"]
#[allow(dead_code, reason = "the tests of `input` use the rest")]
mod server;
mod sharing;
mod snapshots;
mod sysroot;
mod trying;
mod users;
#[path = "../../xtask/environment/tests/machine/wait.rs"]
#[allow(dead_code, reason = "the tests of the backends use the rest")]
mod wait;
mod ways;

use project::{Project, TARGET, outputs, shared_store, text};
use std::{os::unix::fs::PermissionsExt, process::Command};

#[test]
fn a_build_sees_its_inputs_and_nothing_else() {
    let project = Project::new();
    project.recipe(
        "hello",
        "",
        r#"
        test "$PWD" = /build/work
        test "$(id -u):$(id -g):$(cat /proc/sys/kernel/hostname)" = 1000:1000:builder
        test "$(umask)" = 0022
        test "$SOURCE_DATE_EPOCH$TZ$LC_ALL" = 315532800UTCC.UTF-8
        test -z "${MLC_REPRO_STORE:-}${SECRET:-}"
        interfaces=$(cut -s -d: -f1 /proc/net/dev | tr -d ' \n|')
        test "${interfaces##*face}" = lo || test "$interfaces" = lo
        status=$(tr '\n\t' '; ' < /proc/self/status)
        [[ $status == *"NoNewPrivs: 1;"* ]]
        [[ $status == *"CapEff: 0000000000000000;"* ]]
        [[ $status == *"CapBnd: 0000000000000000;"* ]]
        ! touch /usr/x 2>/dev/null
        ! touch /build/src/x 2>/dev/null
        ! test -e /home
        echo hello > /build/out/greeting
        "#,
    );
    let output =
        project.command(&shared_store(), &["build", "hello", "--json"]).env("SECRET", "x").output().unwrap();
    outputs(&output);
    let again = project.run(&["build", "hello"]);
    assert!(text(&again).contains("cached hello@"), "{}", text(&again));
}

#[test]
fn another_store_processor_count_user_zone_and_mask_give_the_same_bytes() {
    let project = Project::new();
    // Of what a build can see of its inputs, only the number of a file's hard links is not fixed.
    let script = "stat -c '%n %A %u %g %s %y' /build/src /build/src/* / /usr/bin/* > /build/out/list\n\
                  date +%Z > /build/out/zone; umask > /build/out/mask; pwd > /build/out/directory\n";
    project.recipe("hello", "", script);
    let first = outputs(&project.run(&["build", "hello", "--json", "--jobs", "1"]));

    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), project.directory.path()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let vendored = directory.path().join("vendored");
    let vendor = project.run(&["vendor", vendored.to_str().unwrap()]);
    assert!(vendor.status.success(), "{}", text(&vendor));
    let program = directory.path().join("xtask");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    let build = format!(
        "umask 077; exec '{}' build hello --json --jobs 2 --offline --vendored '{}'",
        program.display(),
        vendored.display()
    );
    // As root, an ordinary user builds it; an ordinary user builds it as itself.
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = match is_root {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &build]);
            command
        }
        false => {
            let mut command = Command::new("sh");
            command.args(["-c", &build]);
            command
        }
    };
    let output = command
        .current_dir(project.directory.path())
        .env("MLC_REPRO_STORE", directory.path().join("other/store"))
        .env("TZ", "Asia/Kathmandu")
        .env("LC_ALL", "de_DE.UTF-8")
        .output()
        .unwrap();
    assert_eq!(outputs(&output), first);
}

#[test]
fn explain_names_what_changed_and_equal_outputs_stop_a_rebuild() {
    let project = Project::new();
    // The time makes every run of this test an action of its own.
    project.recipe(
        "first",
        "",
        &format!("# {:?}\necho same > /build/out/file\n", std::time::SystemTime::now()),
    );
    project.recipe("second", "\"first\"", "cp /build/src/dependencies/first/file /build/out/copy\n");
    assert!(project.run(&["build", "second"]).status.success());

    let script = format!("# Another way, {:?}\necho same > /build/out/file\n", std::time::SystemTime::now());
    project.recipe("first", "", &script);
    let node = format!("first@{TARGET}");
    let explained = text(&project.run(&["explain", &node]));
    assert!(explained.contains("it changed since its last build"), "{explained}");
    assert!(explained.contains("changed recipe.sh"), "{explained}");
    // Nothing is built to answer a question.
    let explained = text(&project.run(&["explain", &format!("second@{TARGET}")]));
    assert!(explained.contains(&format!("needs `{node}`, which is not built")), "{explained}");
    let built = text(&project.run(&["build", "second"]));
    assert!(built.contains("built first@") && built.contains("cached second@"), "{built}");
}

#[test]
fn explain_only_looks() {
    let project = Project::new();
    project.recipe("hello", "", "echo hello > /build/out/x\n");
    let store = tempfile::tempdir().unwrap();
    let explain = |arguments: &[&str]| {
        let output = project.command(store.path(), arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let goal = format!("hello@{TARGET}");
    let said = explain(&["explain", &goal]);
    assert!(said.contains("needs the environment `sandbox`, which is not assembled"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&explain(&["explain", &goal, "--json"])).unwrap();
    assert!(json["action"].is_null() && json["needs"].as_array().unwrap().len() == 1, "{json}");
    for kept in ["cas/sha256", "cas/sha256-x", "ac", "downloads", "checkouts"] {
        let kept = store.path().join(kept);
        assert!(!kept.exists() || std::fs::read_dir(&kept).unwrap().next().is_none(), "{}", kept.display());
    }
}

/// A checkout by Git for Windows that converts line ends, and one on a file system that has no modes.
#[test]
fn checkouts_of_other_systems_have_the_same_keys_or_are_told() {
    let project = Project::new();
    project.recipe("hello", "", "echo hello > /build/out/x\n");
    let explain = ["explain", &format!("hello@{TARGET}")];
    assert!(project.run(&["build", "hello"]).status.success());
    let mode = |mode: &str| {
        let changed = Command::new("chmod").args(["-R", mode]).arg(project.directory.path()).status();
        assert!(changed.unwrap().success());
    };
    mode("a+x");
    let said = text(&project.run(&explain));
    assert!(said.contains("cached: the store has the result"), "{said}");
    for path in
        ["recipes/packages/hello/build.sh", "recipes/packages/hello/recipe.toml", "containers/sandbox.lock"]
    {
        let path = project.directory.path().join(path);
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, old.replace('\n', "\r\n")).unwrap();
        for arguments in [&explain[..], &["lock", "check"], &["lock", "update"], &["build", "hello"]] {
            let output = project.run(arguments);
            let said = text(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("has Windows line ends (CRLF)"), "{}: {said}", path.display());
        }
        std::fs::write(&path, old).unwrap();
    }
}

#[test]
fn a_shell_has_the_variables_of_a_build() {
    let project = Project::new();
    project.recipe("hello", "", "(unset JOBS; env | sort) > /build/out/variables\n");
    assert!(project.run(&["build", "hello", "-o", "out"]).status.success());
    let built = project.directory.path().join(format!("out/hello-1-{TARGET}/variables"));
    let built = std::fs::read_to_string(built).unwrap();
    let node = format!("hello@{TARGET}");
    // bash sets some for its own.
    let script = "unset JOBS; env | sort";
    let shell = project.run(&["environment", "shell", &node, "--", "/bin/bash", "-c", script]);
    assert_eq!(text(&shell), built);
    assert!(built.contains("SOURCE_DATE_EPOCH=315532800\n") && built.contains("VERSION=1\n"), "{built}");
    let jobs =
        ["--jobs", "3", "environment", "shell", "sandbox", "--", "/bin/bash", "-c", "echo $JOBS$TARGET"];
    assert_eq!(text(&project.run(&jobs)), "3\n");
}

#[test]
fn a_failure_shows_the_log_and_keeps_nothing() {
    let project = Project::new();
    project.recipe("bad", "", "echo 'lld-link: error: x.o: unknown file type'; exit 3\n");
    project.recipe("after", "\"bad\"", "true\n");
    project.recipe("empty", "", "true\n");
    let output = project.run(&["build", "after", "empty", "--keep-going"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in [
        "`bad@x86_64-unknown-linux-gnu` failed: exit status 3",
        "  | lld-link: error: x.o: unknown file type",
        "hint: a file of another format was given to the linker",
        "because of bad@",
        "`empty@x86_64-unknown-linux-gnu` failed: it wrote nothing to /build/out",
    ] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
}

#[test]
fn a_release_is_made_verified_rebuilt_and_found_out_when_it_is_touched() {
    let project = Project::new();
    let script = "mkdir /build/out/{lib,licenses}; echo data > /build/out/lib/data; echo MIT > /build/out/licenses/LICENSE\n";
    project.recipe("thing", "", script);
    project.release("small", "thing");
    let first = project.run(&["release", "small"]);
    assert!(first.status.success() && text(&first).contains("is written"), "{}", text(&first));
    let second = project.run(&["release", "small"]);
    assert!(second.status.success() && text(&second).contains("is up to date"), "{}", text(&second));
    for arguments in [&["verify", "dist/small"][..], &["verify", "--rebuild", "dist/small"]] {
        let output = project.run(arguments);
        assert!(output.status.success() && text(&output).contains("PASS"), "{}", text(&output));
        let rebuilt = arguments.contains(&"--rebuild");
        let how = if rebuilt { "was rebuilt to the same bytes by mlc-repro" } else { "it was not rebuilt" };
        let names = text(&output).contains("release.json: sha256 ");
        assert!(names && text(&output).contains(how), "{}", text(&output));
    }
    let archive = project.directory.path().join(format!("dist/small/thing-1-{TARGET}.tar.gz"));
    let mut bytes = std::fs::read(&archive).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&archive, bytes).unwrap();
    let output = project.run(&["verify", "dist/small"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("changed: its sha256 is"), "{}", text(&output));
    let healed = project.run(&["release", "small"]);
    assert!(text(&healed).contains("is written"), "{}", text(&healed));
    assert!(project.run(&["verify", "dist/small"]).status.success());
}

#[test]
fn the_log_of_a_build_by_hand_is_explained() {
    let project = Project::new();
    let log = "[1/2] CMake\nCMake Error at CMakeLists.txt:1 (cmake_minimum_required):\n  Compatibility with CMake < 3.5 has been removed from\n  CMake.\n\nerror\n";
    project.write("build.log", log);
    let found = project.run(&["doctor", "--log", "build.log"]);
    let expected = "build.log:2: CMake Error at CMakeLists.txt:1 (cmake_minimum_required):\n  hint: this source asks for a CMake";
    assert!(found.status.success() && text(&found).starts_with(expected), "{}", text(&found));
    let json = project.run(&["doctor", "--log", "build.log", "--json"]);
    let causes: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(causes[0]["line"], 2, "{causes}");

    project.write("build.log", "all is well\n");
    let none = project.run(&["doctor", "--log", "build.log"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none).contains("build.log shows no failure that is known"), "{}", text(&none));
    assert!(text(&project.run(&["doctor", "--log", "nowhere"])).contains("error: cannot read nowhere"));
}

#[test]
fn mistakes_are_usage_errors_or_clear_ones() {
    let project = Project::new();
    assert_eq!(project.run(&["build"]).status.code(), Some(2));
    assert_eq!(project.run(&["no-such-command"]).status.code(), Some(2));
    for (arguments, expected) in [
        (&["build", "nothing"][..], "there is no recipe `nothing`"),
        (&["release", "nothing"], "there is no release `nothing`"),
        (&["verify", "nowhere"], "nowhere is not a release directory"),
        (&["--vendored", "nowhere", "fetch"], "is not a vendored directory"),
        (&["explain", "nothing@x"], "there is no recipe `nothing`"),
    ] {
        let store = tempfile::tempdir().unwrap();
        let output = project.command(store.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(expected), "{expected}: {}", text(&output));
    }
    project.write("recipes/packages/lost/recipe.toml", &format!("name = \"lost\"\nversion = \"1\"\n[[source]]\ninput = \"unknown\"\npath = \"x\"\n[[target]]\ntriple = \"{TARGET}\"\nenvironment = \"sandbox\"\n"));
    project.write("recipes/packages/lost/build.sh", "true\n");
    let output = project.run(&["build", "lost"]);
    assert!(text(&output).contains("input `unknown` is not in recipes/inputs.lock"), "{}", text(&output));
    let outside = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("graph").current_dir("/").output().unwrap();
    assert!(text(&outside).contains("is not inside a checkout"), "{}", text(&outside));
}

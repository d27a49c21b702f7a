//! What runs in the sandbox is kept in it, whoever starts it.
//!
//! The packages of the environment `sandbox` (about 10 MB) come from this machine's own Debian archive, once: the store
//! of these tests is kept in the target directory.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod machine;

use environment::{Backend, Exit, Launch, Limits, Sandbox, Source};
use input::{FetchOptions, Input};
use machine::{
    Ran, SECONDS, assembled, lock, long, machine, must_pass, process, try_run, try_run_on, wait::lives,
};
use std::{
    collections::BTreeMap,
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};
use store::{Entry, Silent, Store, Tree};

/// Names a directory in which such a process works.
const DIRECTORY: &str = "TEST_DIRECTORY";
/// How long a process may take to end with the sandbox.
const PATIENCE: Duration = Duration::from_secs(10);

fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::new(&machine().store, &machine().environment, &Silent).unwrap())
}

fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    try_run(sandbox(), arguments, variables, &mut |_| {}).unwrap()
}

fn run(script: &str) -> Ran {
    machine::run(sandbox(), script)
}

/// The output of a script that must succeed.
fn said(script: &str) -> String {
    let ran = run(script);
    assert!(ran.exit.success(), "{script}: {}: {}", ran.exit, ran.output);
    ran.output
}

/// Everything that [`Launch`] promises.
fn promise() {
    let facts = "
        id -u; id -g; id -un; cat /proc/sys/kernel/hostname; pwd; umask; ulimit -c
        for line in CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs; do
            while read -r name value; do [ \"$name\" = $line: ] && echo $line $value; done < /proc/self/status
        done
        while IFS=: read -r name rest; do [ \"$rest\" ] && echo network $name; done < <(cat /proc/net/dev)
        cat given ../src/given; true
    ";
    let expected = "1000 1000 builder builder /build/work 0022 0 \
        CapInh 0000000000000000 CapPrm 0000000000000000 CapEff 0000000000000000 CapBnd 0000000000000000 \
        CapAmb 0000000000000000 NoNewPrivs 1 network lo cat: given: No such file or directory given";
    let found = said(facts);
    assert_eq!(found.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    for variables in [&[][..], &[("A", "b c"), ("HOME", "/x")], &[("PWD", "/build/work")]] {
        let ran = run_with(&["/usr/bin/env"], variables);
        let lines: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let mut found: Vec<_> = ran.output.split_inclusive('\n').collect();
        found.sort_unstable();
        assert_eq!(found, lines);
    }
    // The fourth is the directory that is being listed.
    let open = said("exec ls /proc/self/fd");
    assert_eq!(open.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert_eq!(said("readlink /proc/self/fd/0"), "/dev/null\n");
    said("! read -r line");
}

#[test]
fn the_command_finds_what_it_was_promised() {
    promise();
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn promise_in_a_process() {
    promise();
}

#[test]
fn what_we_inherited_stays_outside() {
    let starter = [
        "/bin/bash",
        "-c",
        "umask 077; ulimit -c \"$(ulimit -Hc)\"; exec 7</ 200</etc/passwd; exec \"$@\"",
        "bash",
    ];
    must_pass(&mut process(&starter, "promise_in_a_process"));
}

#[test]
fn an_ordinary_user_may_run_it() {
    machine::by_an_ordinary_user("promise_in_a_process", promise);
}

/// What a build closes to everybody is kept as an output, and leaves nothing behind.
fn closed() {
    let script = "mkdir -p d/e ../out/d/e; for place in d/e ../out/d/e; do echo x > $place/f; chmod 000 $place/f $place; done
        chmod 555 d; chmod 000 ../out/d; echo '#!' > ../out/run; chmod 100 ../out/run";
    let ran = run(script);
    assert!(ran.exit.success(), "{}", ran.output);
    assert_eq!(ran.text("d/e/f"), "x\n");
    assert!(matches!(ran.outputs.get("run"), Some(Entry::File { executable: true, .. })));
    for process in std::fs::read_dir(machine().store.root().join("tmp")).unwrap() {
        let process = process.unwrap().path();
        // Those of other processes, and of other tests of this one, come and go.
        for scratch in std::fs::read_dir(&process).into_iter().flatten().flatten() {
            assert!(!scratch.path().join("out/run").exists(), "{}", scratch.path().display());
        }
    }
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn closed_in_a_process() {
    closed();
}

#[test]
fn what_is_closed_to_an_ordinary_user_goes() {
    closed();
    machine::by_an_ordinary_user("closed_in_a_process", || ());
}

#[test]
fn nothing_outside_can_be_written() {
    for path in ["/x", "/usr/x", "/etc/passwd", "/build/x", "/build/src/x", "/build/src/given", "/dev/x"] {
        let ran = run(&format!("echo x >> {path}"));
        let refused =
            ["Read-only file system", "Permission denied"].iter().any(|word| ran.output.contains(word));
        assert!(refused && !ran.exit.success(), "{path}: {}", ran.output);
    }
    // What is written is what stands there: where this fails, this machine stays as it is.
    for path in ["kernel/hostname", "kernel/core_pattern", "vm/swappiness", "user/max_user_namespaces"] {
        let ran = run(&format!("read -r value < /proc/sys/{path}; echo \"$value\" > /proc/sys/{path}"));
        assert!(ran.output.contains("Read-only file system"), "{path}: {}", ran.output);
    }
    let ran = run(
        "echo x > file; echo '#!' > ../out/program; chmod +x ../out/program; echo x > /tmp/x; echo x > /dev/shm/x
        stat -c %a file ../out/program",
    );
    assert_eq!((ran.exit, ran.output.as_str()), (Exit::Exited(0), "644\n755\n"));
    assert!(matches!(ran.outputs.get("program"), Some(Entry::File { executable: true, .. })));
}

#[test]
fn it_keeps_to_what_all_backends_promise() {
    machine::keeps_the_promise(sandbox());
    machine::hides_the_machine(sandbox());
    machine::probe::filters_system_calls(sandbox());
    machine::keeps_trees_as_they_are(sandbox());
    machine::refuses_what_no_tree_holds(sandbox());
    machine::tells_how_it_ended(sandbox());
}

#[test]
fn it_keeps_to_limits() {
    machine::limits::keeps_to_limits(&|limits| {
        let sandbox = Sandbox::new(&machine().store, &machine().environment, &Silent).unwrap();
        Box::new(sandbox.with_limits(limits))
    });
}

#[test]
fn nothing_on_this_machine_can_be_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ran = run(&format!("exec 3<>/dev/tcp/127.0.0.1/{port}"));
    assert!(ran.output.contains("Connection refused"), "{}", ran.output);
    // Only the sandbox's own processes are seen: its first one, this shell, and `ls`.
    let processes = said("ls /proc");
    assert!(
        processes.split_whitespace().filter(|name| name.parse::<u32>().is_ok()).count() <= 3,
        "{processes}"
    );
}

#[test]
fn no_capability_can_be_gained() {
    for script in [
        "chroot / /usr/bin/true",
        "bwrap --unshare-user --ro-bind / / /usr/bin/true",
        "bwrap --unshare-all --ro-bind / / /usr/bin/true",
    ] {
        let ran = run(script);
        assert!(!ran.exit.success(), "{script}");
    }
}

#[test]
fn exit_statuses_and_signals_come_through() {
    for code in [0, 1, 77, 127, 128] {
        assert_eq!(run(&format!("exit {code}")).exit, Exit::Exited(code));
    }
    for signal in [6, 9, 11, 15] {
        // The command itself, and a command of the shell that is the command.
        assert_eq!(run(&format!("kill -{signal} $$")).exit, Exit::Signalled(signal));
        assert_eq!(run(&format!("sh -c 'kill -{signal} $$'; exit $?")).exit, Exit::Signalled(signal));
    }
    let ran = run_with(&["/nowhere/program"], &[]);
    assert_eq!(ran.exit, Exit::Exited(127));
    assert!(ran.output.contains("/nowhere/program"), "{}", ran.output);
}

#[test]
fn output_comes_while_the_command_runs() {
    let script = "echo begun >&2; for i in {1..1000}; do [ -e /build/src/seen ] && exec echo ended; sleep 0.05; done; exit 1";
    // A directory of this machine, as shells have it: what is done outside is seen inside.
    let directory = tempfile::Builder::new().prefix("a name, with:things ").tempdir().unwrap();
    let (mut seen, path) = (false, directory.path().join("seen"));
    let ran = try_run_on(
        sandbox(),
        Source::Directory(directory.path()),
        &["/bin/bash", "-c", script],
        &[("PATH", "/usr/bin")],
        &mut |bytes| {
            if !seen && bytes.starts_with(b"begun") {
                seen = true;
                std::fs::write(&path, "").unwrap();
            }
        },
    )
    .unwrap();
    assert_eq!((ran.exit, ran.output.as_str()), (Exit::Exited(0), "begun\nended\n"));
}

#[test]
fn much_output_is_whole() {
    let ran = run("head -c 3000000 /dev/zero");
    assert_eq!(ran.output.len(), 3_000_000);
}

#[test]
fn no_process_outlives_the_command() {
    let [one, two] = [1, 2].map(long);
    // One that holds the output open, and one that has closed everything.
    let ran = run(&format!(
        "sleep {one} & one=$!; sleep {two} < /dev/null > /dev/null 2>&1 & two=$!; sleep 0.3
        tr '\\0' ' ' < /proc/$one/cmdline; tr '\\0' ' ' < /proc/$two/cmdline"
    ));
    assert_eq!(ran.output, format!("sleep {one} sleep {two} "));
    assert!(!lives(&one, PATIENCE) && !lives(&two, PATIENCE));
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn wait_in_a_process() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let seconds = std::env::var(SECONDS).unwrap();
    let script = format!("echo begun; sleep {seconds} & sleep {seconds}");
    let launch = Launch {
        store: &machine().store,
        environment: &machine().environment,
        arguments: &["/bin/bash", "-c", &script].map(str::to_owned),
        variables: &[("PATH".to_owned(), "/usr/bin".to_owned())].into(),
        source: Source::Tree(&Tree::new()),
        action: None,
        interactive: false,
        needs: Limits::default(),
        progress: &Silent,
    };
    sandbox().run(&launch, &mut |_| std::fs::write(directory.join("begun"), "").unwrap()).unwrap();
}

#[test]
fn the_sandbox_dies_with_us() {
    machine();
    let directory = tempfile::tempdir().unwrap();
    let mut command = process(&["/usr/bin/env"], "wait_in_a_process");
    let seconds = long(3);
    command
        .env(SECONDS, &seconds)
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    while !directory.path().join("begun").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!lives(&seconds, PATIENCE));
}

#[test]
fn it_works_here() {
    sandbox().check().unwrap();
    assert!(environment::checks().iter().all(|check| check.ok), "{:?}", environment::checks());
}

#[test]
#[ignore = "started by other tests, in a process of their own"]
fn refusal_in_a_process() {
    let error = store::full_text(&sandbox().check().unwrap_err());
    assert!(error.contains("forbids user namespaces"), "{error}");
    assert!(error.contains("as root, run `sysctl user.max_user_namespaces=10000`"), "{error}");
    assert!(environment::namespaces().is_err());
    let launch = Launch {
        store: &machine().store,
        environment: &machine().environment,
        arguments: &["/usr/bin/true".to_owned()],
        variables: &BTreeMap::new(),
        source: Source::Directory(Path::new("/tmp")),
        action: None,
        interactive: false,
        needs: Limits::default(),
        progress: &Silent,
    };
    let run = sandbox().run(&launch, &mut |_| panic!("bubblewrap's words are no output"));
    assert_eq!(store::full_text(&run.unwrap_err()), error);
}

#[test]
fn a_kernel_that_forbids_it_is_explained() {
    machine();
    // The limit is set in a namespace of our own; this machine's stays as it is.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    must_pass(&mut process(&["unshare", "-Ur", "sh", "-c", script, "sh"], "refusal_in_a_process"));
}

#[test]
fn a_second_machine_assembles_the_same_tree() {
    let directory = tempfile::tempdir().unwrap();
    let lock = lock();
    let inputs: Vec<&Input> = lock.inputs.iter().collect();
    let vendored = directory.path().join("vendored");
    input::vendor(&machine().store, &inputs, &vendored, &Silent).unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let options = FetchOptions { vendored: Some(vendored), offline: true, ..FetchOptions::default() };
    assert_eq!(assembled(&store, &options), machine().environment);
}

//! The environment `sandbox`, and actions in it, for the tests of every backend.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod limits;
pub mod probe;
pub mod wait;

use environment::{Backend, Definition, Ended, Environment, Exit, Launch, Limits, Source, assemble};
use input::{FetchOptions, Lock};
use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};
use store::{Entry, Silent, Store, Tree};

/// Says how long a process that a test starts waits, which also tells it from others.
pub const SECONDS: &str = "TEST_SECONDS";

pub struct Machine {
    pub store: Store,
    pub environment: Environment,
}

/// Names the store in a process that a test starts as another user.
pub const STORE: &str = "TEST_STORE";

/// Fetched and assembled once, in the target directory.
pub fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let shared = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("store");
        let store = Store::open(&std::env::var_os(STORE).map_or_else(shared, PathBuf::from)).unwrap();
        let environment = assembled(&store, &FetchOptions::default());
        Machine { store, environment }
    })
}

/// The packages of the environment.
pub fn lock() -> Lock {
    Lock::parse(include_str!("../../../../containers/sandbox.lock"), "sandbox.lock").unwrap()
}

/// The environment, out of what this program holds: another user may not read the repository.
pub fn assembled(store: &Store, options: &FetchOptions) -> Environment {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("common.toml", include_str!("../../../../containers/common.toml")),
        ("sandbox.toml", include_str!("../../../../containers/sandbox.toml")),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let definition = Definition::load(&directory.path().join("sandbox.toml")).unwrap();
    assemble(store, "sandbox", &definition, &lock(), options, &Silent).unwrap()
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub exit: Exit,
    pub output: String,
    pub outputs: Tree,
}

impl Ran {
    /// The text of a file that it left.
    pub fn text(&self, path: &str) -> String {
        match self.outputs.get(path) {
            Some(Entry::File { digest, .. }) => {
                String::from_utf8(machine().store.read(digest).unwrap()).unwrap()
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

/// Runs a command on `/build/src/given`.
pub fn try_run(
    backend: &dyn Backend,
    arguments: &[&str],
    variables: &[(&str, &str)],
    output: &mut dyn FnMut(&[u8]),
) -> anyhow::Result<Ran> {
    let mut sources = Tree::new();
    let digest = machine().store.put_bytes(b"given").unwrap();
    sources.insert("given", Entry::File { digest, executable: false }).unwrap();
    try_run_on(backend, Source::Tree(&sources), arguments, variables, output)
}

pub fn try_run_on(
    backend: &dyn Backend,
    source: Source,
    arguments: &[&str],
    variables: &[(&str, &str)],
    output: &mut dyn FnMut(&[u8]),
) -> anyhow::Result<Ran> {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let launch = Launch {
        store: &machine().store,
        environment: &machine().environment,
        arguments: &arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(),
        variables: &variables.iter().map(text).collect(),
        source,
        action: None,
        interactive: false,
        needs: Limits::default(),
        progress: &Silent,
    };
    let mut all = Vec::new();
    let Ended { exit, outputs } = backend.run(&launch, &mut |bytes| {
        all.extend_from_slice(bytes);
        output(bytes);
    })?;
    Ok(Ran { exit, output: String::from_utf8(all).unwrap(), outputs })
}

pub fn run(backend: &dyn Backend, script: &str) -> Ran {
    try_run(backend, &["/bin/bash", "-c", script], &[("PATH", "/usr/bin")], &mut |_| {}).unwrap()
}

/// The output of a script that must succeed, its words separated by single spaces.
pub fn said(backend: &dyn Backend, script: &str) -> String {
    let ran = run(backend, script);
    assert!(ran.exit.success(), "{script}: {}: {}", ran.exit, ran.output);
    ran.output.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything that [`Launch`] promises.
pub fn keeps_the_promise(backend: &dyn Backend) {
    let facts = "
        id -u; id -g; id -un; cat /proc/sys/kernel/hostname; pwd; umask
        for limit in c n s; do ulimit -S$limit; ulimit -H$limit; done; [ $(ulimit -Hu) -le 16384 ] && ulimit -Su > /dev/null
        for line in CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs; do
            while read -r name value; do [ \"$name\" = $line: ] && echo $line $value; done < /proc/self/status
        done
        # The C library keeps signals 32 and 33 for itself; engines may ignore them.
        while read -r name value; do [ \"$name\" = SigIgn: ] && echo ignored $((0x$value & ~0x180000000)); done < <(cat /proc/self/status)
        while IFS=: read -r name rest; do [ \"$rest\" ] && echo network $name; done < <(cat /proc/net/dev)
        for place in /tmp /dev/shm /build/work /build/out; do touch $place/x && echo $place; done
        for place in / /usr /etc /build /build/src /build/src/given /proc/sys/vm/swappiness; do
            (echo >> $place/x || echo >> $place) 2>/dev/null && echo written $place
        done
        ls /sys; stat -c '%n %A %u %g %s %y' /build/src /build/src/given /usr/bin/bash
        ls /proc/self/fd; readlink /proc/self/fd/0; read -r line || cat given ../src/given; true
    ";
    let expected = "1000 1000 builder builder /build/work 0022 0 0 1024 1024 8192 8192 \
        CapInh 0000000000000000 CapPrm 0000000000000000 CapEff 0000000000000000 CapBnd 0000000000000000 \
        CapAmb 0000000000000000 NoNewPrivs 1 ignored 0 network lo \
        /tmp /dev/shm /build/work /build/out";
    let found = said(backend, facts);
    assert!(found.starts_with(expected), "{found}");
    let files = &found[expected.len()..];
    let program =
        machine().store.checkout(&machine().environment.root, &Silent).unwrap().join("usr/bin/bash");
    let size = std::fs::metadata(program).unwrap().len();
    for part in [
        " /build/src drwxr-xr-x 1000 1000 4096 ".to_owned(),
        "/build/src/given -r--r--r-- 1000 1000 5 ".to_owned(),
        format!("/usr/bin/bash -r-xr-xr-x 1000 1000 {size} "),
    ] {
        assert!(files.contains(&part), "{part} is not in: {files}");
    }
    let end = " 0 1 2 3 /dev/null cat: given: No such file or directory given";
    assert!(files.ends_with(end), "{files}");
    for variables in [&[][..], &[("A", "b c"), ("HOME", "/x")], &[("PWD", "/build/work"), ("HOSTNAME", "h")]]
    {
        let ran = try_run(backend, &["/usr/bin/env"], variables, &mut |_| {}).unwrap();
        let mut given: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        given.sort();
        let mut found: Vec<_> = ran.output.split_inclusive('\n').collect();
        found.sort_unstable();
        assert_eq!(found, given);
    }
}

/// What the kernel would tell of this machine is empty, as far as it can be: [`Launch`] says what is not.
pub fn hides_the_machine(backend: &dyn Backend) {
    #[derive(serde::Deserialize)]
    struct Table {
        hidden: Vec<Hidden>,
    }
    #[derive(serde::Deserialize)]
    struct Hidden {
        paths: Vec<String>,
    }
    let table: Table =
        toml::from_str(include_str!("../../src/isolation.toml")).unwrap_or_else(|error| panic!("{error}"));
    let paths: Vec<String> = table.hidden.into_iter().flat_map(|hidden| hidden.paths).collect();
    assert!(paths.len() > 30);
    let script = format!(
        "for path in {}; do
            if [ -d $path ]; then [ -z \"$(ls -A $path)\" ] || echo shown $path; mkdir $path/x 2> /dev/null && echo written $path
            elif [ -e $path ]; then [ -z \"$(head -c 1 $path 2>&1 | tr '\\0' 0)\" ] || echo shown $path; fi
        done; true",
        paths.join(" ")
    );
    assert_eq!(said(backend, &script), "");
}

/// Names, links, modes and letters' case are those of the tree, both ways, whatever file system is between.
pub fn keeps_trees_as_they_are(backend: &dyn Backend) {
    let store = &machine().store;
    let file = |text: &str, executable| Entry::File {
        digest: store.put_bytes(text.as_bytes()).unwrap(),
        executable,
    };
    let mut tree = Tree::new();
    for (path, entry) in [
        ("A", file("large\n", false)),
        ("a", file("small\n", false)),
        ("aux.c", file("reserved on Windows\n", false)),
        ("a name, with:things \u{e4}", file("odd\n", false)),
        ("two\nlines", file("odder\n", false)),
        ("bin/run", file("#!/bin/sh\necho ran\n", true)),
        ("dangling", Entry::Symlink { target: "nowhere".into() }),
        ("deep/er/empty", Entry::Directory),
        ("deep/link", Entry::Symlink { target: "../A".into() }),
        ("root", Entry::Symlink { target: "/".into() }),
    ] {
        tree.insert(path, entry).unwrap();
    }
    let script = "cp -a ../src/. ../out/; ../src/bin/run; cat ../src/deep/link ../src/a; stat -c %a ../src/A ../src/bin/run ../src/deep";
    let ran = try_run_on(
        backend,
        Source::Tree(&tree),
        &["/bin/bash", "-ec", script],
        &[("PATH", "/usr/bin")],
        &mut |_| {},
    )
    .unwrap();
    assert_eq!((ran.exit, ran.output.as_str()), (Exit::Exited(0), "ran\nlarge\nsmall\n444\n555\n755\n"));
    assert_eq!(ran.outputs, tree);
}

/// What no tree can hold is refused, and names the file.
pub fn refuses_what_no_tree_holds(backend: &dyn Backend) {
    let script =
        |script| try_run(backend, &["/bin/bash", "-ec", script], &[("PATH", "/usr/bin")], &mut |_| {});
    for bad in ["mkfifo ../out/pipe", "touch $'../out/\\xff'", "ln -s $'\\xff' ../out/link"] {
        assert!(script(bad).is_err(), "{bad}");
    }
    // Where it failed, nothing is looked at.
    let ran = script("mkfifo ../out/pipe; exit 3").unwrap();
    assert_eq!((ran.exit, ran.outputs.is_empty()), (Exit::Exited(3), true));
}

/// Exit statuses and signals come through, and so does what the command wrote.
pub fn tells_how_it_ended(backend: &dyn Backend) {
    for code in [1, 77, 127, 128] {
        assert_eq!(run(backend, &format!("exit {code}")).exit, Exit::Exited(code));
    }
    for signal in [6, 9, 15] {
        assert_eq!(run(backend, &format!("kill -{signal} $$")).exit, Exit::Signalled(signal));
    }
    let ran = try_run(backend, &["/nowhere/program"], &[], &mut |_| {}).unwrap();
    assert_eq!(ran.exit, Exit::Exited(127));
    assert!(ran.output.contains("/nowhere/program"), "{}", ran.output);
    let script = "mkdir -p dir ../out/{dir,empty}; echo '#!' > ../out/dir/program; chmod +x ../out/dir/program
        echo text > ../out/plain; ln ../out/plain ../out/same; ln -s ../out/plain ../out/link; ln -s /nowhere ../out/away
        printf 'one\\n\\ntwo'";
    let ran = run(backend, script);
    assert!(ran.exit.success() && ran.output == "one\n\ntwo", "{}", ran.output);
    let is_executable =
        |path: &str| matches!(ran.outputs.get(path), Some(Entry::File { executable: true, .. }));
    assert!(is_executable("dir/program") && !is_executable("plain"));
    assert_eq!(ran.text("same"), "text\n");
    assert_eq!(ran.outputs.get("away"), Some(&Entry::Symlink { target: "/nowhere".into() }));
    assert_eq!(ran.outputs.get("empty"), Some(&Entry::Directory));
    assert_eq!(ran.outputs.iter().count(), 6);
    let ran = run(backend, "head -c 3000000 /dev/zero | tr '\\0' x");
    assert_eq!(ran.output.len(), 3_000_000);
}

/// A number of seconds that no other process of this machine sleeps for, another run of these tests included.
pub fn long(number: u32) -> String {
    format!("{}.{}", 86400 + number, std::process::id())
}

/// A test of the running program that is ignored otherwise, as a process of its own.
pub fn process(starter: &[&str], test: &str) -> Command {
    let mut command = Command::new(starter[0]);
    command.args(&starter[1..]).arg(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]).stdin(Stdio::null());
    command
}

/// Runs a process that is one test, which must pass.
pub fn must_pass(command: &mut Command) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{}: {text}", output.status);
}

/// Has an ordinary user run an ignored test in a process, with a store of its own. Who is not root does it here, by `itself`.
pub fn by_an_ordinary_user(test: &str, itself: impl FnOnce()) {
    if !std::fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t") {
        return itself();
    }
    // Root's directories may be closed to others: the user gets a store and a copy of this program.
    machine();
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = home.path().join("store");
    let program = home.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    {
        let own = Store::open(&store).unwrap();
        let vendored = home.path().join("vendored");
        let lock = lock();
        input::vendor(&machine().store, &lock.inputs.iter().collect::<Vec<_>>(), &vendored, &Silent).unwrap();
        let options = FetchOptions { vendored: Some(vendored), offline: true, ..FetchOptions::default() };
        assert_eq!(assembled(&own, &options).root, machine().environment.root);
    }
    let given = Command::new("chown").args(["-R", "65534:65534"]).arg(&store).status().unwrap();
    assert!(given.success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    must_pass(command.env(STORE, &store).env("HOME", &store).env_remove("TMPDIR").current_dir("/"));
}

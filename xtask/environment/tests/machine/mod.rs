//! The environment `sandbox`, and actions in it, for the tests of every backend.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod wait;

use environment::{Backend, Definition, Environment, Launch, assemble};
use input::{FetchOptions, Lock};
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
};
use store::{Silent, Store};
use tempfile::TempDir;

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
    pub status: ExitStatus,
    pub output: String,
    pub directory: TempDir,
}

/// Runs a command on `/build/src/given`; `output` gets `/build/work` as well as what is said.
pub fn try_run(
    backend: &dyn Backend,
    arguments: &[&str],
    variables: &[(&str, &str)],
    output: &mut dyn FnMut(&Path, &[u8]),
) -> anyhow::Result<Ran> {
    let directory = tempfile::Builder::new().prefix("a name, with:things ").tempdir().unwrap();
    let [source, work, out] = ["src", "work", "out"].map(|name| directory.path().join(name));
    for path in [&source, &work, &out] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(source.join("given"), "given").unwrap();
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let launch = Launch {
        store: &machine().store,
        environment: &machine().environment,
        arguments: &arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(),
        variables: &variables.iter().map(text).collect(),
        source: &source,
        work: &work,
        out: &out,
        interactive: false,
        progress: &Silent,
    };
    let mut all = Vec::new();
    let status = backend.run(&launch, &mut |bytes| {
        all.extend_from_slice(bytes);
        output(&work, bytes);
    })?;
    Ok(Ran { status, output: String::from_utf8(all).unwrap(), directory })
}

pub fn run(backend: &dyn Backend, script: &str) -> Ran {
    try_run(backend, &["/bin/bash", "-c", script], &[("PATH", "/usr/bin")], &mut |_, _| {}).unwrap()
}

/// The output of a script that must succeed, its words separated by single spaces.
pub fn said(backend: &dyn Backend, script: &str) -> String {
    let ran = run(backend, script);
    assert!(ran.status.success(), "{script}: {}: {}", ran.status, ran.output);
    ran.output.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything that [`Launch`] promises.
pub fn keeps_the_promise(backend: &dyn Backend) {
    let facts = "
        id -u; id -g; id -un; cat /proc/sys/kernel/hostname; pwd; umask; ulimit -c
        for line in CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs; do
            while read -r name value; do [ \"$name\" = $line: ] && echo $line $value; done < /proc/self/status
        done
        # The C library keeps signal 32 for itself; engines may ignore it.
        while read -r name value; do [ \"$name\" = SigIgn: ] && echo ignored $((0x$value & ~0x80000000)); done < <(cat /proc/self/status)
        while IFS=: read -r name rest; do [ \"$rest\" ] && echo network $name; done < <(cat /proc/net/dev)
        for place in /tmp /dev/shm /build/work /build/out; do touch $place/x && echo $place; done
        for place in / /usr /etc /build /build/src /build/src/given /proc/sys/vm/swappiness; do
            (echo >> $place/x || echo >> $place) 2>/dev/null && echo written $place
        done
        ls /sys; stat -c '%n %A %u %g %s %y' /build/src /build/src/given /usr/bin/bash
        ls /proc/self/fd; readlink /proc/self/fd/0; read -r line || cat given ../src/given; true
    ";
    let expected = "1000 1000 builder builder /build/work 0022 0 \
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
        // The sandbox shows test directories as they are; only stores have read-only files.
        let part = if backend.name() == "sandbox" { part.replace("-r--r--r--", "-rw-r--r--") } else { part };
        assert!(files.contains(&part), "{part} is not in: {files}");
    }
    let end = " 0 1 2 3 /dev/null cat: given: No such file or directory given";
    assert!(files.ends_with(end), "{files}");
    for variables in [&[][..], &[("A", "b c"), ("HOME", "/x")], &[("PWD", "/build/work"), ("HOSTNAME", "h")]]
    {
        let ran = try_run(backend, &["/usr/bin/env"], variables, &mut |_, _| {}).unwrap();
        let mut given: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        given.sort();
        let mut found: Vec<_> = ran.output.split_inclusive('\n').collect();
        found.sort_unstable();
        assert_eq!(found, given);
    }
}

/// Exit statuses and signals come through, and so does what the command wrote.
pub fn tells_how_it_ended(backend: &dyn Backend) {
    use std::os::unix::process::ExitStatusExt;
    for code in [1, 77, 127, 128] {
        assert_eq!(run(backend, &format!("exit {code}")).status.code(), Some(code));
    }
    for signal in [6, 9, 15] {
        assert_eq!(run(backend, &format!("kill -{signal} $$")).status.signal(), Some(signal));
    }
    let ran = try_run(backend, &["/nowhere/program"], &[], &mut |_, _| {}).unwrap();
    assert_eq!(ran.status.code(), Some(127));
    assert!(ran.output.contains("/nowhere/program"), "{}", ran.output);
    let script = "mkdir -p dir ../out/{dir,empty}; echo '#!' > ../out/dir/program; chmod +x ../out/dir/program
        echo text > ../out/plain; ln ../out/plain ../out/same; ln -s ../out/plain ../out/link; ln -s /nowhere ../out/away
        printf 'one\\n\\ntwo'";
    let ran = run(backend, script);
    assert!(ran.status.success() && ran.output == "one\n\ntwo", "{}", ran.output);
    let out = ran.directory.path().join("out");
    let mode = |path: &str| out.join(path).metadata().unwrap().permissions().mode() & 0o100;
    assert_eq!((mode("dir/program"), mode("plain")), (0o100, 0));
    assert_eq!(std::fs::read_to_string(out.join("same")).unwrap(), "text\n");
    assert_eq!(std::fs::read_link(out.join("away")).unwrap(), Path::new("/nowhere"));
    assert!(out.join("empty").is_dir());
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 6);
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

/// Has an ordinary user run an ignored test in a process, with a store of its own. Who is no root does it here, by `itself`.
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

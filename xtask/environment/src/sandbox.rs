//! The default backend: namespaces, by bubblewrap out of locked packages.
//!
//! bubblewrap and its libraries come from the environment `sandbox`, and are run through that environment's own dynamic
//! loader, so that nothing need be installed on this machine. It needs user namespaces, and no privileges.

use crate::{
    Backend, Ended, Environment, Exit, Launch, Limits, Source,
    backend::{COMMAND, prepare},
    doctor,
    isolation::Isolation,
    limits::guard,
    session,
    system_calls::SystemCalls,
};
use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{MemfdFlags, memfd_create};
use std::{
    collections::BTreeMap,
    fs::{File, Permissions},
    io::{IsTerminal, PipeReader, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Instant,
};
use store::{Hinted, Progress, Store, Tree, WithHint, hinted};

/// Isolation that no launch does without.
pub(crate) const ISOLATION: &[&str] = &[
    "--unshare-all",
    // Where user namespaces can't be made, this fails rather than goes on without, as root might.
    "--unshare-user",
    // In a namespace of its own the command could gain capabilities again.
    "--disable-userns",
    "--die-with-parent",
    "--hostname",
    "builder",
    "--uid",
    "1000",
    "--gid",
    "1000",
    "--cap-drop",
    "ALL",
    "--clearenv",
];

/// Mounts over the root: programs expect them everywhere.
///
/// User 1000 inside is the user outside. Where that is root, the kernel's switches below `/proc/sys` would be its own to
/// write, `kernel.core_pattern` among them, which names a program that runs outside.
pub(crate) fn system(limits: &Limits) -> Vec<String> {
    let size = limits.memory.map(|memory| format!("--size {memory} ")).unwrap_or_default();
    let words = format!(
        "--proc /proc --ro-bind /proc/sys /proc/sys --dev /dev --perms 1777 {size}--tmpfs /dev/shm --remount-ro /dev --perms 1777 {size}--tmpfs /tmp"
    );
    words.split(' ').map(str::to_owned).collect()
}

/// Opens the filter of system calls, its first word, for bubblewrap: only a shell can hand a file down to one program alone
/// without unsafe code.
const WITH_FILTER: &str = "exec \"$@\" 9<\"$0\"";

/// Where [`WITH_FILTER`] opens it.
pub(crate) const FILTER: &[&str] = &["--seccomp", "9"];

/// Said first by the shell inside: before it, all that is said is bubblewrap's, and the command never began.
const BEGIN: &str = "printf '\\0'; ";

/// What bubblewrap says where it may not work, and what to change.
const PROBLEMS: &[(&str, &str)] = &[
    (
        "namespaces exceeded (ENOSPC)",
        "namespaces are nested too deep, or there are too many of them; as root, run `sysctl user.max_user_namespaces=10000`",
    ),
    // AppArmor lets the namespace be made, and then nothing be done in it.
    (
        "setting up uid map: Permission denied",
        "AppArmor restricts user namespaces; as root, run `sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
    ),
    (
        "loopback: Failed",
        "AppArmor restricts user namespaces; as root, run `sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
    ),
    ("Can't mount proc", doctor::IN_CONTAINER),
    ("Failed to mount", doctor::IN_CONTAINER),
    ("Failed to make / slave", doctor::IN_CONTAINER),
];

/// Runs actions in namespaces.
pub struct Sandbox {
    tools: PathBuf,
    isolation: Isolation,
    limits: Limits,
    /// The system calls that a build may make, as the kernel takes them, in memory.
    filter: File,
}

/// What stands at `/build` while a command runs.
struct Places<'a> {
    source: &'a Path,
    work: &'a Path,
    out: &'a Path,
}

impl Sandbox {
    /// Lays the environment with bubblewrap out.
    ///
    /// Files that this process inherited (from a job server or an editor, say) are from now on closed in every program that
    /// it starts: an open directory would be a way out of the sandbox.
    pub fn new(store: &Store, tools: &Environment, progress: &dyn Progress) -> Result<Self> {
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let tools = store.checkout(&tools.root, progress)?;
        let filter =
            memfd_create("system calls", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?;
        let mut filter = File::from(filter);
        filter.write_all(&SystemCalls::load()?.program()?).context("cannot write a file in memory")?;
        Ok(Self { tools, isolation: Isolation::load()?, limits: Limits::default(), filter })
    }

    /// What one action may take at most.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// bubblewrap with a root, and nothing else of this machine.
    fn bubblewrap(&self, root: &Path, limits: &Limits) -> Command {
        let library = |directory: &str| self.tools.join(directory).display().to_string();
        let libraries = [library("usr/lib/x86_64-linux-gnu"), library("usr/lib64")].join(":");
        let loader = self.tools.join("usr/lib64/ld-linux-x86-64.so.2");
        let mut command = Command::new(&loader);
        command
            .env_clear()
            .args(["--library-path", &libraries])
            .arg(self.tools.join("usr/bin/dash"))
            .args(["-c", WITH_FILTER])
            .arg(format!("/proc/{}/fd/{}", std::process::id(), self.filter.as_raw_fd()))
            .arg(&loader)
            .args(["--library-path", &libraries])
            .arg(self.tools.join("usr/bin/bwrap"))
            .args(ISOLATION)
            .args(FILTER)
            .arg("--ro-bind")
            .args([root, Path::new("/")])
            .args(system(limits))
            .args(self.isolation.covers());
        command
    }

    fn command(&self, launch: &Launch, places: &Places) -> Result<Command> {
        let root = launch.store.checkout(&launch.environment.root, launch.progress)?;
        let mut command = self.bubblewrap(&root, &self.limits.raised_to(&launch.needs));
        // A session of its own keeps the command from typing into this terminal (TIOCSTI). A shell at the terminal needs the
        // terminal's session for its job control, so there whoever types stays responsible.
        if !launch.interactive || !std::io::stdin().is_terminal() {
            command.arg("--new-session");
        }
        for (kind, from, to) in [
            ("--ro-bind", places.source, "/build/src"),
            ("--bind", places.work, "/build/work"),
            ("--bind", places.out, "/build/out"),
        ] {
            command.arg(kind).arg(absolute(from)?).arg(to);
        }
        let begin = if launch.interactive { "" } else { BEGIN };
        command.args(inside(&self.isolation, begin, launch.variables, launch.arguments));
        Ok(command)
    }

    fn run_in(&self, places: &Places, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<Exit> {
        let mut command = self.command(launch, places)?;
        if launch.interactive {
            let mut started = session::start(command).with_hint(|| self.start_error())?;
            return Ok(exit(started.child.wait().context("cannot wait for bubblewrap")?));
        }
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut started = session::start(command).with_hint(|| self.start_error())?;
        let child = &mut started.child;
        let (id, limits) = (child.id(), self.limits.raised_to(&launch.needs));
        // It may have ended by itself already.
        let (passed, why) = guard(&limits, id, || drop(child.kill()), || pass_on(reader, output));
        if let Some(why) = why {
            output(why.as_bytes());
        }
        if passed.is_err() {
            // It may have ended by itself already.
            let _ = child.kill();
        }
        let status = child.wait().context("cannot wait for bubblewrap")?;
        match passed? {
            None => Ok(status.code().map_or(exit(status), Exit::of)),
            Some(_) if status.signal().is_some() => Ok(exit(status)),
            Some(complaint) => Err(not_begun(&complaint)),
        }
    }

    fn start_error(&self) -> Hinted {
        hinted(
            format!("cannot start bubblewrap at {}", self.tools.display()),
            "the store must not be on a file system that is mounted noexec",
        )
    }
}

/// What bubblewrap is told after the mounts: the variables, and the command behind a shell that begins with `begin`.
pub(crate) fn inside(
    isolation: &Isolation,
    begin: &str,
    variables: &BTreeMap<String, String>,
    arguments: &[String],
) -> Vec<String> {
    let mut words = vec!["--chdir".to_owned(), "/build/work".to_owned()];
    for (name, value) in variables {
        words.extend(["--setenv".to_owned(), name.clone(), value.clone()]);
    }
    let script = format!("{begin}{}exec {COMMAND}", prepare(isolation, variables, &BTreeMap::new()));
    words.extend(["--", "/bin/sh", "-c", &script, "sh"].map(str::to_owned));
    words.extend_from_slice(arguments);
    words
}

impl Backend for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn check(&self) -> Result<String> {
        let start = Instant::now();
        let mut command = self.bubblewrap(&self.tools, &Limits::default());
        command.args(["--", "/bin/sh", "-c", ":"]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let started = session::start(command).with_hint(|| self.start_error())?;
        let output = started.child.wait_with_output().context("cannot wait for bubblewrap")?;
        match output.status.success() {
            true => Ok(format!("an empty action takes {:.0} ms", start.elapsed().as_secs_f64() * 1000.0)),
            false => Err(not_begun(&String::from_utf8_lossy(&output.stderr))),
        }
    }

    fn run(&self, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<Ended> {
        ensure!(!launch.arguments.is_empty(), "there is no command to run in the sandbox");
        let scratch = launch.store.scratch()?;
        let [source, work, out] = ["src", "work", "out"].map(|name| scratch.path().join(name));
        let source = match launch.source {
            Source::Tree(tree) => {
                launch.store.materialise(tree, &source)?;
                source
            }
            Source::Directory(path) => path.to_owned(),
        };
        for directory in [&work, &out] {
            // A mode that does not depend on this process' mask: builds can see it.
            std::fs::create_dir(directory)
                .and_then(|()| std::fs::set_permissions(directory, Permissions::from_mode(0o755)))
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let exit = self.run_in(&Places { source: &source, work: &work, out: &out }, launch, output)?;
        let outputs = match exit.success() && !launch.interactive {
            true => launch.store.import_outputs(&out, self.limits.raised_to(&launch.needs).outputs)?,
            false => Tree::new(),
        };
        Ok(Ended { exit, outputs })
    }
}

/// How a program of this machine ended.
fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (None, Some(signal)) => Exit::Signalled(signal),
        (code, _) => Exit::Exited(code.unwrap_or(1)),
    }
}

/// Gives what comes after [`BEGIN`] to `output` until the end. What was said instead, when that never came.
fn pass_on(mut reader: PipeReader, output: &mut dyn FnMut(&[u8])) -> Result<Option<String>> {
    let mut buffer = vec![0; 1 << 16];
    let mut complaint = Some(Vec::new());
    loop {
        let count = reader.read(&mut buffer).context("cannot read the command's output")?;
        let bytes = &buffer[..count];
        match &mut complaint {
            _ if count == 0 => break,
            None => output(bytes),
            Some(text) => match bytes.iter().position(|byte| *byte == 0) {
                None => text.extend_from_slice(bytes),
                Some(end) => {
                    complaint = None;
                    if end + 1 < count {
                        output(&bytes[end + 1..]);
                    }
                }
            },
        }
    }
    Ok(complaint.map(|text| String::from_utf8_lossy(&text).into_owned()))
}

/// bubblewrap's own words, and what to do about them.
pub(crate) fn not_begun(complaint: &str) -> anyhow::Error {
    let complaint = complaint.trim();
    let message = format!("the sandbox could not be made: {complaint}");
    if let Err(error) = doctor::namespaces() {
        return error.context(message);
    }
    let hint = match PROBLEMS.iter().find(|(words, _)| complaint.contains(words)) {
        Some((_, hint)) => hint,
        None if doctor::is_filtered() => doctor::IN_CONTAINER,
        None => "`cargo xtask doctor` tells what this machine allows",
    };
    anyhow!(hinted(message, hint))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot resolve {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn passed(text: &[u8]) -> (Option<String>, Vec<u8>) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(text).unwrap();
        drop(writer);
        let mut output = Vec::new();
        let complaint = pass_on(reader, &mut |bytes| output.extend_from_slice(bytes)).unwrap();
        (complaint, output)
    }

    #[test]
    fn output_begins_after_the_mark() {
        assert_eq!(passed(b"\0out\0put"), (None, b"out\0put".to_vec()));
        assert_eq!(passed(b"warning\n\0"), (None, Vec::new()));
        assert_eq!(passed(b"bwrap: no"), (Some("bwrap: no".to_owned()), Vec::new()));
        assert_eq!(passed(b""), (Some(String::new()), Vec::new()));
    }

    #[test]
    fn bubblewraps_words_come_with_a_remedy() {
        for (complaint, remedy) in [
            ("bwrap: setting up uid map: Permission denied\n", "apparmor_restrict_unprivileged_userns=0"),
            ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "systempaths=unconfined"),
            ("bwrap: something new", "cargo xtask doctor"),
        ] {
            let error = store::full_text(&not_begun(complaint));
            assert!(error.contains(complaint.trim()) && error.contains(remedy), "{error}");
        }
    }
}

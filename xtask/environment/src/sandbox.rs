//! The default backend: namespaces, by bubblewrap out of locked packages.
//!
//! bubblewrap and its libraries come from the environment `sandbox`, and are run through that environment's own dynamic
//! loader, so that nothing need be installed on this machine. It needs user namespaces, and no privileges.

use crate::{Backend, Environment, Launch};
use anyhow::{Context, Result, bail};
use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};
use store::{Progress, Store};

/// Sets the file mode mask, which bubblewrap hands down, and becomes the command.
const MASK: &str = "umask 022; exec \"$@\"";

/// Runs actions in namespaces.
pub struct Sandbox {
    tools: PathBuf,
}

impl Sandbox {
    /// Lays the environment with bubblewrap out. Errors: this machine does not let anybody make namespaces; the message
    /// says what to change.
    pub fn new(store: &Store, tools: &Environment, progress: &dyn Progress) -> Result<Self> {
        namespaces()?;
        Ok(Self { tools: store.checkout(&tools.root, progress)? })
    }

    fn bubblewrap(&self) -> Command {
        let library = |directory: &str| self.tools.join(directory).display().to_string();
        let mut command = Command::new(self.tools.join("usr/lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg([library("usr/lib/x86_64-linux-gnu"), library("usr/lib64")].join(":"))
            .arg(self.tools.join("usr/bin/bwrap"));
        command
    }
}

impl Backend for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn run(&self, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<ExitStatus> {
        let mut command = self.bubblewrap();
        command.args([
            "--unshare-all",
            "--die-with-parent",
            "--hostname",
            "builder",
            "--uid",
            "1000",
            "--gid",
            "1000",
        ]);
        command.args(["--cap-drop", "ALL"]);
        // A session of its own keeps the command from typing into this terminal; a shell needs the terminal's jobs.
        if !launch.interactive {
            command.arg("--new-session");
        }
        let binds: [(&str, &Path, &str); 4] = [
            ("--ro-bind", launch.root, "/"),
            ("--ro-bind", launch.source, "/build/src"),
            ("--bind", launch.work, "/build/work"),
            ("--bind", launch.out, "/build/out"),
        ];
        for (kind, from, to) in binds {
            command.arg(kind).arg(from).arg(to);
        }
        command.args([
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            "--chdir",
            "/build/work",
            "--clearenv",
        ]);
        for (name, value) in launch.variables {
            command.args(["--setenv", name, value]);
        }
        command.args(["--", "/bin/sh", "-c", MASK, "sh"]).args(launch.arguments);
        if launch.interactive {
            return command.status().context("cannot start bubblewrap");
        }
        let (mut reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn().context("cannot start bubblewrap")?;
        // The command holds the pipe's other end; without this the reading would never end.
        drop(command);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer).context("cannot read the command's output")? {
                0 => break,
                count => output(&buffer[..count]),
            }
        }
        child.wait().context("cannot wait for bubblewrap")
    }
}

/// Whether this machine lets an ordinary process make user namespaces. The error is one sentence and what to change.
pub fn namespaces() -> Result<()> {
    let value = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let switches = [
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    for (name, forbids, remedy) in switches {
        if value(&format!("/proc/sys/{name}")).as_deref() == Some(forbids) {
            bail!(
                "this machine forbids user namespaces, which the sandbox is made of ({name} is {forbids})\n  hint: as root, run `{remedy}`"
            );
        }
    }
    if !Path::new("/proc/self/ns/user").exists() {
        bail!("this kernel has no user namespaces (CONFIG_USER_NS), which the sandbox is made of");
    }
    Ok(())
}

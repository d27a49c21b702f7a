//! What every way to run an action has in common.

use crate::{Environment, Limits, isolation::Isolation, tarball};
use anyhow::Result;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Write,
    path::Path,
};
use store::{Action, Progress, Store, Tree};

/// Exit statuses above this one are a signal, as shells, bubblewrap and container engines report it (POSIX: greater than
/// 128).
const SIGNALLED: i32 = 128;

/// Linux' signals are numbered from 1 to this.
const LAST_SIGNAL: i32 = 64;

/// One run of a command in an environment.
///
/// Inside, whatever the backend: read-only root; `/build/src` read-only, `/build/work` and `/build/out` writable,
/// `/build/work` being the working directory; `/tmp` and `/dev/shm` empty and writable; user and group 1000; host name
/// `builder`; `lo` as the only network; no variables but those given; file mode mask 022; no input; no open file but the
/// output; no signal ignored; no capabilities, no way to gain any; a session keyring of its own, and no system calls but those
/// of `system_calls.toml`; resource limits of `isolation.toml` (no core dumps), and empty what that hides of `/proc`.
///
/// What depends on the machine all the same: its processors and memory (`/proc/cpuinfo`, `/proc/meminfo`, `/proc/stat`), the
/// kernel's release, the clock, and the paths in `/proc/PID/mountinfo`, which no mount can cover for processes to come.
pub struct Launch<'a> {
    /// Where the environment is, laid out or not.
    pub store: &'a Store,
    /// The root file system.
    pub environment: &'a Environment,
    /// The command line.
    pub arguments: &'a [String],
    /// All environment variables.
    pub variables: &'a BTreeMap<String, String>,
    /// What stands at `/build/src`.
    pub source: Source<'a>,
    /// The action that this is a run of, kept in the store with all that it names; a shell is of none.
    pub action: Option<&'a Action>,
    /// Whether this process' input, output and terminal are given to the command, for a shell; outputs are thrown away.
    pub interactive: bool,
    /// What it says that it needs, where the backend has limits.
    pub needs: Limits,
    /// Told about the laying out of environments.
    pub progress: &'a dyn Progress,
}

/// What stands at `/build/src`.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A tree of the store: all that actions have.
    Tree(&'a Tree),
    /// A directory of this machine as it is, for shells.
    Directory(&'a Path),
}

impl Source<'_> {
    /// As a tar archive, in which the directory is called `name`.
    pub(crate) fn write(&self, store: &Store, name: &str, out: impl Write) -> Result<()> {
        match self {
            Self::Tree(tree) => tarball::write_tree(store, tree, name, out),
            Self::Directory(path) => tarball::write_directory(path, name, out),
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal of Linux, by its number.
    Signalled(i32),
}

impl Exit {
    /// Of a status of which 128 + signal may have been said.
    pub fn of(code: i32) -> Self {
        match code {
            _ if (SIGNALLED + 1..=SIGNALLED + LAST_SIGNAL).contains(&code) => {
                Self::Signalled(code - SIGNALLED)
            }
            _ => Self::Exited(code & 0xff),
        }
    }

    /// Whether it exited with status 0.
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }
}

/// As people know it: `exit status 1`, `signal 9 (SIGKILL)`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(i32, &str); 11] = [
            (1, "SIGHUP"),
            (2, "SIGINT"),
            (3, "SIGQUIT"),
            (4, "SIGILL"),
            (6, "SIGABRT"),
            (7, "SIGBUS"),
            (8, "SIGFPE"),
            (9, "SIGKILL"),
            (11, "SIGSEGV"),
            (13, "SIGPIPE"),
            (15, "SIGTERM"),
        ];
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signalled(signal) => match NAMES.iter().find(|(number, _)| number == signal) {
                Some((_, name)) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub exit: Exit,
    /// What it left at `/build/out`, kept in the store. Empty where it did not succeed, or was interactive.
    pub outputs: Tree,
}

/// A way to run actions. It is not part of any key: every backend must give the same bytes.
pub trait Backend: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// Tries whether this machine lets the backend work, and says what was found. The error is one sentence and what to
    /// change.
    fn check(&self) -> Result<String>;

    /// Runs a command until it ends; `output` is given stdout and stderr, as they come, and in the end no process of it is
    /// left. When this process dies, so does the command. Errors when it can't be started, and when it left what no tree can
    /// hold (devices, pipes, names that are not UTF-8), or more than the disk or its limits have room for. A command that takes
    /// more than its limits is ended by SIGKILL, and `output` is told why. How the command ended is told: an exit status as such, and a signal as
    /// such, also where a shell stood in between and said 128 + signal (an interactive command's status is passed on as it is).
    fn run(&self, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<Ended>;
}

/// What a shell inside does first: it sets what the isolation hands down and has no option for, and takes away the
/// variables that shells (`PWD`), container engines and our images (those of the environment) add, unless they are given.
pub(crate) fn prepare(
    isolation: &Isolation,
    variables: &BTreeMap<String, String>,
    image: &BTreeMap<String, String>,
) -> String {
    let mut added: BTreeSet<&str> = image.keys().map(String::as_str).collect();
    added.extend(["HOME", "HOSTNAME", "OLDPWD", "PATH", "PWD", "TERM", "container"]);
    let unset: Vec<_> = added.into_iter().filter(|name| !variables.contains_key(*name)).collect();
    let limits = isolation.ulimits();
    match unset.is_empty() {
        true => format!("umask 022; {limits}"),
        false => format!("umask 022; {limits}unset {}; ", unset.join(" ")),
    }
}

/// Behind [`prepare`], runs the command with no signal ignored: whoever started us may ignore some (`nohup`, a shell's
/// background, a service), and what a build does about a closed pipe must not depend on it.
pub(crate) const COMMAND: &str = "/usr/bin/env --default-signal -- \"$@\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_above_128_are_signals() {
        for (code, exit, text) in [
            (0, Exit::Exited(0), "exit status 0"),
            (127, Exit::Exited(127), "exit status 127"),
            (128, Exit::Exited(128), "exit status 128"),
            (139, Exit::Signalled(11), "signal 11 (SIGSEGV)"),
            (163, Exit::Signalled(35), "signal 35"),
            (193, Exit::Exited(193), "exit status 193"),
        ] {
            assert_eq!((Exit::of(code), Exit::of(code).to_string().as_str()), (exit, text));
        }
        assert!(Exit::of(0).success() && !Exit::of(1).success() && !Exit::Signalled(0).success());
    }

    #[test]
    fn only_variables_that_are_given_stay() {
        let given = [("PATH".to_owned(), "/usr/bin".to_owned())].into();
        let image = ["PATH", "TZ"].map(|name| (name.to_owned(), "x".to_owned())).into();
        let words = prepare(&Isolation::load().unwrap(), &given, &image);
        assert!(words.starts_with("umask 022; { ulimit -"), "{words}");
        assert!(words.ends_with("; unset HOME HOSTNAME OLDPWD PWD TERM TZ container; "), "{words}");
    }
}

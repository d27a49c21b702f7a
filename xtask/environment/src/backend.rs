//! What every way to run an action has in common.

use crate::Environment;
use anyhow::Result;
use std::{collections::BTreeMap, os::unix::process::ExitStatusExt, path::Path, process::ExitStatus};
use store::{Progress, Store};

/// Exit statuses above this one are a signal, as shells, bubblewrap and container engines report it (POSIX: greater than
/// 128).
const SIGNALLED: i32 = 128;

/// Linux' signals are numbered from 1 to this.
const LAST_SIGNAL: i32 = 64;

/// One run of a command in an environment.
///
/// Inside, whatever the backend: read-only root; `/build/src` read-only, `/build/work` and `/build/out` writable,
/// `/build/work` being the working directory; `/tmp` and `/dev/shm` empty and writable; user and group 1000; host name
/// `builder`; `lo` as the only network; no variables but those given; file mode mask 022; no core dumps; no input; no open
/// file but the output; no signal ignored; no capabilities, no way to gain any.
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
    pub source: &'a Path,
    /// An empty directory: `/build/work` itself, or a place for what the backend needs.
    pub work: &'a Path,
    /// An empty directory: holds in the end what stands at `/build/out`.
    pub out: &'a Path,
    /// Whether this process' input, output and terminal are given to the command, for a shell.
    pub interactive: bool,
    /// Told about the laying out of environments.
    pub progress: &'a dyn Progress,
}

/// A way to run actions. It is no part of any key: every backend must give the same bytes.
pub trait Backend: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// Tries whether this machine lets the backend work, and says what was found. The error is one sentence and what to
    /// change.
    fn check(&self) -> Result<String>;

    /// Runs a command until it ends; `output` is given stdout and stderr, as they come, and in the end no process of it is
    /// left. When this process dies, so does the command. Errors when it can't be started; how the command ended is in the
    /// status: an exit status as such, and a signal as such, also where a shell stood in between and said 128 + signal
    /// (an interactive command's status is passed on as it is).
    fn run(&self, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<ExitStatus>;
}

/// What a shell inside does first: it sets what the isolation hands down and has no option for, and takes away the
/// variables that shells (`PWD`), container engines and our images add, unless they are given.
pub(crate) fn prepare(variables: &BTreeMap<String, String>) -> String {
    let added = ["HOME", "HOSTNAME", "LC_ALL", "OLDPWD", "PATH", "PWD", "TERM", "TZ", "container"];
    let unset: Vec<_> = added.into_iter().filter(|name| !variables.contains_key(*name)).collect();
    match unset.is_empty() {
        true => "umask 022; ulimit -c 0; ".to_owned(),
        false => format!("umask 022; ulimit -c 0; unset {}; ", unset.join(" ")),
    }
}

/// Behind [`prepare`], runs the command with no signal ignored: whoever started us may ignore some (`nohup`, a shell's
/// background, a service), and what a build does about a closed pipe must not depend on it.
pub(crate) const COMMAND: &str = "/usr/bin/env --default-signal -- \"$@\"";

/// How a command ended of which 128 + signal may have been said, or its exit status.
pub(crate) fn ended(code: i32) -> ExitStatus {
    match code {
        _ if (SIGNALLED + 1..=SIGNALLED + LAST_SIGNAL).contains(&code) => {
            ExitStatus::from_raw(code - SIGNALLED)
        }
        _ => ExitStatus::from_raw((code & 0xff) << 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_above_128_are_signals() {
        assert_eq!(ended(0).code(), Some(0));
        assert_eq!(ended(127).code(), Some(127));
        assert_eq!(ended(128).code(), Some(128));
        assert_eq!(ended(139).signal(), Some(11));
        assert_eq!(ended(193).code(), Some(193));
    }

    #[test]
    fn only_variables_that_are_given_stay() {
        let given = [("PATH".to_owned(), "/usr/bin".to_owned())].into();
        assert_eq!(
            prepare(&given),
            "umask 022; ulimit -c 0; unset HOME HOSTNAME LC_ALL OLDPWD PWD TERM TZ container; "
        );
    }
}

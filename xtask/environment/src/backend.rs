//! What every way to run an action has in common.

use anyhow::Result;
use std::{collections::BTreeMap, path::Path, process::ExitStatus};

/// One run of a command in an environment.
///
/// Inside, whatever the backend: read-only root; `/build/src` read-only, `/build/work` and `/build/out` writable,
/// `/build/work` being the working directory; `/tmp` and `/dev/shm` empty and writable; user and group 1000; host name
/// `builder`; `lo` as the only network; no variables but those given; file mode mask 022; no core dumps; no input; no open
/// file but the output; no capabilities, no way to gain any.
pub struct Launch<'a> {
    /// The environment, laid out as files.
    pub root: &'a Path,
    /// The command line.
    pub arguments: &'a [String],
    /// All environment variables.
    pub variables: &'a BTreeMap<String, String>,
    /// What stands at `/build/src`.
    pub source: &'a Path,
    /// What stands at `/build/work`.
    pub work: &'a Path,
    /// What stands at `/build/out`.
    pub out: &'a Path,
    /// Whether this process' input, output and terminal are given to the command, for a shell.
    pub interactive: bool,
}

/// A way to run actions. It is no part of any key: every backend must give the same bytes.
pub trait Backend: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// Tries whether this machine lets the backend work. The error is one sentence and what to change.
    fn check(&self) -> Result<()>;

    /// Runs a command until it ends; `output` is given stdout and stderr, as they come, and in the end no process of it is
    /// left. When this process dies, so does the command. Errors when it can't be started; how the command ended is in the
    /// status: an exit status as such, and a signal as such, also where a shell stood in between and said 128 + signal
    /// (an interactive command's status is passed on as it is).
    fn run(&self, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<ExitStatus>;
}

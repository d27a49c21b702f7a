//! What every way to run an action has in common.

use anyhow::Result;
use std::{collections::BTreeMap, path::Path, process::ExitStatus};

/// One run of a command in an environment.
///
/// Inside, whatever the backend: read-only root; `/build/src` read-only, `/build/work` and `/build/out` writable,
/// `/build/work` being the working directory; `/tmp` empty; user and group 1000; host name `builder`; `lo` as the only
/// network; no variables but those given; file mode mask 022; no capabilities, no way to gain any.
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
    /// Whether this terminal is given to the command, for a shell.
    pub interactive: bool,
}

/// A way to run actions. It is no part of any key: every backend must give the same bytes.
pub trait Backend: Send + Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// Runs a command; `output` is given stdout and stderr, as they come. Errors when it can't be started; how the
    /// command ended is in the status.
    fn run(&self, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<ExitStatus>;
}

//! Programs of this machine that are asked something.

use anyhow::{Context, Result, ensure};
use std::{io::ErrorKind, process::Command};

/// What a program prints.
///
/// # Errors
/// If it can't be run, or fails; the message has what it said.
pub fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("cannot run `{program}`"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    // Python says where it was before it says what is wrong.
    let stderr = match stderr.trim() {
        stderr if stderr.starts_with("Traceback ") => stderr.lines().next_back().unwrap_or(stderr),
        stderr => stderr,
    };
    ensure!(output.status.success(), "`{program} {}` failed: {stderr}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether an error of [`output`] says that there is no such program.
pub fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

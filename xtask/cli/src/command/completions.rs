//! `completions SHELL`.

use anyhow::Result;
use std::process::ExitCode;

/// Print a completion script for a shell
///
/// Example: `cargo xtask completions bash > ~/.local/share/bash-completion/completions/xtask`
#[derive(clap::Args)]
pub struct Arguments {
    /// The shell
    shell: clap_complete::Shell,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    // The generator panics where nobody reads; what is printed by us ends quietly then.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::options::command_line(), "xtask", &mut script);
    print!("{}", String::from_utf8(script)?);
    Ok(ExitCode::SUCCESS)
}

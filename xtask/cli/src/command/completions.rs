//! `completions SHELL`.

use anyhow::Result;
use clap::CommandFactory;
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
    clap_complete::generate(
        arguments.shell,
        &mut crate::Arguments::command(),
        "xtask",
        &mut std::io::stdout(),
    );
    Ok(ExitCode::SUCCESS)
}

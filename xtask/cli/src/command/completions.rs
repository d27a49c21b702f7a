//! `completions SHELL`, and what its scripts ask while somebody types.

use anyhow::Result;
use clap_complete::Shell;
use std::{ffi::OsString, process::ExitCode};

const BASH: &str = include_str!("completions/bash.sh");
const ZSH: &str = include_str!("completions/zsh.zsh");
const FISH: &str = include_str!("completions/fish.fish");

/// Print a completion script for a shell
///
/// In bash, zsh and fish it completes `cargo xtask` as well as `xtask`, with the names of recipes, targets, releases,
/// environments and locks of the checkout that you are in. The program of that checkout is asked (target/tool/xtask), so that
/// it has to be compiled; nothing is compiled or fetched while you type.
///
/// Examples:
///   cargo xtask completions bash >> ~/.bashrc
///   cargo xtask completions zsh > ~/.xtask.zsh     # in ~/.zshrc, below compinit: source ~/.xtask.zsh
///   cargo xtask completions fish > ~/.config/fish/conf.d/xtask.fish
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match arguments.shell {
        Shell::Bash => print!("{BASH}"),
        Shell::Zsh => print!("{ZSH}"),
        Shell::Fish => print!("{FISH}"),
        shell => {
            // The generator panics where nobody reads; what is printed by us ends quietly then.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut crate::options::command_line(), "xtask", &mut script);
            print!("{}", String::from_utf8(script)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What may stand in place of the last word, for the scripts
#[derive(clap::Args)]
pub struct Words {
    /// The words behind `xtask`, the last one as far as it is typed
    #[arg(last = true)]
    words: Vec<OsString>,
}

/// Prints what may stand there, a line each, with a tab and its description behind it.
pub fn complete(words: &Words) -> Result<ExitCode> {
    let mut all = vec![OsString::from("xtask")];
    all.extend(words.words.iter().cloned());
    let last = all.len() - 1;
    let directory = std::env::current_dir().ok();
    let mut command = crate::options::command_line();
    for found in clap_complete::engine::complete(&mut command, all, last, directory.as_deref())? {
        if found.is_hide_set() {
            continue;
        }
        let help = found.get_help().map_or(String::new(), |help| format!("\t{help}"));
        println!("{}{}", found.get_value().to_string_lossy(), help.lines().next().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

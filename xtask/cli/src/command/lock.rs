//! `lock update` and `lock check`.

use crate::context::Global;
use anyhow::{Context, Result};
use input::Intent;
use std::process::ExitCode;

/// Resolve what is asked for, or check that the locks answer it
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Resolve anew and write the lock files
    ///
    /// `inputs` is recipes/inputs.toml; every other name is an environment of containers/ or a model of models/. Debian
    /// packages are resolved to the newest of their suite; inputs and models that are locked already stay as they are.
    Update {
        /// Only these [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Check every lock file against what asks for it: offline, in milliseconds
    Check,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let root = global.project_root()?;
    // A lock that is only written otherwise must not be resolved anew.
    input::check_line_ends(&root)?;
    let intents = Intent::all(&root)?;
    let progress = global.progress();
    match &arguments.command {
        Command::Check => {
            let mut status = ExitCode::SUCCESS;
            for intent in intents.values() {
                if let Err(error) = input::check(intent) {
                    eprint!("{}", crate::progress::error_text(&error));
                    status = ExitCode::FAILURE;
                }
            }
            Ok(status)
        }
        Command::Update { names } => {
            let known: Vec<_> = intents.keys().map(String::as_str).collect();
            for name in names {
                intents
                    .get(name)
                    .with_context(|| format!("there is no `{name}`; there are: {}", known.join(", ")))?;
            }
            let store = global.open_store()?;
            for (name, intent) in intents.iter().filter(|(name, _)| names.is_empty() || names.contains(name))
            {
                let changes = input::update(&store, intent, &global.fetch_options(), &progress)
                    .with_context(|| format!("cannot lock `{name}`"))?;
                progress.line(&format!("{name}: {} changes", changes.len()));
                for change in changes {
                    progress.line(&format!("  {change}"));
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

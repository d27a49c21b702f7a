//! `lock update` and `lock check`.

use crate::{context::Global, progress::Bars};
use anyhow::{Context, Result, ensure};
use input::{Input, Intent, Reach};
use std::process::ExitCode;
use store::Unknown;

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
    Check {
        /// Look every locked input up where it comes from, and name those that are gone; nothing is downloaded
        #[arg(long)]
        reachable: bool,
    },
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let root = global.project_root()?;
    // A lock that is only written otherwise must not be resolved anew.
    input::check_line_ends(&root)?;
    let intents = Intent::all(&root)?;
    let progress = global.progress();
    match &arguments.command {
        Command::Check { reachable } => {
            let mut status = ExitCode::SUCCESS;
            for intent in intents.values() {
                if let Err(error) = input::check(intent) {
                    eprint!("{}", crate::error::error_text(&error));
                    status = ExitCode::FAILURE;
                }
            }
            if *reachable && !all_reachable(global, &progress)? {
                status = ExitCode::FAILURE;
            }
            Ok(status)
        }
        Command::Update { names } => {
            let known: Vec<_> = intents.keys().map(String::as_str).collect();
            for name in names {
                ensure!(intents.contains_key(name), Unknown::new("lock", name, known.iter().copied()));
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

/// Names the locked inputs that their ecosystems do not have any more. False where no mirror has one of them either.
fn all_reachable(global: &Global, progress: &Bars) -> Result<bool> {
    let project = global.project()?;
    let locked = operation::inputs(&project, None)?;
    let models = operation::model_inputs(&project.root)?;
    let inputs: Vec<&Input> = locked.inputs.iter().chain(&models).collect();
    let options = locked.fetch_options(global.fetch_options());
    ensure!(!options.offline, "`--reachable` asks the network, and `--offline` forbids it");
    let found = input::reach(&global.open_store()?, &inputs, &options, progress)?;
    let lost: Vec<&Reach> = found.iter().filter(|reach| !reach.live).collect();
    if global.json {
        println!("{}", serde_json::to_string_pretty(&lost)?);
    } else {
        for reach in &lost {
            let mirrored = if reach.mirrored { ", and a mirror has it" } else { "" };
            println!("`{}` is gone{mirrored}\n  {}", reach.name, reach.problems.join("\n  "));
        }
        progress.line(&format!(
            "{} of {} locked files are where they come from",
            found.len() - lost.len(),
            found.len()
        ));
    }
    Ok(lost.iter().all(|reach| reach.mirrored))
}

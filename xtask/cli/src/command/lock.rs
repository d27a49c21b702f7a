//! `lock update` and `lock check`.

use crate::{context::Global, error::error_value, output::tell_error, progress::Bars};
use anyhow::{Context, Result, ensure};
use input::{Input, Intent, Reach};
use serde_json::json;
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
        #[arg(value_name = "NAME", add = crate::names::locks())]
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
    let root = crate::context::project_root()?;
    // A lock that is only written otherwise must not be resolved anew.
    input::check_line_ends(&root)?;
    let intents = Intent::all(&root)?;
    let progress = global.progress();
    match &arguments.command {
        Command::Check { reachable } => {
            let mut problems = Vec::new();
            for intent in intents.values() {
                if let Err(error) = input::check(intent) {
                    tell_error(progress.place(), &error);
                    problems.push(error_value(&error));
                }
            }
            let lost = match reachable {
                true => all_reachable(global, &progress)?,
                false => Vec::new(),
            };
            let is_well = problems.is_empty() && lost.iter().all(|reach| reach.mirrored);
            if global.json() {
                let all = json!({ "locks": intents.len(), "problems": problems, "gone": lost });
                crate::events::result(&all)?;
            } else if problems.is_empty() {
                progress.line(&format!("{} locks answer what is asked for", intents.len()));
            }
            Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Update { names } => {
            let known: Vec<_> = intents.keys().map(String::as_str).collect();
            for name in names {
                ensure!(intents.contains_key(name), Unknown::new("lock", name, known.iter().copied()));
            }
            let store = global.open_store()?;
            let mut rows = Vec::new();
            for (name, intent) in intents.iter().filter(|(name, _)| names.is_empty() || names.contains(name))
            {
                let changes = input::update(&store, intent, &global.fetch_options(), &progress)
                    .with_context(|| format!("cannot lock `{name}`"))?;
                progress.line(&format!("{name}: {} changes", changes.len()));
                for change in &changes {
                    progress.line(&format!("  {change}"));
                }
                let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
                rows.push(serde_json::json!({ "lock": name, "changes": changes }));
            }
            if global.json() {
                crate::events::result(&rows)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The locked inputs that their ecosystems do not have any more.
fn all_reachable(global: &Global, progress: &Bars) -> Result<Vec<Reach>> {
    let project = global.project()?;
    let locked = operation::inputs(&project, None)?;
    let models = operation::model_inputs(&project.root)?;
    let inputs: Vec<&Input> = locked.inputs.iter().chain(&models).collect();
    let options = locked.fetch_options(global.fetch_options());
    ensure!(!options.offline, "`--reachable` asks the network, and `--offline` forbids it");
    let found = input::reach(&global.open_store()?, &inputs, &options, progress)?;
    let count = found.len();
    let lost: Vec<Reach> = found.into_iter().filter(|reach| !reach.live).collect();
    if !global.json() {
        for reach in &lost {
            let mirrored = if reach.mirrored { ", and a mirror has it" } else { "" };
            println!("`{}` is gone{mirrored}\n  {}", reach.name, reach.problems.join("\n  "));
        }
        progress.line(&format!("{} of {} locked files are where they come from", count - lost.len(), count));
    }
    Ok(lost)
}

//! `ci`: the steps of `ci/steps.toml`.

use crate::context::Global;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{process::ExitCode, time::Instant};
use xshell::Shell;

/// Run every check that a change must pass, in the order of ci/steps.toml
///
/// This is what continuous integration runs. It stops at the first failure unless `--keep-going` is given.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these steps
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// Run the nightly steps as well: what depends on servers that change by themselves
    #[arg(long)]
    nightly: bool,
    /// Run the steps after a failed one as well
    #[arg(long)]
    keep_going: bool,
    /// Print the steps and their commands, and run nothing
    #[arg(long)]
    list: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    #[serde(rename = "step")]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: String,
    /// Why it is there.
    why: String,
    /// The program and its arguments; run in the top directory.
    command: Vec<String>,
    /// Whether it is left out unless it is asked for, by its name or with all others of its kind.
    #[serde(default)]
    nightly: bool,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let root = global.project_root()?;
    let path = root.join("ci/steps.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let all: Steps = toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
    for name in &arguments.steps {
        let known: Vec<_> = all.steps.iter().map(|step| step.name.as_str()).collect();
        ensure!(known.contains(&name.as_str()), store::Unknown::new("step", name, known));
    }
    let wanted = |step: &&Step| match arguments.steps.is_empty() {
        true => !step.nightly || arguments.nightly,
        false => arguments.steps.contains(&step.name),
    };
    if arguments.list {
        for step in all.steps.iter().filter(wanted) {
            println!("{:16} {}\n{:16} {}", step.name, step.why, "", step.command.join(" "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let shell = Shell::new()?;
    shell.change_dir(&root);
    let (mut passed, mut failed) = (0, Vec::new());
    for step in all.steps.iter().filter(wanted) {
        eprintln!("--- {}: {}", step.name, step.command.join(" "));
        let start = Instant::now();
        let (program, rest) = step.command.split_first().context("a step without a command")?;
        let ok = shell.cmd(program).args(rest).quiet().run().is_ok();
        eprintln!(
            "--- {}: {} in {:.0} s",
            step.name,
            if ok { "ok" } else { "FAILED" },
            start.elapsed().as_secs_f64()
        );
        if ok {
            passed += 1;
            continue;
        }
        failed.push(step.name.as_str());
        if !arguments.keep_going {
            break;
        }
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    println!("steps: {passed} passed, {} failed", failed.len());
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

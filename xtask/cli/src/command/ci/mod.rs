//! `ci`: the steps of `ci/steps.toml`, and the workflows of CI services.

mod changed;
mod steps;
mod summary;
mod workflow;

use crate::{
    context::Global,
    output::tell_raw,
    place::{Failure, Place},
};
use anyhow::{Context, Result};
use serde_json::json;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command as Process, ExitCode},
    time::Instant,
};
use steps::{Selection, Step, Steps};
use summary::{Outcome, Report};
use xshell::Shell;

/// Run every check that a change must pass, in the order of ci/steps.toml
///
/// This is what continuous integration runs. It stops at the first failure unless `--keep-going` is given. Under GitHub
/// Actions, steps are folded, failures are annotations, and the job gets a summary; under GitLab, steps are sections.
///
/// Examples:
///   cargo xtask ci format clippy          these steps alone
///   cargo xtask ci --changed              what the changes since `main` can affect
///   cargo xtask ci --from release         this step and those after it
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, verbatim_doc_comment)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only these steps
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// Not this step; may be given several times
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// This step, and those after it
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// Only steps that the changes since a revision can affect, and what these need [default revision: main]
    ///
    /// Counted are commits since the common ancestor with the revision, changes that are not committed, and new files. Which
    /// files affect a step is said in ci/steps.toml (`paths`); a step without them always runs.
    #[arg(long, value_name = "REVISION", num_args = 0..=1, default_missing_value = "main")]
    changed: Option<String>,
    /// Run the nightly steps as well: what depends on servers that change by themselves
    #[arg(long)]
    nightly: bool,
    /// Run the steps after a failed one as well
    #[arg(long)]
    keep_going: bool,
    /// Print the steps and their commands, and run nothing
    #[arg(long)]
    list: bool,
    /// Write what ran, how it ended and how long it took, as a Markdown table [default under GitHub: the job's summary]
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// The same for CI services that read JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write the workflows of a CI service, from ci/workflows.toml and the plan of its releases
    Workflow(workflow::Arguments),
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    if let Some(Command::Workflow(arguments)) = &arguments.command {
        return workflow::run(global, arguments);
    }
    let root = crate::context::project_root()?;
    let all = Steps::read(&root)?;
    let mut wanted = all.select(&Selection {
        names: &arguments.steps,
        skip: &arguments.skip,
        from: arguments.from.as_deref(),
        nightly: arguments.nightly,
    })?;
    if let Some(revision) = &arguments.changed {
        let files = changed::files(&root, revision)?;
        wanted = all.affected(&wanted, &files)?;
    }
    if arguments.list && global.json() {
        let row = |step: &&Step| json!({ "step": step.name, "why": step.why, "command": step.command });
        crate::events::result(&wanted.iter().map(row).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.list {
        for step in wanted {
            println!("{:16} {}\n{:16} {}", step.name, step.why, "", step.command.join(" "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let place = global.place.found();
    // Found out now: the step that compiles the tests may replace the file.
    let this = std::env::current_exe().context("cannot find the file of this program")?;
    let mut report = Report::default();
    for step in wanted {
        let outcome = take(&this, &root, place, step, global.json())?;
        let is_failed = !outcome.passed;
        report.outcomes.push(outcome);
        if is_failed && !arguments.keep_going {
            break;
        }
    }
    if let Some(path) = arguments.summary.clone().or_else(|| summary::of_service(place)) {
        report.append_markdown(&path)?;
    }
    if let Some(path) = &arguments.junit {
        store::write_output(path, report.junit().as_bytes())?;
    }
    let failed: Vec<_> = report.failed().collect();
    if global.json() {
        crate::events::result(&report)?;
        return Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    println!("steps: {} passed, {} failed", report.outcomes.len() - failed.len(), failed.len());
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a step, in which `this` is the program. With `json` all that it prints goes to standard error, and standard output has
/// the result alone.
fn take(this: &Path, root: &Path, place: Place, step: &Step, json: bool) -> Result<Outcome> {
    tell_raw(&place.begin(&step.name, false));
    eprintln!("--- {}: {}", step.name, step.command.join(" "));
    let start = Instant::now();
    let words =
        step.command.iter().map(|word| if word == Step::THIS { this.as_os_str() } else { word.as_ref() });
    let words: Vec<&OsStr> = words.collect();
    let (program, rest) = words.split_first().context("a step without a command")?;
    let shell = Shell::new()?;
    shell.change_dir(root);
    let mut command = Process::from(shell.cmd(program).args(rest).env("XTASK", this));
    if json {
        command.stdout(std::io::stderr());
    }
    if place == Place::Github {
        // Its groups do not stand inside each other.
        command.env("MLC_REPRO_PROGRESS", "plain");
    }
    let passed = match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cannot run {}: {error}", program.display());
            false
        }
    };
    let outcome = Outcome {
        step: step.name.clone(),
        why: step.why.clone(),
        passed,
        seconds: start.elapsed().as_secs_f64(),
    };
    let word = if passed { "ok" } else { "FAILED" };
    eprintln!("--- {}: {word} in {:.0} s", step.name, outcome.seconds);
    tell_raw(&place.end(&step.name));
    if !passed {
        let message = format!("the step failed: {}", step.why);
        tell_raw(&place.annotation(&Failure { title: &step.name, file: None, message: &message }));
    }
    Ok(outcome)
}

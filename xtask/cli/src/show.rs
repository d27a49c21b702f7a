//! What several commands print of builds and releases.

use crate::{
    error::{error_json, error_text},
    progress::Bars,
};
use builder::{Built, Outcome, Plan};
use operation::{Effort, ReleaseOutcome};
use std::process::ExitCode;

/// What became of each node of a plan, a line each. What was built and what failed was told when it happened.
pub fn outcomes(progress: &Bars, plan: &Plan, outcomes: &[Outcome]) {
    for (node, outcome) in plan.nodes.iter().zip(outcomes) {
        match outcome {
            Outcome::Built(built) if built.cached => progress.line(&format!(
                "{:>8} {node}  {}{}",
                word(built),
                &built.result.outputs.hex()[..16],
                match &built.imported {
                    Some(from) => format!("  from {from}"),
                    None => String::new(),
                }
            )),
            Outcome::Built(_) | Outcome::Failed(_) => {}
            Outcome::Skipped(cause) => progress.line(&format!("{:>8} {node}  because of {cause}", "skipped")),
        }
    }
}

fn word(built: &Built) -> &'static str {
    match (&built.imported, built.cached) {
        (Some(_), _) => "imported",
        (None, true) => "cached",
        (None, false) => "built",
    }
}

/// The same as JSON, on standard output.
pub fn outcomes_json(plan: &Plan, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let rows: Vec<_> = plan
        .nodes
        .iter()
        .zip(outcomes)
        .map(|(node, outcome)| match outcome {
            Outcome::Built(built) => serde_json::json!({
                "recipe": node.recipe, "target": node.target, "outcome": word(built), "imported": built.imported,
                "action": built.resolved.key, "outputs": built.result.outputs, "log": built.result.log,
            }),
            Outcome::Failed(error) => serde_json::json!({
                "recipe": node.recipe, "target": node.target, "outcome": "failed", "error": error_json(error)["error"],
            }),
            Outcome::Skipped(cause) => serde_json::json!({
                "recipe": node.recipe, "target": node.target, "outcome": "skipped", "because": cause.to_string(),
            }),
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&rows)?);
    Ok(())
}

/// The built node of an outcome.
pub fn built(outcome: &Outcome) -> Option<&Built> {
    match outcome {
        Outcome::Built(built) => Some(built),
        Outcome::Failed(_) | Outcome::Skipped(_) => None,
    }
}

/// Success when everything is built.
pub fn status(outcomes: &[Outcome]) -> ExitCode {
    match outcomes.iter().all(|outcome| built(outcome).is_some()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What became of the nodes and models of a release, and what waits for inputs.
pub fn release(progress: &Bars, name: &str, effort: Effort, outcome: &ReleaseOutcome) {
    outcomes(progress, &outcome.plan, &outcome.outcomes);
    for model in &outcome.models {
        match &model.result {
            Ok((root, cached)) => {
                let what = if *cached { "cached" } else { "built" };
                progress.line(&format!("{what:>8} {}  {}", model.conversion.title(), &root.hex()[..16]));
            }
            Err(error) => eprint!("{}", error_text(error)),
        }
    }
    if outcome.unavailable.is_empty() {
        return;
    }
    eprintln!("release `{name}` lacks what waits for inputs that can't be had:");
    for missing in &outcome.unavailable {
        eprintln!("  {} waits for {}", missing.wanted, missing.waits_for.join(", "));
    }
    eprintln!(
        "  hint: bring an input with `cargo xtask fetch NAME` where its address answers, from a directory that `vendor` wrote \
         (`--vendored DIR`), or from a copy of your own (`--input NAME=PATH`; of a model, `--input MODEL=DIRECTORY`)"
    );
    match effort {
        Effort::Stop => eprintln!("  hint: `--keep-going` builds everything else first"),
        Effort::KeepGoing => {
            eprintln!("  hint: `--partial` writes the release without them, and says so in release.json");
        }
        Effort::Partial => {}
    }
}

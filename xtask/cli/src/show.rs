//! What several commands print of builds and releases.

use crate::{error::error_value, events, progress::Bars};
use builder::{Built, Outcome, Plan};
use operation::{Effort, ReleaseOutcome};
use release::Signed;
use std::process::ExitCode;
use store::{Done, Event, How, Progress};

/// Who signed what, by the names of a policy: a line each.
pub fn signed(signed: &[Signed]) -> impl Iterator<Item = String> {
    signed.iter().map(|Signed { what, by, wanted }| {
        let by = if by.is_empty() { "nobody".to_owned() } else { by.join(", ") };
        let wanted = wanted.as_ref().map_or_else(String::new, |wanted| format!(" (wanted: {wanted})"));
        format!("signed: {what} by {by}{wanted}")
    })
}

/// Reports which nodes of a plan were not tried. What came of the others was reported when it happened.
pub fn outcomes(progress: &Bars, plan: &Plan, outcomes: &[Outcome]) {
    for (node, outcome) in plan.nodes.iter().zip(outcomes) {
        if let Outcome::Skipped(cause) = outcome {
            progress.event(&node.to_string(), Event::Skipped(&cause.to_string()));
        }
    }
}

/// Builds and releases as JSON, for standard output.
pub fn outcomes_json(plan: &Plan, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let rows: Vec<_> = plan
        .nodes
        .iter()
        .zip(outcomes)
        .map(|(node, outcome)| match outcome {
            Outcome::Built(built) => serde_json::json!({
                "recipe": node.recipe, "target": node.target, "outcome": built.how().word(), "imported": built.imported,
                "action": built.resolved.key, "outputs": built.result.outputs, "log": built.result.log,
            }),
            Outcome::Failed(error) => serde_json::json!({
                "recipe": node.recipe, "target": node.target, "outcome": "failed", "error": error_value(error),
            }),
            Outcome::Skipped(cause) => serde_json::json!({
                "recipe": node.recipe, "target": node.target, "outcome": "skipped", "because": cause.to_string(),
            }),
        })
        .collect();
    events::result(&rows)
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
                let how = if *cached { How::Cached } else { How::Built };
                let done = Done { how, outputs: *root, time: None, log: None };
                progress.event(&model.conversion.title(), Event::Done(done));
            }
            Err(error) => {
                let event = Event::Failed { error, log: None, script: None, running: &[] };
                progress.event(&model.conversion.title(), event);
            }
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

//! `explain RECIPE@TARGET`.

use crate::context::Global;
use anyhow::{Result, bail};
use builder::Node;
use operation::{Explanation, Verdict};
use std::process::ExitCode;

/// Say why something is built again, or not: what changed against its last build
///
/// Nothing is built or fetched. Keys hold the content of dependencies; where one is not built, it is named instead.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to explain
    #[arg(value_name = "RECIPE@TARGET", add = crate::names::goals())]
    goal: String,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.look_at_store()?;
    let goals = operation::goals(&project, std::slice::from_ref(&arguments.goal))?;
    if goals.len() != 1 {
        let all: Vec<_> = goals.iter().map(|node| format!("`{node}`")).collect();
        bail!("`{}` has several targets; name one: {}", arguments.goal, all.join(", "));
    }
    let node = &goals[0];
    let explanation = operation::explain(&project, &store, node)?;
    match global.json() {
        true => crate::events::result(&json(node, &explanation)?)?,
        false => tell(node, &explanation)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn json(node: &Node, explanation: &Explanation) -> Result<serde_json::Value> {
    let Explanation { verdict, changes, seen, needs } = explanation;
    let mut value = serde_json::json!({
        "recipe": node.recipe, "target": node.target, "action": null,
        "cached": *verdict == Verdict::Cached, "verdict": verdict.text(), "changes": changes,
    });
    if let Some(seen) = seen {
        let environment = &seen.environment;
        value["action"] = serde_json::json!(seen.action.digest());
        value["variables"] = serde_json::json!(seen.action.variables);
        value["environment"] = serde_json::json!({ "name": environment.name, "tree": environment.root });
        value["sources"] = serde_json::json!(seen.sources.digest()?);
        value["inputs"] = serde_json::json!(seen.inputs);
    }
    value["needs"] = serde_json::json!(needs);
    Ok(value)
}

fn tell(node: &Node, explanation: &Explanation) -> Result<()> {
    println!("{node}");
    if let Some(seen) = &explanation.seen {
        println!("  action      {}", seen.action.digest());
        println!("  environment {} {}", seen.environment.name, seen.environment.root);
        println!("  sources     {}", seen.sources.digest()?);
    }
    println!("  {}", explanation.verdict.text());
    for change in &explanation.changes {
        println!("    {change}");
    }
    for need in &explanation.needs {
        println!("    needs {need}");
    }
    Ok(())
}

//! `explain RECIPE@TARGET`.

use crate::context::Global;
use anyhow::{Result, ensure};
use builder::{Looked, Node};
use std::process::ExitCode;
use store::Action;

/// Say why something is built again, or not: what changed against its last build
///
/// Nothing is built or fetched. Keys hold the content of dependencies; where one is not built, it is named instead.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to explain
    #[arg(value_name = "RECIPE@TARGET")]
    goal: String,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.look_at_store()?;
    let goals = super::build::goals(&project, std::slice::from_ref(&arguments.goal))?;
    ensure!(
        goals.len() == 1,
        "`{}` has several targets; name one: {}@TARGET",
        arguments.goal,
        arguments.goal
    );
    let node = &goals[0];
    let seen = match builder::look(&project, &store, node)? {
        Looked::Seen(seen) => seen,
        Looked::Needs(needs) => return unknown(global, node, &needs),
    };
    let key = seen.action.digest();
    let last = builder::last(&store, node);
    let (verdict, changes) = match (&seen.result, last) {
        (Some(_), _) => ("cached: the store has the result of this action", Vec::new()),
        (None, None) => ("would run: it was never built with this store", Vec::new()),
        (None, Some(last)) if last == key => {
            ("would run: its last result is gone from the store", Vec::new())
        }
        (None, Some(last)) => match Action::read(&store, &last) {
            Ok(old) => {
                ("would run: it changed since its last build", builder::differences(&store, &old, &seen)?)
            }
            Err(_) => {
                ("would run: it changed, and the action of its last build is gone from the store", Vec::new())
            }
        },
    };
    let environment = &seen.environment;
    let sources = seen.sources.digest()?;
    if global.json {
        let value = serde_json::json!({
            "recipe": node.recipe, "target": node.target, "action": key, "cached": seen.result.is_some(),
            "verdict": verdict, "changes": changes, "variables": seen.action.variables,
            "environment": { "name": environment.name, "tree": environment.root }, "sources": sources,
            "inputs": seen.inputs, "needs": [],
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{node}\n  action      {key}\n  environment {} {}", environment.name, environment.root);
    println!("  sources     {sources}\n  {verdict}");
    for change in changes {
        println!("    {change}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Says of a node whose key is not known what that takes.
fn unknown(global: &Global, node: &Node, needs: &[String]) -> Result<ExitCode> {
    let verdict = "would run: its key depends on what is not there yet";
    if global.json {
        let value = serde_json::json!({
            "recipe": node.recipe, "target": node.target, "action": null, "cached": false,
            "verdict": verdict, "changes": [], "needs": needs,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{node}\n  {verdict}");
    for need in needs {
        println!("    needs {need}");
    }
    Ok(ExitCode::SUCCESS)
}

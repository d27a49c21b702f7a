//! `explain RECIPE@TARGET`.

use crate::context::Global;
use anyhow::{Result, ensure};
use builder::{Outcome, Plan};
use std::process::ExitCode;
use store::Action;

/// Say why something is built again, or not: what changed against its last build
///
/// Dependencies are built first where they are not in the store, since the key holds their content.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to explain
    #[arg(value_name = "RECIPE@TARGET")]
    goal: String,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let goals = super::build::goals(&project, std::slice::from_ref(&arguments.goal))?;
    ensure!(
        goals.len() == 1,
        "`{}` has several targets; name one: {}@TARGET",
        arguments.goal,
        arguments.goal
    );
    let node = &goals[0];
    let (_, target) = project.node(node)?;
    let before: Vec<_> =
        target.dependencies.iter().map(|name| builder::Node::new(name, &node.target)).collect();
    let plan = Plan::new(&project, &before)?;
    let outcomes = super::build::execute(global, &project, &store, &plan, false)?;
    let mut dependencies = Vec::new();
    for (known, outcome) in plan.nodes.iter().zip(&outcomes) {
        match outcome {
            Outcome::Built(built) if before.contains(known) => {
                dependencies.push((known.recipe.clone(), built.provides()));
            }
            Outcome::Built(_) => {}
            Outcome::Failed(_) | Outcome::Skipped(_) => return Ok(ExitCode::FAILURE),
        }
    }
    let progress = global.progress();
    let fetch = global.fetch_options();
    let (definition, lock) = project.environment(&target.environment)?;
    let environment =
        environment::assemble(&store, &target.environment, &definition, &lock, &fetch, &progress)?;
    let resolved = builder::resolve(&project, &store, node, &environment, &dependencies, &fetch, &progress)?;
    let cached = store.result(&resolved.key)?;
    let last = builder::last(&store, node);
    let (verdict, changes) = match (&cached, last) {
        (Some(_), _) => ("cached: the store has the result of this action", Vec::new()),
        (None, None) => ("would run: it was never built with this store", Vec::new()),
        (None, Some(last)) if last == resolved.key => {
            ("would run: its last result is gone from the store", Vec::new())
        }
        (None, Some(last)) => match Action::read(&store, &last) {
            Ok(old) => (
                "would run: it changed since its last build",
                builder::differences(&store, &old, &resolved.action)?,
            ),
            Err(_) => {
                ("would run: it changed, and the action of its last build is gone from the store", Vec::new())
            }
        },
    };
    if global.json {
        let value = serde_json::json!({
            "recipe": node.recipe, "target": node.target, "action": resolved.key, "cached": cached.is_some(),
            "verdict": verdict, "changes": changes, "variables": resolved.action.variables,
            "environment": { "name": environment.name, "tree": environment.root }, "inputs": resolved.inputs,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{node}\n  action      {}\n  environment {} {}",
        resolved.key, environment.name, environment.root
    );
    if let Some(input_root) = resolved.action.input_root {
        println!("  input tree  {input_root}");
    }
    println!("  {verdict}");
    for change in changes {
        println!("    {change}");
    }
    Ok(ExitCode::SUCCESS)
}

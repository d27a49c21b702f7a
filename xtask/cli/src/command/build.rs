//! `build RECIPE[@TARGET]…`.

use crate::context::{GivenInputs, Global};
use anyhow::{Result, ensure};
use builder::{Built, Node, Outcome, Plan, Project};
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};
use store::Store;

/// Build artifacts, or find them in the store
///
/// Examples:
///   cargo xtask build tvm-ffi                              for every target that it has
///   cargo xtask build tvm-ffi@x86_64-pc-windows-msvc -o out
///   cargo xtask build tvm-ffi --backend docker             in containers; the bytes are the same
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// What to build; without `@TARGET` for every target of the recipe
    #[arg(required = true, value_name = "RECIPE[@TARGET]")]
    goals: Vec<String>,
    /// Go on with what does not depend on a failed one
    #[arg(long)]
    keep_going: bool,
    /// Copy the outputs to DIR/RECIPE-VERSION-TARGET
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    given: GivenInputs,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let mut project = global.project()?;
    let store = global.open_store()?;
    arguments.given.apply(&mut project, &store, &global.progress())?;
    let goals = goals(&project, &arguments.goals)?;
    if arguments.output.is_some() {
        goals.iter().try_for_each(|node| project.check_may_leave(node))?;
    }
    let plan = Plan::new(&project, &goals)?;
    let mut destinations = BTreeMap::new();
    if let Some(directory) = &arguments.output {
        for node in plan.nodes.iter().filter(|node| project.check_may_leave(node).is_ok()) {
            let version = &project.recipe(&node.recipe)?.version;
            let destination = directory.join(format!("{}-{version}-{}", node.recipe, node.target));
            ensure!(
                !destination.exists(),
                "{} exists already\n  hint: remove it, or give another `--output`",
                destination.display()
            );
            destinations.insert(node.clone(), destination);
        }
    }
    let outcomes = execute(global, &project, &store, &plan, arguments.keep_going)?;
    for built in outcomes.iter().filter_map(built) {
        if let Some(destination) = destinations.get(&built.resolved.node) {
            store.export(&built.provides(), destination)?;
        }
    }
    Ok(status(&outcomes))
}

/// `RECIPE` and `RECIPE@TARGET` as nodes.
pub fn goals(project: &Project, texts: &[String]) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for text in texts {
        match text.split_once('@') {
            Some((recipe, target)) => {
                project.recipe(recipe)?.target(target)?;
                nodes.push(Node::new(recipe, target));
            }
            None => {
                let recipe = project.recipe(text)?;
                nodes.extend(recipe.targets.iter().map(|target| Node::new(text, &target.triple)));
            }
        }
    }
    Ok(nodes)
}

/// Runs a plan and says what became of each node.
pub fn execute(
    global: &Global,
    project: &Project,
    store: &Store,
    plan: &Plan,
    keep_going: bool,
) -> Result<Vec<Outcome>> {
    let progress = global.progress();
    let backend = global.open_backend(project, store)?;
    let outcomes = builder::execute(
        project,
        store,
        backend.as_ref(),
        plan,
        &global.build_options(keep_going),
        &progress,
    )?;
    if global.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&plan.nodes.iter().zip(&outcomes).map(json).collect::<Vec<_>>())?
        );
    }
    for (node, outcome) in plan.nodes.iter().zip(&outcomes) {
        match outcome {
            Outcome::Built(built) => progress.line(&format!(
                "{:>8} {node}  {}{}",
                if built.cached { "cached" } else { "built" },
                &built.result.outputs.hex()[..16],
                if built.cached { String::new() } else { format!("  {:.1} s", built.time.as_secs_f64()) }
            )),
            Outcome::Failed(error) => eprint!("{}", crate::progress::error_text(error)),
            Outcome::Skipped(cause) => progress.line(&format!("{:>8} {node}  because of {cause}", "skipped")),
        }
    }
    Ok(outcomes)
}

fn json((node, outcome): (&Node, &Outcome)) -> serde_json::Value {
    match outcome {
        Outcome::Built(built) => serde_json::json!({
            "recipe": node.recipe, "target": node.target, "outcome": if built.cached { "cached" } else { "built" },
            "action": built.resolved.key, "outputs": built.result.outputs, "log": built.result.log,
        }),
        Outcome::Failed(error) => serde_json::json!({
            "recipe": node.recipe, "target": node.target, "outcome": "failed", "error": format!("{error:#}"),
        }),
        Outcome::Skipped(cause) => serde_json::json!({
            "recipe": node.recipe, "target": node.target, "outcome": "skipped", "because": cause.to_string(),
        }),
    }
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
    if outcomes.iter().all(|outcome| built(outcome).is_some()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

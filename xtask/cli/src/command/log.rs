//! `log RECIPE[@TARGET]`.

use crate::context::Global;
use anyhow::Result;
use std::process::ExitCode;
use store::hinted;

/// Print the log of the last build of a recipe
///
/// If that failed, it is the log of the failure. Nothing is built or fetched.
#[derive(clap::Args)]
#[command(after_long_help = "Example:
  cargo xtask log tvm-ffi@windows | less")]
pub struct Arguments {
    /// Whose log; without `@TARGET` of every target that has one
    #[arg(value_name = "RECIPE[@TARGET]", add = crate::names::goals())]
    goal: String,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.look_at_store()?;
    let mut found = Vec::new();
    for node in operation::goals(&project, std::slice::from_ref(&arguments.goal))? {
        found.extend(operation::last_log(&store, &node)?.map(|log| (node, log)));
    }
    if found.is_empty() {
        let what = format!("the store has no log of `{}`", arguments.goal);
        return Err(hinted(what, format!("build it: `cargo xtask build {}`", arguments.goal)).into());
    }
    if global.json() {
        let rows: Vec<_> = found
            .iter()
            .map(|(node, log)| {
                serde_json::json!({
                    "recipe": node.recipe, "target": node.target, "log": log.digest, "failed": log.failed,
                })
            })
            .collect();
        crate::events::result(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let several = found.len() > 1;
    for (node, log) in &found {
        if several {
            println!("=== {node}");
        }
        let text = builder::decode_log(&store.read(&log.digest)?);
        print!("{text}");
        if !text.ends_with('\n') {
            println!();
        }
    }
    Ok(ExitCode::SUCCESS)
}

//! `matrix`.

use crate::context::Global;
use anyhow::Result;
use release::Definition;
use std::process::ExitCode;

/// Print the build matrix of a release, for a continuous integration service
///
/// One entry for each artifact and target, as `{"include": [{"recipe": …, "target": …, "environment": …}]}`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The release, a file of releases/
    #[arg(default_value = "tvm")]
    release: String,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let definition = Definition::load(&project.root, &arguments.release)?;
    let mut include = Vec::new();
    for node in definition.artifacts(&project)? {
        let (_, target) = project.node(&node)?;
        include.push(serde_json::json!({
            "recipe": node.recipe, "target": node.target, "environment": target.environment,
        }));
    }
    println!("{}", serde_json::json!({ "include": include }));
    Ok(ExitCode::SUCCESS)
}

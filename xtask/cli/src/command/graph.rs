//! `graph`.

use crate::context::Global;
use anyhow::Result;
use builder::Plan;
use release::Definition;
use std::process::ExitCode;

/// Show what is built from what
#[derive(clap::Args)]
pub struct Arguments {
    /// Only what these need [default: every recipe]
    #[arg(value_name = "RECIPE[@TARGET]", add = crate::names::goals())]
    goals: Vec<String>,
    /// Only what a release needs, its checks included
    #[arg(long, value_name = "NAME", conflicts_with = "goals", add = crate::names::releases())]
    release: Option<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// An indented list
    Text,
    /// For Graphviz
    Dot,
    /// A picture, for light and dark pages: artifacts, what they are built with, and checks by shape
    Svg,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let goals = match &arguments.release {
        Some(name) => {
            let definition = Definition::load(&project.root, name)?;
            let mut goals = definition.artifacts(&project)?;
            goals.extend(definition.checks(&project)?);
            goals
        }
        None if arguments.goals.is_empty() => {
            operation::goals(&project, &project.recipes.keys().cloned().collect::<Vec<_>>())?
        }
        None => operation::goals(&project, &arguments.goals)?,
    };
    let plan = Plan::new(&project, &goals)?;
    if global.json() {
        let nodes: Vec<_> = plan
            .nodes
            .iter()
            .zip(&plan.dependencies)
            .map(|(node, dependencies)| {
                let dependencies: Vec<_> = dependencies.iter().map(|&index| plan.nodes[index].to_string()).collect();
                serde_json::json!({ "recipe": node.recipe, "target": node.target, "dependencies": dependencies })
            })
            .collect();
        crate::events::result(&nodes)?;
        return Ok(ExitCode::SUCCESS);
    }
    match arguments.format {
        Format::Dot => print!("{}", plan.to_dot()),
        Format::Svg => print!("{}", plan.to_svg(&project)),
        Format::Text => {
            for ((node, level), dependencies) in plan.nodes.iter().zip(plan.levels()).zip(&plan.dependencies)
            {
                let names: Vec<_> =
                    dependencies.iter().map(|&index| plan.nodes[index].recipe.as_str()).collect();
                let from =
                    if names.is_empty() { String::new() } else { format!("  <- {}", names.join(", ")) };
                println!("{:indent$}{node}{from}", "", indent = level * 2);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

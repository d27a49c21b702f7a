//! `graph`.

use crate::context::Global;
use anyhow::Result;
use builder::Plan;
use std::process::ExitCode;

/// Show what is built from what
#[derive(clap::Args)]
pub struct Arguments {
    /// Only what these need [default: every recipe]
    #[arg(value_name = "RECIPE[@TARGET]")]
    goals: Vec<String>,
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
    /// A picture
    Svg,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let goals: Vec<String> = match arguments.goals.is_empty() {
        true => project.recipes.keys().cloned().collect(),
        false => arguments.goals.clone(),
    };
    let plan = Plan::new(&project, &operation::goals(&project, &goals)?)?;
    if global.json {
        let nodes: Vec<_> = plan
            .nodes
            .iter()
            .zip(&plan.dependencies)
            .map(|(node, dependencies)| {
                let dependencies: Vec<_> = dependencies.iter().map(|&index| plan.nodes[index].to_string()).collect();
                serde_json::json!({ "recipe": node.recipe, "target": node.target, "dependencies": dependencies })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&nodes)?);
        return Ok(ExitCode::SUCCESS);
    }
    match arguments.format {
        Format::Dot => print!("{}", plan.to_dot()),
        Format::Svg => print!("{}", plan.to_svg()),
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

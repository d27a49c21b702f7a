//! `publish maven-local`.

use crate::{
    context::{GivenInputs, Global},
    show,
};
use anyhow::{Result, ensure};
use builder::Plan;
use std::{path::PathBuf, process::ExitCode};
use store::Tree;

/// Put libraries where build tools look for them
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write AARs, with POM, Gradle module metadata and sources, into a directory that is a Maven repository
    ///
    /// Gradle takes them from there with `maven { url = uri("DIR") }`; `~/.m2/repository` is Maven's own, and Gradle's
    /// `mavenLocal()`. A version that is there already is replaced when it differs.
    ///
    /// Example:
    ///   cargo xtask publish maven-local ~/.m2/repository tvm4j
    #[command(verbatim_doc_comment)]
    MavenLocal {
        /// The repository's directory
        directory: PathBuf,
        /// Recipes with an AAR, built where they are not
        #[arg(required = true, value_name = "RECIPE[@TARGET]")]
        goals: Vec<String>,
        #[command(flatten)]
        given: GivenInputs,
    },
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let Command::MavenLocal { directory, goals, given } = &arguments.command;
    let mut project = global.project()?;
    let store = global.open_store()?;
    let progress = global.progress();
    given.apply(&mut project, &store, &progress)?;
    let nodes = operation::goals(&project, goals)?;
    for node in &nodes {
        ensure!(project.recipe(&node.recipe)?.aar.is_some(), "recipe `{}` makes no AAR", node.recipe);
    }
    let plan = Plan::new(&project, &nodes)?;
    let open = global.opener();
    let outcomes = global.session(&project, &store, &progress, &open).execute(&plan, false)?;
    if global.json {
        show::outcomes_json(&plan, &outcomes)?;
    }
    show::outcomes(&progress, &plan, &outcomes);
    for built in outcomes.iter().filter_map(show::built) {
        if let (true, Some(tree)) = (nodes.contains(&built.resolved.node), built.aar) {
            let place = release::publish_maven(&store, &Tree::read(&store, &tree)?, directory)?;
            progress.line(&format!("{} is in {}", built.resolved.node, place.display()));
        }
    }
    Ok(show::status(&outcomes))
}

//! `publish`: `maven-local`, and what stands in the files below.

mod hugging_face;
mod oci;
mod pypi_index;

use crate::{
    context::{GivenInputs, Global},
    show,
};
use anyhow::{Result, bail, ensure};
use builder::Plan;
use std::{path::PathBuf, process::ExitCode};
use store::Tree;

/// Publish a release to a registry, or libraries to a local Maven repository
///
/// Examples:
///   cargo xtask publish oci://HOST/NAME:TAG dist/tvm     a release: its files, provenance and bill of materials
///   cargo xtask publish maven-local ~/.m2/repository tvm4j
///
/// A release is verified first. Docker's configuration says who we are to the registry (`docker login`, or podman's or oras').
/// The digest that is printed is the same in every registry.
#[derive(clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    /// Where a release goes
    #[arg(value_name = "oci://HOST/NAME[:TAG]", required = true)]
    reference: Option<String>,
    /// The directory of the release
    #[arg(required = true)]
    directory: Option<PathBuf>,
    /// Print the reference that it would have, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    HuggingFace(hugging_face::Arguments),
    PypiIndex(pypi_index::Arguments),
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
        #[arg(required = true, value_name = "RECIPE[@TARGET]", add = crate::names::goals())]
        goals: Vec<String>,
        #[command(flatten)]
        given: GivenInputs,
    },
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let (directory, goals, given) = match &arguments.command {
        None => {
            let (Some(reference), Some(directory)) = (&arguments.reference, &arguments.directory) else {
                bail!("a reference and a directory are needed: publish oci://HOST/NAME[:TAG] DIR")
            };
            return oci::run(global, reference, directory, arguments.dry_run);
        }
        Some(Command::HuggingFace(arguments)) => {
            hugging_face::run(global, arguments)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::PypiIndex(arguments)) => {
            pypi_index::run(global, arguments)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::MavenLocal { directory, goals, given }) => (directory, goals, given),
    };
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
    if global.json() {
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

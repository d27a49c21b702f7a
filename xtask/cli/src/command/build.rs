//! `build RECIPE[@TARGET]…`.

use crate::{
    context::{GivenInputs, Global, Others},
    show,
};
use anyhow::{Result, ensure};
use builder::Plan;
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

/// Build artifacts, or find them in the store
///
/// Examples:
///   cargo xtask build tvm-ffi                              for every target that it has
///   cargo xtask build tvm-ffi@windows -o out               for one; `windows`, `linux` and `android` are short for triples
///   cargo xtask build tvm-ffi --backend docker             in containers; the bytes are the same
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// What to build; without `@TARGET` for every target of the recipe
    #[arg(required = true, value_name = "RECIPE[@TARGET]", add = crate::names::goals())]
    goals: Vec<String>,
    /// Go on with what does not depend on a failed one
    #[arg(long)]
    keep_going: bool,
    /// Copy the outputs of what is named to DIR/RECIPE-VERSION-TARGET
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    others: Others,
    #[command(flatten)]
    given: GivenInputs,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let mut project = global.project()?;
    let store = global.open_store_with(&arguments.others)?;
    let progress = global.progress();
    arguments.given.apply(&mut project, &store, &progress)?;
    let goals = operation::goals(&project, &arguments.goals)?;
    if arguments.output.is_some() {
        goals.iter().try_for_each(|node| project.check_may_leave(node))?;
    }
    let plan = Plan::new(&project, &goals)?;
    let mut destinations = BTreeMap::new();
    if let Some(directory) = &arguments.output {
        for node in &goals {
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
    let open = global.opener();
    let session = global.session(&project, &store, &progress, &open);
    let outcomes = session.execute(&plan, arguments.keep_going)?;
    if global.json() {
        show::outcomes_json(&plan, &outcomes)?;
    }
    show::outcomes(&progress, &plan, &outcomes);
    for built in outcomes.iter().filter_map(show::built) {
        if let Some(destination) = destinations.get(&built.resolved.node) {
            store.export(&built.provides(), destination)?;
        }
    }
    Ok(show::status(&outcomes))
}

//! `build RECIPE[@TARGET]…`.

use crate::{
    context::{GivenInputs, Global, Others},
    progress::Bars,
    show,
};
use anyhow::Result;
use builder::{Node, Plan};
use operation::Session;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};
use store::{Digest, Progress, Tree, hinted};

/// Build artifacts, or find them in the store
///
/// Examples:
///   cargo xtask build tvm-ffi                              for every target whose inputs can be had
///   cargo xtask build tvm-ffi@windows -o out               for one; `windows`, `linux` and `android` are short for triples
///   cargo xtask build tvm-ffi --backend docker             in containers; the bytes are the same
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// What to build; without `@TARGET` for every target of the recipe whose inputs can be had
    #[arg(required = true, value_name = "RECIPE[@TARGET]", add = crate::names::goals())]
    goals: Vec<String>,
    /// Go on with what does not depend on a failed one
    #[arg(long)]
    keep_going: bool,
    /// Copy the outputs of what is named to DIR/RECIPE-VERSION-TARGET; what stands there already is left as it is
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
    let open = global.opener();
    let session = global.session(&project, &store, &progress, &open);
    let goals = goals(&session, &arguments.goals, &progress)?;
    if arguments.output.is_some() {
        goals.iter().try_for_each(|node| project.check_may_leave(node))?;
    }
    let plan = Plan::new(&project, &goals)?;
    let mut destinations = BTreeMap::new();
    if let Some(directory) = &arguments.output {
        for node in &goals {
            let version = &project.recipe(&node.recipe)?.version;
            let destination = directory.join(format!("{}-{version}-{}", node.recipe, node.target));
            if is_there(&destination, || builder::provided(&project, &store, node))? {
                progress.line(&format!("{} is up to date", destination.display()));
                continue;
            }
            destinations.insert(node.clone(), destination);
        }
    }
    let outcomes = session.execute(&plan, arguments.keep_going)?;
    if global.json() {
        show::outcomes_json(&plan, &outcomes)?;
    }
    show::outcomes(&progress, &plan, &outcomes);
    for built in outcomes.iter().filter_map(show::built) {
        if let Some(destination) = destinations.get(&built.resolved.node) {
            store.export(&built.provides(), destination)?;
            progress.line(&format!("{} is written", destination.display()));
        }
    }
    Ok(show::status(&outcomes))
}

/// What is to be built. Of a recipe without a target, those for which this machine has everything or can have it, unless that is
/// none; what is left out is said.
fn goals(session: &Session<'_>, texts: &[String], progress: &Bars) -> Result<Vec<Node>> {
    let project = session.project;
    let all = operation::goals(project, texts)?;
    let named: Vec<String> = texts.iter().filter(|text| text.contains('@')).cloned().collect();
    let named = operation::goals(project, &named)?;
    if all.len() < 2 || all.len() == named.len() {
        return Ok(all);
    }
    let away = session.out_of_reach(&Plan::new(project, &all)?)?;
    let is_left_out = |node: &&Node| away.contains_key(*node) && !named.contains(node);
    let (left_out, goals): (Vec<&Node>, Vec<&Node>) = all.iter().partition(is_left_out);
    if goals.is_empty() {
        return Ok(all);
    }
    for node in left_out {
        let names = away.get(node).map_or_else(String::new, |away| away.names.join(", "));
        progress
            .note(&format!("`{node}` is left out, since `{names}` is out of reach; ask for it to see why"));
    }
    Ok(goals.into_iter().cloned().collect())
}

/// Whether outputs stand in a directory already, before anything is built.
///
/// # Errors
/// Something else is there.
fn is_there(destination: &Path, outputs: impl FnOnce() -> Result<Option<Digest>>) -> Result<bool> {
    if !destination.exists() {
        return Ok(false);
    }
    if destination.is_dir()
        && let Some(outputs) = outputs()?
        && Tree::of_directory(destination)?.digest()? == outputs
    {
        return Ok(true);
    }
    let message = format!("{} exists already", destination.display());
    Err(hinted(message, "remove it, or give another `--output`").into())
}

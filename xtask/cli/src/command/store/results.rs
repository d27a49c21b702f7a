//! `store export` and `store import`: results of one store for another.

use crate::{
    context::{Global, check_name, default_name},
    show,
};
use anyhow::{Context, Result};
use builder::{Plan, Project};
use release::Definition;
use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};
use store::{OutputFile, Progress};

/// What is exported.
#[derive(clap::Args)]
pub struct Export {
    /// Releases and recipes, with all that they are built from
    #[arg(required = true, value_name = "RELEASE|RECIPE[@TARGET]", add = crate::names::results())]
    goals: Vec<String>,
    /// The file
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// What is imported.
#[derive(clap::Args)]
pub struct Import {
    /// A file that `store export` wrote
    file: PathBuf,
    /// What release.json calls whoever made the results [default: the file's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Runs `store export`.
pub fn export(global: &Global, arguments: &Export) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let mut nodes = Vec::new();
    let mut holds = arguments.goals.clone();
    for goal in &arguments.goals {
        nodes.extend(goals(&project, goal)?);
    }
    holds.sort();
    holds.dedup();
    let plan = Plan::new(&project, &nodes)?;
    // Of what may not leave this machine, the outputs of no step may.
    plan.nodes.iter().try_for_each(|node| project.check_may_leave(node))?;
    let progress = global.progress();
    let open = global.opener();
    let session = global.session(&project, &store, &progress, &open);
    let outcomes = session.execute(&plan, false)?;
    show::outcomes(&progress, &plan, &outcomes);
    if !outcomes.iter().all(|outcome| show::built(outcome).is_some()) {
        return Ok(ExitCode::FAILURE);
    }
    // Now that everything is there, a second look asks for what any other store will ask for, and nothing else.
    store.take_used();
    let outcomes = session.execute(&plan, false)?;
    for built in outcomes.iter().filter_map(show::built) {
        store.use_nar_hash(&built.resolved.environment.root)?;
    }
    let used = store.take_used();
    let mut file = OutputFile::create(&arguments.output)?;
    let mut out = BufWriter::with_capacity(256 * 1024, &mut file);
    let contents = artifact::write_results(&store, &holds, &used, &mut out)?;
    out.flush().with_context(|| format!("cannot write {}", arguments.output.display()))?;
    drop(out);
    file.finish()?;
    if global.json() {
        crate::events::result(&contents)?;
    }
    progress.line(&format!(
        "{} has {} results and the digests of {} more",
        arguments.output.display(),
        contents.results,
        contents.claims
    ));
    Ok(ExitCode::SUCCESS)
}

/// The nodes of a release, or of a recipe.
fn goals(project: &Project, goal: &str) -> Result<Vec<builder::Node>> {
    let is_release = Definition::all(&project.root)?.iter().any(|definition| definition.name == goal);
    if !is_release {
        return operation::goals(project, std::slice::from_ref(&goal.to_owned()));
    }
    let definition = Definition::load(&project.root, goal)?;
    let mut nodes = definition.artifacts(project)?;
    nodes.extend(definition.checks(project)?);
    Ok(nodes)
}

/// Runs `store import`.
pub fn import(global: &Global, arguments: &Import) -> Result<ExitCode> {
    let name = match &arguments.name {
        Some(name) => check_name(name)?,
        None => default_name(&arguments.file.display().to_string()),
    };
    let store = global.open_store()?;
    let progress = global.progress();
    let (contents, accepted) = artifact::read_results(&store, &arguments.file, &name, &progress)?;
    if global.json() {
        let json = serde_json::json!({
            "contents": contents, "name": name, "new": accepted.new, "known": accepted.known,
            "different": accepted.different,
        });
        crate::events::result(&json)?;
    }
    for action in &accepted.different {
        progress.note(&format!(
            "`{name}` has another result of the action {action} than this store, which keeps its own"
        ));
    }
    progress.line(&format!(
        "{} results of `{name}` are new, {} were here: for {}",
        accepted.new,
        accepted.known,
        contents.holds.join(", ")
    ));
    Ok(ExitCode::SUCCESS)
}

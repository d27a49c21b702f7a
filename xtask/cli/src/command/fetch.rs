//! `fetch`.

use crate::context::Global;
use anyhow::Result;
use builder::{Plan, Project};
use input::{FetchOptions, Input, Lock, Model};
use release::Definition;
use std::process::ExitCode;

/// Download locked inputs into the store
///
/// Examples:
///   cargo xtask fetch                     every input and package of every lock
///   cargo xtask fetch --release tvm       what this release is made from
///   cargo xtask fetch android-ndk
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Only inputs and packages with these names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only what this release is made from
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let Locked { mut inputs, locks } = inputs(&project, arguments.release.as_deref())?;
    if !arguments.names.is_empty() {
        for name in &arguments.names {
            anyhow::ensure!(
                inputs.iter().any(|input| input.name == *name),
                "nothing called `{name}` is locked"
            );
        }
        inputs.retain(|input| arguments.names.contains(&input.name));
    }
    let inputs: Vec<&Input> = inputs.iter().collect();
    let progress = global.progress();
    input::fetch(&store, &inputs, &options(global, &locks), &progress)?;
    let bytes: u64 = inputs.iter().map(|input| input.digest.size).sum();
    progress.line(&format!("{} inputs, {} MB, are in the store", inputs.len(), bytes / 1_000_000));
    Ok(ExitCode::SUCCESS)
}

/// Inputs, and the locks that they stand in.
pub struct Locked {
    /// Sorted by name.
    pub inputs: Vec<Input>,
    /// In no order.
    pub locks: Vec<Lock>,
}

/// How what is locked is fetched.
pub fn options(global: &Global, locks: &[Lock]) -> FetchOptions {
    locks.iter().fold(global.fetch_options(), FetchOptions::with_lock)
}

/// The inputs and packages of a release, with the sandbox that it is built in, or of every lock; each once. Of models,
/// those that the release names, or any. Errors: the release needs something that is pending.
pub fn inputs(project: &Project, release: Option<&str>) -> Result<Locked> {
    let mut locks = vec![project.inputs.clone()];
    let (mut inputs, environments) = match release {
        None => (project.inputs.inputs.clone(), project.environments()?),
        Some(name) => {
            let definition = Definition::load(&project.root, name)?;
            let mut goals = definition.artifacts(project)?;
            goals.extend(definition.checks(project)?);
            let (mut inputs, mut environments) = (Vec::new(), vec!["sandbox".to_owned()]);
            for node in Plan::new(project, &goals)?.nodes {
                environments.push(project.node(&node)?.1.environment.clone());
                for source in project.sources(&node)? {
                    inputs.extend(
                        source.input.as_deref().map(|name| project.input(name)).transpose()?.cloned(),
                    );
                }
            }
            environments.sort();
            environments.dedup();
            (inputs, environments)
        }
    };
    for name in environments {
        let lock = project.environment(&name)?.1;
        inputs.extend(lock.inputs.iter().cloned());
        locks.push(lock);
    }
    let definitions = match release {
        Some(name) => vec![Definition::load(&project.root, name)?],
        None => Definition::all(&project.root)?,
    };
    for definition in definitions {
        for conversion in &definition.models {
            inputs.extend(Model::load(&project.root, &conversion.name)?.lock(&project.root)?.inputs);
        }
    }
    inputs.sort_by(|a, b| (&a.name, a.digest).cmp(&(&b.name, b.digest)));
    inputs.dedup();
    Ok(Locked { inputs, locks })
}

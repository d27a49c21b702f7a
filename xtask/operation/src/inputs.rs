//! What releases, and everything that is locked, are made from.

use anyhow::Result;
use builder::{Plan, Project};
use input::{FetchOptions, Input, Lock, Model};
use release::Definition;

/// Inputs, and the locks that they stand in.
pub struct Locked {
    /// Sorted by name.
    pub inputs: Vec<Input>,
    /// In no order.
    pub locks: Vec<Lock>,
}

impl Locked {
    /// How they are fetched, with what their locks know of archives.
    pub fn fetch_options(&self, options: FetchOptions) -> FetchOptions {
        self.locks.iter().fold(options, FetchOptions::with_lock)
    }
}

/// The inputs and packages of a release, with the sandbox that it is built in, or of every lock; each once. Of models,
/// those that the release names, or any.
///
/// # Errors
/// The release needs something that is pending; a lock or definition can't be read.
pub fn inputs(project: &Project, release: Option<&str>) -> Result<Locked> {
    let mut locks = vec![project.inputs.clone()];
    let definitions = match release {
        Some(name) => vec![Definition::load(&project.root, name)?],
        None => Definition::all(&project.root)?,
    };
    let (mut inputs, environments) = match (release, definitions.first()) {
        (Some(_), Some(definition)) => of_release(project, definition)?,
        _ => (project.inputs.inputs.clone(), project.environments()?),
    };
    for name in environments {
        let lock = project.environment(&name)?.1;
        inputs.extend(lock.inputs.iter().cloned());
        locks.push(lock);
    }
    for conversion in definitions.iter().flat_map(|definition| &definition.models) {
        inputs.extend(Model::load(&project.root, &conversion.name)?.lock(&project.root)?.inputs);
    }
    inputs.sort_by(|a, b| (&a.name, a.digest).cmp(&(&b.name, b.digest)));
    inputs.dedup();
    Ok(Locked { inputs, locks })
}

/// The inputs that recipes of a release name, and the environments that it is built in.
fn of_release(project: &Project, definition: &Definition) -> Result<(Vec<Input>, Vec<String>)> {
    let mut goals = definition.artifacts(project)?;
    goals.extend(definition.checks(project)?);
    let (mut inputs, mut environments) = (Vec::new(), vec!["sandbox".to_owned()]);
    for node in Plan::new(project, &goals)?.nodes {
        environments.push(project.node(&node)?.1.environment.clone());
        for source in project.sources(&node)? {
            inputs.extend(source.input.as_deref().map(|name| project.input(name)).transpose()?.cloned());
        }
    }
    environments.sort();
    environments.dedup();
    Ok((inputs, environments))
}

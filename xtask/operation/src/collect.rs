//! What `store gc` keeps: what the locks of a repository name, and the environments that were assembled from them.

use crate::{inputs, model_inputs};
use anyhow::Result;
use builder::Project;
use store::{Collected, Progress, Reference, Retention, Store};

/// What is kept beside the releases that the store remembers. Nothing is fetched or assembled.
///
/// # Errors
/// A lock or definition can't be read.
pub fn kept(project: &Project, store: &Store) -> Result<Vec<Reference>> {
    let mut kept: Vec<Reference> = inputs(project, None)?
        .inputs
        .iter()
        .chain(&model_inputs(&project.root)?)
        .map(|input| Reference::Blob(input.digest))
        .collect();
    for name in project.environments()? {
        let (definition, lock) = project.environment(&name)?;
        let environment = environment::assembled(store, &name, &definition, &lock)?;
        kept.extend(environment.map(|environment| Reference::Tree(environment.root)));
    }
    Ok(kept)
}

/// Removes what nothing reaches and is not retained, or with `dry_run` only looks.
///
/// # Errors
/// As of [`kept`]; the store can't be written to.
pub fn collect_garbage(
    project: &Project,
    store: &Store,
    retention: &Retention,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<Collected> {
    store.collect_garbage_but(&kept(project, store)?, retention, dry_run, progress)
}

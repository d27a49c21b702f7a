//! A release built again in a fresh store, and compared byte by byte.

use crate::{Effort, ReleaseOutcome, ReleaseRequest, Session, make_release};
use anyhow::{Context, Result};
use input::{Input, Model};
use release::{Manifest, Problem};
use std::path::Path;
use store::Store;

/// Told about a rebuild.
pub trait RebuildWatch {
    /// What became of the release of this name.
    fn made(&mut self, name: &str, outcome: &ReleaseOutcome);

    /// The rebuilt directory, before it goes away.
    ///
    /// # Errors
    /// Those of whoever looks; they are passed on.
    fn look(&mut self, rebuilt: &Path, manifest: &Manifest) -> Result<()>;
}

/// Builds a release directory again, with the inputs of the session's store, and gives every difference. The session's
/// backend kind runs it.
///
/// # Errors
/// The manifest or a lock can't be read; an input can't be had; the backend can't be opened.
pub fn rebuild(
    session: &Session<'_>,
    directory: &Path,
    watch: &mut dyn RebuildWatch,
) -> Result<Vec<Problem>> {
    let Session { project, store, progress, .. } = session;
    let text = std::fs::read_to_string(directory.join("release.json"))
        .with_context(|| format!("cannot read {}", directory.join("release.json").display()))?;
    let manifest: Manifest = serde_json::from_str(&text).context("the manifest is damaged")?;
    let mut options = session.fetch.clone().with_lock(&project.inputs);
    let mut inputs = project.inputs.inputs.clone();
    inputs.retain(|input| manifest.inputs.contains_key(&input.name));
    for name in manifest.environments.keys().map(String::as_str).chain(["sandbox"]) {
        let lock = project.environment(name)?.1;
        options = options.with_lock(&lock);
        inputs.extend(lock.inputs);
    }
    for model in &manifest.models {
        inputs.extend(Model::load(&project.root, &model.conversion.name)?.lock(&project.root)?.inputs);
    }
    let inputs: Vec<&Input> = inputs.iter().collect();
    input::fetch(store, &inputs, &options, *progress)?;
    // On the store's own file system, where inputs are handed over by hard links.
    let scratch = store.scratch()?;
    let vendored = scratch.path().join("inputs");
    input::vendor(store, &inputs, &vendored, *progress)?;
    let fresh_store = Store::open(&scratch.path().join("store"))?;
    let mut fetch = session.fetch.clone();
    (fetch.offline, fetch.vendored) = (true, Some(vendored));
    let fresh = session.in_store(&fresh_store, fetch);
    let rebuilt = scratch.path().join("dist").join(&manifest.name);
    let request = ReleaseRequest {
        name: &manifest.name,
        effort: Effort::Stop,
        left_out: &manifest.missing,
        destination: &rebuilt,
    };
    // Nobody else's results are taken: the store is empty, and has no peers.
    let outcome = make_release(&fresh, &request)?;
    watch.made(&manifest.name, &outcome);
    let Some((mut again, _)) = outcome.release else {
        return Ok(vec![Problem { file: manifest.name, problem: "could not be built again".to_owned() }]);
    };
    if manifest.steps().any(|step| step.imported.is_some()) {
        // Whose results they were says nothing of what they are.
        release::take_marks(project, &fresh_store, &mut again, &manifest)?;
        release::write(&fresh_store, &again, &rebuilt)?;
    }
    watch.look(&rebuilt, &manifest)?;
    release::compare(directory, &rebuilt)
}

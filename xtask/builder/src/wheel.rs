//! Wheels out of the outputs of recipes, written once for the same outputs and metadata.

use crate::{project::Project, resolve::Resolved};
use anyhow::{Context, Result};
use artifact::write_wheel;
use store::{Action, ActionResult, Digest, Entry, Store, Tree};

/// Raised when the same outputs would become another wheel.
const VERSION: &str = "1";

/// The tree that holds a result's wheel and nothing else; nothing when the recipe makes none.
pub fn pack(
    project: &Project,
    store: &Store,
    resolved: &Resolved,
    result: &ActionResult,
) -> Result<Option<Digest>> {
    let (recipe, target) = project.node(&resolved.node)?;
    let (Some(metadata), Some(tag)) = (&recipe.wheel, &target.tag) else { return Ok(None) };
    let work = Action::named([
        "wheel".to_owned(),
        VERSION.to_owned(),
        serde_json::to_string(metadata)?,
        recipe.version.clone(),
        recipe.license.clone(),
        tag.clone(),
        result.outputs.to_string(),
    ]);
    let pack = || {
        let outputs = Tree::read(store, &result.outputs)?;
        let (name, digest) = write_wheel(store, &outputs, metadata, &recipe.version, &recipe.license, tag)
            .with_context(|| format!("cannot pack `{}` as a wheel", resolved.node))?;
        let mut tree = Tree::new();
        tree.insert(&name.file_name(), Entry::File { digest, executable: false })?;
        tree.write(store)
    };
    store.once(&work, pack).map(Some)
}

//! Wheels out of the outputs of recipes, written once for the same outputs and metadata.

use crate::{node::Node, project::Project};
use anyhow::{Context, Result};
use artifact::write_wheel;
use store::{Action, ActionResult, Digest, Entry, Store, Tree};

/// Raised when the same outputs would become another wheel.
const VERSION: &str = "1";

/// The work of packing a result; nothing when the recipe makes no wheel.
pub fn work(project: &Project, node: &Node, result: &ActionResult) -> Result<Option<Action>> {
    let (recipe, target) = project.node(node)?;
    let (Some(metadata), Some(tag)) = (&recipe.wheel, &target.tag) else { return Ok(None) };
    Ok(Some(Action::named([
        "wheel".to_owned(),
        VERSION.to_owned(),
        serde_json::to_string(metadata)?,
        recipe.version.clone(),
        recipe.license.to_string(),
        tag.clone(),
        result.outputs.to_string(),
    ])))
}

/// The tree that holds a result's wheel and nothing else; nothing when the recipe makes none.
pub fn pack(project: &Project, store: &Store, node: &Node, result: &ActionResult) -> Result<Option<Digest>> {
    let (recipe, target) = project.node(node)?;
    let (Some(metadata), Some(tag)) = (&recipe.wheel, &target.tag) else { return Ok(None) };
    let Some(work) = work(project, node, result)? else { return Ok(None) };
    let pack = || {
        let outputs = Tree::read(store, &result.outputs)?;
        let (name, digest) = write_wheel(store, &outputs, metadata, &recipe.version, &recipe.license, tag)
            .with_context(|| format!("cannot pack `{node}` as a wheel"))?;
        let mut tree = Tree::new();
        tree.insert(&name.file_name(), Entry::File { digest, executable: false })?;
        tree.write(store)
    };
    store.once(&work, pack).map(Some)
}

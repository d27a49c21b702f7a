//! AARs out of the outputs of recipes, written once for the same outputs and metadata.

use crate::{node::Node, project::Project};
use anyhow::{Context, Result};
use artifact::write_aar;
use store::{Action, ActionResult, Digest, Store, Tree};

/// Raised when the same outputs would become another AAR, or the rules for one change.
const VERSION: &str = "1";

/// The work of packing a result; nothing when the recipe makes no AAR.
pub fn work(project: &Project, node: &Node, result: &ActionResult) -> Result<Option<Action>> {
    let (recipe, _) = project.node(node)?;
    let Some(metadata) = &recipe.aar else { return Ok(None) };
    Ok(Some(Action::named([
        "aar".to_owned(),
        VERSION.to_owned(),
        serde_json::to_string(metadata)?,
        recipe.version.clone(),
        recipe.license.to_string(),
        result.outputs.to_string(),
    ])))
}

/// The tree of a result's AAR and what is published with it; nothing when the recipe makes none.
pub fn pack(project: &Project, store: &Store, node: &Node, result: &ActionResult) -> Result<Option<Digest>> {
    let (recipe, _) = project.node(node)?;
    let (Some(metadata), Some(work)) = (&recipe.aar, work(project, node, result)?) else { return Ok(None) };
    let pack = || {
        let outputs = Tree::read(store, &result.outputs)?;
        write_aar(store, &outputs, metadata, &recipe.version, &recipe.license)
            .with_context(|| format!("cannot pack `{node}` as an AAR"))?
            .write(store)
    };
    store.once(&work, pack).map(Some)
}

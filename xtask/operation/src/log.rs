//! What a build said.

use anyhow::Result;
use builder::{Node, Project};
use store::{Digest, Store};

/// The log of a node's last build.
pub struct Log {
    /// A blob of the store.
    pub digest: Digest,
    /// Whether that build failed.
    pub failed: bool,
}

/// The log of the last build of a node in this store: of the failure, if that failed. Nothing where none is kept.
///
/// # Errors
/// A result of the store is damaged.
pub fn last_log(store: &Store, node: &Node) -> Result<Option<Log>> {
    let last = match (builder::failed_log(store, node), builder::last(store, node)) {
        (Some(digest), _) => Some(Log { digest, failed: true }),
        (None, Some(action)) => {
            let log = store.result(&action)?.and_then(|result| result.log);
            log.map(|digest| Log { digest, failed: false })
        }
        (None, None) => None,
    };
    Ok(last.filter(|log| store.contains(&log.digest)))
}

/// The nodes of a project whose last results are among those of these actions.
///
/// # Errors
/// A name of a recipe or target is none.
pub fn last_built(project: &Project, store: &Store, actions: &[String]) -> Result<Vec<Node>> {
    let names: Vec<String> = project.recipes.keys().cloned().collect();
    let mut nodes = crate::goals(project, &names)?;
    nodes.retain(|node| builder::last(store, node).is_some_and(|action| actions.contains(&action.hex())));
    Ok(nodes)
}

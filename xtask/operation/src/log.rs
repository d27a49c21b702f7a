//! What a build said.

use anyhow::Result;
use builder::Node;
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

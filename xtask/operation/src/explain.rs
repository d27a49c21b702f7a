//! Why a node is cached or would be built again.

use anyhow::Result;
use builder::{Looked, Node, Project, Seen};
use store::{Action, Store};

/// What would happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The store has the result.
    Cached,
    /// It was never built with this store.
    New,
    /// Its last result is gone.
    ResultGone,
    /// Something that it is made from changed.
    Changed,
    /// It changed, and what it was before is not known any more.
    ChangedFromUnknown,
    /// Its key depends on what is not there.
    Unknown,
}

impl Verdict {
    /// The verdict in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cached => "cached: the store has the result of this action",
            Self::New => "would run: it was never built with this store",
            Self::ResultGone => "would run: its last result is gone from the store",
            Self::Changed => "would run: it changed since its last build",
            Self::ChangedFromUnknown => {
                "would run: it changed, and the action of its last build is gone from the store"
            }
            Self::Unknown => "would run: its key depends on what is not there yet",
        }
    }
}

/// What is known of a node.
pub struct Explanation {
    /// What would happen.
    pub verdict: Verdict,
    /// What changed since its last build, a line each.
    pub changes: Vec<String>,
    /// What would run, where that is known.
    pub seen: Option<Box<Seen>>,
    /// What has to be there first, each a noun and what it lacks.
    pub needs: Vec<String>,
}

/// Explains a node. Nothing is built, fetched or written.
///
/// # Errors
/// A recipe, a lock, a file of the repository or the store can't be read.
pub fn explain(project: &Project, store: &Store, node: &Node) -> Result<Explanation> {
    let seen = match builder::look(project, store, node)? {
        Looked::Seen(seen) => seen,
        Looked::Needs(needs) => {
            return Ok(Explanation { verdict: Verdict::Unknown, changes: Vec::new(), seen: None, needs });
        }
    };
    let (verdict, changes) = match (&seen.result, builder::last(store, node)) {
        (Some(_), _) => (Verdict::Cached, Vec::new()),
        (None, None) => (Verdict::New, Vec::new()),
        (None, Some(last)) if last == seen.action.digest() => (Verdict::ResultGone, Vec::new()),
        (None, Some(last)) => match Action::read(store, &last) {
            Ok(old) => (Verdict::Changed, builder::differences(store, &old, &seen)?),
            Err(_) => (Verdict::ChangedFromUnknown, Vec::new()),
        },
    };
    Ok(Explanation { verdict, changes, seen: Some(seen), needs: Vec::new() })
}

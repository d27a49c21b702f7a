//! Policies of recipes, checked once for the same outputs, policy and environment.

use crate::{project::Project, resolve::Resolved};
use anyhow::{Context, Result};
use artifact::Finding;
use store::{Action, ActionResult, Store, Tree};

/// Raised when the same policy would find something else.
const VERSION: &str = "4";

/// What the policy `name` finds in a result.
pub fn check(
    project: &Project,
    store: &Store,
    name: &str,
    resolved: &Resolved,
    result: &ActionResult,
) -> Result<Vec<Finding>> {
    let (policy, rules) = project.policy(name)?;
    let sysroot = project.node(&resolved.node)?.1.sysroot.as_deref();
    let root = resolved.action.input_root.context("an action without an input tree")?;
    let key = Action::named([
        "policy".to_owned(),
        VERSION.to_owned(),
        rules.to_string(),
        result.outputs.to_string(),
        // What the build saw: a toolchain may stand in its environment, or be one of its sources.
        root.to_string(),
        resolved.node.target.to_string(),
        serde_json::to_string(&sysroot)?,
    ])
    .digest();
    if let Some(log) = store.result(&key)?.and_then(|result| result.log) {
        return serde_json::from_slice(&store.read(&log)?).context("a kept policy result is damaged");
    }
    let policy = policy.with_sysroot(sysroot);
    let outputs = Tree::read(store, &result.outputs)?;
    let system = Tree::read(store, &root)?;
    let findings = artifact::check(store, &policy, &resolved.node.target, &outputs, &system)?;
    let log = Some(store.put_bytes(&serde_json::to_vec(&findings)?)?);
    let outputs = Tree::new().write(store)?;
    store.put_result(&key, &ActionResult { outputs, log })?;
    Ok(findings)
}

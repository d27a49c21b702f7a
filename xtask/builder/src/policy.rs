//! Policies of recipes, checked once for the same outputs, policy and environment.

use crate::{project::Project, resolve::Resolved};
use anyhow::{Context, Result};
use artifact::Finding;
use store::{Action, ActionResult, Digest, Obtained, Progress, Store, Tree};

/// Raised when the same policy would find something else.
const VERSION: &str = "4";

/// A look at the outputs of a node.
pub struct Look<'a> {
    /// The repository.
    pub project: &'a Project,
    /// Where outputs are, and what the build saw.
    pub store: &'a Store,
    /// The policy.
    pub name: &'a str,
    /// What was built.
    pub resolved: &'a Resolved,
}

impl Look<'_> {
    fn sysroot(&self) -> Result<Option<&str>> {
        Ok(self.project.node(&self.resolved.node)?.1.sysroot.as_deref())
    }

    fn seen(&self) -> Result<Digest> {
        self.resolved.action.input_root.context("an action without an input tree")
    }

    fn work(&self, outputs: &Digest) -> Result<Action> {
        Ok(Action::named([
            "policy".to_owned(),
            VERSION.to_owned(),
            self.project.policy(self.name)?.1.to_string(),
            outputs.to_string(),
            // What the build saw: a toolchain may stand in its environment, or be one of its sources.
            self.seen()?.to_string(),
            self.resolved.node.target.to_string(),
            serde_json::to_string(&self.sysroot()?)?,
        ]))
    }

    /// What the policy finds, where that is known: outputs were looked through here before or, where somebody else made them,
    /// there.
    pub fn known(&self, found: &Obtained, progress: &dyn Progress) -> Result<Option<Vec<Finding>>> {
        let work = self.work(&found.result.outputs)?;
        let known = match found.from {
            Some(_) => self.store.obtain(&work, progress)?,
            None => self.store.recall(&work)?,
        };
        let Some(log) = known.and_then(|known| known.result.log) else { return Ok(None) };
        serde_json::from_slice(&self.store.read(&log)?).context("a kept policy result is damaged").map(Some)
    }

    /// Looks outputs through. All that the build saw has to be here.
    pub fn check(&self, outputs: &Digest) -> Result<Vec<Finding>> {
        let key = self.work(outputs)?.write(self.store)?;
        let policy = self.project.policy(self.name)?.0.with_sysroot(self.sysroot()?);
        let (outputs, system) = (Tree::read(self.store, outputs)?, Tree::read(self.store, &self.seen()?)?);
        let target = &self.resolved.node.target;
        let findings = artifact::check(self.store, &policy, target, &outputs, &system)?;
        let log = Some(self.store.put_bytes(&serde_json::to_vec(&findings)?)?);
        let outputs = Tree::new().write(self.store)?;
        self.store.put_result(&key, &ActionResult { outputs, log })?;
        Ok(findings)
    }
}

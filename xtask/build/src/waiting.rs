//! What was not built because an input is not to be had, as opposed to what failed.

use crate::{Node, Outcome, Plan};
use input::Unavailable;
use std::collections::BTreeMap;

/// The nodes of an executed plan that wait for inputs, and the names of those. A node that failed for another reason, and
/// what depends on it, is not among them.
pub fn waiting(plan: &Plan, outcomes: &[Outcome]) -> BTreeMap<Node, Vec<String>> {
    let lacks = |node: &Node| -> Option<&Vec<String>> {
        let index = plan.nodes.iter().position(|known| known == node)?;
        match outcomes.get(index)? {
            Outcome::Failed(error) => Some(&error.downcast_ref::<Unavailable>()?.names),
            _ => None,
        }
    };
    let mut waiting = BTreeMap::new();
    for (node, outcome) in plan.nodes.iter().zip(outcomes) {
        let cause = match outcome {
            Outcome::Built(_) => continue,
            Outcome::Failed(_) => node,
            Outcome::Skipped(cause) => cause,
        };
        if let Some(names) = lacks(cause) {
            waiting.insert(node.clone(), names.clone());
        }
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn what_waits_is_told_from_what_failed() {
        let names = ["lacks", "after-lacks", "broken", "after-broken"];
        let nodes = names.map(|name| Node::new(name, "t"));
        let plan = Plan { nodes: nodes.to_vec(), dependencies: vec![vec![], vec![0], vec![], vec![2]] };
        let unavailable = Unavailable { names: vec!["ndk".into()], problems: "not there".into() };
        let outcomes = [
            Outcome::Failed(anyhow::Error::from(unavailable).context("cannot compose it")),
            Outcome::Skipped(nodes[0].clone()),
            Outcome::Failed(anyhow!("exit status: 1")),
            Outcome::Skipped(nodes[2].clone()),
        ];
        let waiting = waiting(&plan, &outcomes);
        assert_eq!(waiting.keys().cloned().collect::<Vec<_>>(), [nodes[1].clone(), nodes[0].clone()]);
        assert!(waiting.values().all(|names| names == &["ndk".to_owned()]));
    }
}

//! What was not built because an input is not to be had, as opposed to what failed.

use crate::{Node, Outcome, Plan};
use input::Unavailable;
use std::collections::{BTreeMap, BTreeSet};

/// The nodes of an executed plan that wait for inputs, and the names of those, of their dependencies too. A node that failed
/// for another reason, and what depends on it, is not among them.
pub fn waiting(plan: &Plan, outcomes: &[Outcome]) -> BTreeMap<Node, Vec<String>> {
    let lacks = |index: usize| match outcomes.get(index)? {
        Outcome::Failed(error) => Some(&store::find::<Unavailable>(error)?.names),
        _ => None,
    };
    let mut waiting = BTreeMap::new();
    for (index, (node, outcome)) in plan.nodes.iter().zip(outcomes).enumerate() {
        let cause = match outcome {
            Outcome::Built(_) => continue,
            Outcome::Failed(_) => node,
            Outcome::Skipped(cause) => cause,
        };
        if plan.nodes.iter().position(|known| known == cause).and_then(lacks).is_none() {
            continue;
        }
        let (mut names, mut seen, mut left) = (BTreeSet::new(), BTreeSet::new(), vec![index]);
        while let Some(index) = left.pop() {
            if seen.insert(index) {
                names.extend(lacks(index).into_iter().flatten().cloned());
                left.extend(plan.dependencies.get(index).into_iter().flatten());
            }
        }
        // What was not tried since another lacks something waits for nothing itself.
        if !names.is_empty() {
            waiting.insert(node.clone(), names.into_iter().collect());
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
        let names = ["lacks", "lacks-too", "after-both", "broken", "after-broken"];
        let nodes = names.map(|name| Node::parse(name, "t").unwrap());
        let plan =
            Plan { nodes: nodes.to_vec(), dependencies: vec![vec![], vec![], vec![0, 1], vec![], vec![3]] };
        let unavailable = |names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            anyhow::Error::from(Unavailable { names, problems: "not there".into(), hints: Vec::new() })
                .context("cannot compose it")
        };
        let outcomes = [
            Outcome::Failed(unavailable(&["ndk", "sources"])),
            Outcome::Failed(unavailable(&["crates"])),
            Outcome::Skipped(nodes[0].clone()),
            Outcome::Failed(anyhow!("exit status: 1")),
            Outcome::Skipped(nodes[3].clone()),
        ];
        let waiting = waiting(&plan, &outcomes);
        let expected = [(2, "crates ndk sources"), (0, "ndk sources"), (1, "crates")];
        let expected: Vec<_> = expected.map(|(index, names)| (nodes[index].clone(), names.to_owned())).into();
        let found: Vec<_> = waiting.into_iter().map(|(node, names)| (node, names.join(" "))).collect();
        assert_eq!(found, expected);
    }
}

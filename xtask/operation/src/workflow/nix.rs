//! The plan of all releases as data for the flake, which makes a derivation of each node.

use anyhow::{Context, Result};
use builder::{Node, Plan, Project};
use release::Definition;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// `nix/plan.json`. Digests and addresses are not in it: the flake reads them from the locks.
#[derive(Serialize)]
struct FlakePlan {
    /// By `RECIPE-TARGET`, with the short name of the target.
    nodes: BTreeMap<String, FlakeNode>,
    /// By name; those with models are not there, since models come from a hub.
    releases: BTreeMap<String, FlakeRelease>,
}

/// What one derivation is made from.
#[derive(Serialize)]
struct FlakeNode {
    /// `RECIPE@TARGET`.
    node: String,
    /// Its environment, whose lock is `containers/NAME.lock`.
    environment: String,
    /// The names of the nodes whose results it takes.
    dependencies: BTreeSet<String>,
    /// The names of its inputs in `recipes/inputs.lock`.
    inputs: BTreeSet<String>,
    /// The files of the repository that it is made from or that its recipe names, its dependencies' aside.
    files: BTreeSet<String>,
}

#[derive(Serialize)]
struct FlakeRelease {
    /// The nodes whose results it takes: artifacts and checks.
    nodes: BTreeSet<String>,
    /// The files that say what is in it.
    files: BTreeSet<String>,
}

/// The text of `nix/plan.json`.
///
/// # Errors
/// When a release, a recipe or one of its files can't be read.
pub(super) fn plan(project: &Project) -> Result<String> {
    let mut goals = BTreeSet::new();
    let mut releases = BTreeMap::new();
    for name in Definition::names(&project.root)? {
        let definition = Definition::load(&project.root, &name)?;
        let mut own = BTreeSet::from_iter(definition.artifacts(project)?);
        own.extend(definition.checks(project)?);
        if definition.models.is_empty() {
            let nodes = own.iter().map(name_of).collect();
            let files = Definition::files(&project.root, &name)?.into_keys().collect();
            releases.insert(name, FlakeRelease { nodes, files });
        }
        goals.extend(own);
    }
    let plan = Plan::new(project, &Vec::from_iter(goals))?;
    let mut nodes = BTreeMap::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let (recipe, target) = project.node(node)?;
        let dependencies = plan.dependencies[index].iter().map(|&index| name_of(&plan.nodes[index]));
        let inputs = project.sources(node)?.into_iter().filter_map(|source| source.input.clone());
        let mut files: BTreeSet<String> = builder::made_from(project, node)?.into_keys().collect();
        // A recipe is read with the libraries of all its targets.
        files.extend(recipe.targets.iter().flat_map(|target| &target.lib_files).cloned());
        let flake_node = FlakeNode {
            node: node.to_string(),
            environment: target.environment.clone(),
            dependencies: dependencies.collect(),
            inputs: inputs.collect(),
            files,
        };
        nodes.insert(name_of(node), flake_node);
    }
    let text = serde_json::to_string_pretty(&FlakePlan { nodes, releases });
    Ok(text.context("cannot write the plan as JSON")? + "\n")
}

fn name_of(node: &Node) -> String {
    format!("{}-{}", node.recipe, node.target.short().unwrap_or(&node.target))
}

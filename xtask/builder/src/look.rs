//! What the store knows of a node. Nothing is built, fetched, unpacked or written.

use crate::{
    aar,
    node::Node,
    patch::Overlay,
    plan::Plan,
    portable::Parts,
    project::Project,
    resolve::{Composition, unpacked, variables},
    wheel,
};
use anyhow::Result;
use environment::Environment;
use std::collections::BTreeMap;
use store::{Action, ActionResult, Digest, Store, Tree};

/// What would run for a node.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The action, and so its digest, the key.
    pub action: Action,
    /// Where it would run.
    pub environment: Environment,
    /// What would stand at `/build/src`.
    pub sources: Tree,
    /// Names of the locked inputs in it.
    pub inputs: Vec<String>,
    /// Its result, if the store has one.
    pub result: Option<ActionResult>,
}

/// What is known of a node.
#[derive(Clone, Debug)]
pub enum Looked {
    /// Its key is known.
    Seen(Box<Seen>),
    /// Its key depends on what is not there, each a noun and what it lacks: `` `a@b`, which is not built ``.
    Needs(Vec<String>),
}

/// Looks a node up, with all that it depends on.
///
/// # Errors
/// The recipe, a lock or a file of the repository can't be read; a patch does not fit.
pub fn look(project: &Project, store: &Store, node: &Node) -> Result<Looked> {
    let plan = Plan::new(project, std::slice::from_ref(node))?;
    let mut provided: BTreeMap<&Node, Option<Digest>> = BTreeMap::new();
    for (known, dependencies) in plan.nodes.iter().zip(&plan.dependencies) {
        let dependencies: Vec<_> = dependencies.iter().map(|&index| &plan.nodes[index]).collect();
        let looked = look_at(project, store, known, &dependencies, &provided)?;
        if known == node {
            return Ok(looked);
        }
        let provides = match looked {
            Looked::Seen(seen) => provides(project, store, known, seen.result)?,
            Looked::Needs(_) => None,
        };
        provided.insert(known, provides);
    }
    Ok(Looked::Needs(Vec::new()))
}

fn look_at(
    project: &Project,
    store: &Store,
    node: &Node,
    dependencies: &[&Node],
    provided: &BTreeMap<&Node, Option<Digest>>,
) -> Result<Looked> {
    let mut needs = Vec::new();
    let mut found = Vec::new();
    for dependency in dependencies {
        match provided.get(dependency).copied().flatten() {
            Some(outputs) => found.push((dependency.recipe.to_string(), outputs)),
            None => needs.push(format!("`{dependency}`, which is not built")),
        }
    }
    let (recipe, target) = project.node(node)?;
    let (definition, lock) = project.environment(&target.environment)?;
    let environment = environment::assembled(store, &target.environment, &definition, &lock)?;
    if environment.is_none() {
        needs.push(format!("the environment `{}`, which is not assembled", target.environment));
    }
    let (Some(environment), true) = (environment, needs.is_empty()) else { return Ok(Looked::Needs(needs)) };
    let composition = Composition::read(project, None, node, &found)?;
    let sources = match store.result(&composition.work(project)?.digest())? {
        Some(result) => Tree::read(store, &result.outputs)?,
        None => {
            for source in project.sources(node)? {
                let Some(name) = &source.input else { continue };
                if unpacked(project, store, source, name)?.is_none() {
                    needs.push(match store.contains(&project.input(name)?.digest) {
                        true => format!("the input `{name}`, which is not unpacked"),
                        false => format!("the input `{name}`, which is not fetched"),
                    });
                }
            }
            if !needs.is_empty() {
                return Ok(Looked::Needs(needs));
            }
            let unpack =
                |source: &_, name: &str| Ok(unpacked(project, store, source, name)?.unwrap_or_default());
            composition.compose(store, &Overlay::new(store), unpack)?
        }
    };
    let parts = Parts { environment: environment.root, sources: sources.digest()? };
    let action = parts.look(store, variables(&environment, Some((recipe, node))))?;
    let result = store.result(&action.digest())?;
    let inputs = composition.inputs().map(str::to_owned).collect();
    Ok(Looked::Seen(Box::new(Seen { action, environment, sources, inputs, result })))
}

/// What dependents get of a result, if it is there: packed, where the recipe packs its outputs.
fn provides(
    project: &Project,
    store: &Store,
    node: &Node,
    result: Option<ActionResult>,
) -> Result<Option<Digest>> {
    let Some(result) = result else { return Ok(None) };
    let work = match wheel::work(project, node, &result)? {
        Some(work) => Some(work),
        None => aar::work(project, node, &result)?,
    };
    match work {
        Some(work) => Ok(store.result(&work.digest())?.map(|packed| packed.outputs)),
        None => Ok(Some(result.outputs)),
    }
}

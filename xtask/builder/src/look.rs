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

/// What a look at a node of a plan finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Its result is here.
    Built,
    /// All that it is made from is here, and not its result.
    Ready,
    /// Its key depends on what is not here.
    Unknown,
}

/// Looks a node up, with all that it depends on.
///
/// # Errors
/// The recipe, a lock or a file of the repository can't be read; a patch does not fit.
pub fn look(project: &Project, store: &Store, node: &Node) -> Result<Looked> {
    let plan = Plan::new(project, std::slice::from_ref(node))?;
    match look_at_plan(project, store, &plan).pop() {
        Some(Ok(Found::Seen(seen))) => Ok(Looked::Seen(Box::new(seen.with_sources(store)?))),
        Some(Ok(Found::Needs(needs))) => Ok(Looked::Needs(needs)),
        Some(Err(error)) => Err(error),
        None => Ok(Looked::Needs(Vec::new())),
    }
}

/// What dependents and users get of a node, if its result is here. Nothing is built, fetched or written.
///
/// # Errors
/// As of [`look`].
pub fn provided(project: &Project, store: &Store, node: &Node) -> Result<Option<Digest>> {
    match look(project, store, node)? {
        Looked::Seen(seen) => provides(project, store, node, seen.result),
        Looked::Needs(_) => Ok(None),
    }
}

/// Looks at all nodes of a plan, in its order. Nothing is built, fetched or written; each fails for itself, as of [`look`].
pub fn glance(project: &Project, store: &Store, plan: &Plan) -> Vec<Result<Sight>> {
    let sight = |found: Found| match found {
        Found::Seen(seen) if seen.result.is_some() => Sight::Built,
        Found::Seen(_) => Sight::Ready,
        Found::Needs(_) => Sight::Unknown,
    };
    look_at_plan(project, store, plan).into_iter().map(|found| found.map(sight)).collect()
}

/// What is found of a node.
enum Found {
    Seen(Box<FoundNode>),
    Needs(Vec<String>),
}

/// As [`Seen`], with the root of the sources alone where they are in the store: to read them all takes longer than all else.
struct FoundNode {
    action: Action,
    environment: Environment,
    sources: Digest,
    composed: Option<Tree>,
    inputs: Vec<String>,
    result: Option<ActionResult>,
}

impl FoundNode {
    fn with_sources(self, store: &Store) -> Result<Seen> {
        let Self { action, environment, sources, composed, inputs, result } = self;
        let sources = composed.map_or_else(|| Tree::read(store, &sources), Ok)?;
        Ok(Seen { action, environment, sources, inputs, result })
    }
}

fn look_at_plan(project: &Project, store: &Store, plan: &Plan) -> Vec<Result<Found>> {
    let mut known = Known { project, store, provided: BTreeMap::new(), environments: BTreeMap::new() };
    let mut all = Vec::new();
    for (node, dependencies) in plan.nodes.iter().zip(&plan.dependencies) {
        let dependencies: Vec<_> = dependencies.iter().map(|&index| &plan.nodes[index]).collect();
        let found = known.look_at(node, &dependencies);
        let provides = match &found {
            Ok(Found::Seen(seen)) => provides(project, store, node, seen.result),
            Ok(Found::Needs(_)) | Err(_) => Ok(None),
        };
        // What can't be read here is told by whoever needs it.
        known.provided.insert(node, provides.unwrap_or_default());
        all.push(found);
    }
    all
}

/// What was found out on the way.
struct Known<'a> {
    project: &'a Project,
    store: &'a Store,
    /// What dependents get of the nodes before.
    provided: BTreeMap<&'a Node, Option<Digest>>,
    /// Environments by name, as far as they are assembled.
    environments: BTreeMap<String, Option<Environment>>,
}

impl Known<'_> {
    fn environment(&mut self, name: &str) -> Result<Option<Environment>> {
        if let Some(known) = self.environments.get(name) {
            return Ok(known.clone());
        }
        let (definition, lock) = self.project.environment(name)?;
        let environment = environment::assembled(self.store, name, &definition, &lock)?;
        self.environments.insert(name.to_owned(), environment.clone());
        Ok(environment)
    }

    fn look_at(&mut self, node: &Node, dependencies: &[&Node]) -> Result<Found> {
        let (project, store) = (self.project, self.store);
        let mut needs = Vec::new();
        let mut found = Vec::new();
        for dependency in dependencies {
            match self.provided.get(dependency).copied().flatten() {
                Some(outputs) => found.push((dependency.recipe.to_string(), outputs)),
                None => needs.push(format!("`{dependency}`, which is not built")),
            }
        }
        let (recipe, target) = project.node(node)?;
        let environment = self.environment(&target.environment)?;
        if environment.is_none() {
            needs.push(format!("the environment `{}`, which is not assembled", target.environment));
        }
        let (Some(environment), true) = (environment, needs.is_empty()) else {
            return Ok(Found::Needs(needs));
        };
        let composition = Composition::read(project, None, node, &found)?;
        let (sources, composed) = match store.result(&composition.work(project)?.digest())? {
            Some(result) => (result.outputs, None),
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
                    return Ok(Found::Needs(needs));
                }
                let unpack =
                    |source: &_, name: &str| Ok(unpacked(project, store, source, name)?.unwrap_or_default());
                let composed = composition.compose(store, &Overlay::new(store), unpack)?;
                (composed.digest()?, Some(composed))
            }
        };
        let parts = Parts { environment: environment.root, sources };
        let action = parts.look(store, variables(&environment, Some((recipe, node))))?;
        let result = store.result(&action.digest())?;
        let inputs = composition.inputs().map(str::to_owned).collect();
        Ok(Found::Seen(Box::new(FoundNode { action, environment, sources, composed, inputs, result })))
    }
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

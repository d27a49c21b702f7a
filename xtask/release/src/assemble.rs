//! From an executed plan to a manifest, and archives in the store.

use crate::{
    Definition, Manifest,
    manifest::{Artifact, EnvironmentFacts, File, InputFacts, PolicyFacts, SCHEMA, Step, archive_kind},
};
use anyhow::{Context, Result, bail};
use artifact::{Kind, write_archive};
use build::{Built, Node, Outcome, Plan, Project};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use store::{Action, ActionResult, Digest, Entry, Store, Tree};

/// Raised when the same tree would become another archive.
const ARCHIVE: &str = "1";

/// Makes the manifest of a release whose plan was executed, and the archives, as blobs of the store. Errors: something
/// of it is not built.
pub fn assemble(
    project: &Project,
    store: &Store,
    definition: &Definition,
    plan: &Plan,
    outcomes: &[Outcome],
) -> Result<Manifest> {
    let mut manifest = Manifest {
        schema: SCHEMA.to_owned(),
        name: definition.name.clone(),
        artifacts: Vec::new(),
        checks: Vec::new(),
        intermediates: Vec::new(),
        environments: BTreeMap::new(),
        inputs: BTreeMap::new(),
        licenses: Vec::new(),
    };
    let (artifacts, checks) = (definition.artifacts(project)?, definition.checks(project)?);
    let mut built = BTreeMap::new();
    for (node, outcome) in plan.nodes.iter().zip(outcomes) {
        let Outcome::Built(result) = outcome else {
            bail!("`{node}` is not built, so the release would have a hole")
        };
        built.insert(node.clone(), result);
        for name in &result.resolved.inputs {
            let input = project.provenance(name)?;
            let facts =
                InputFacts { source: input.source, sha256: input.digest.hex(), size: input.digest.size };
            manifest.inputs.insert(name.clone(), facts);
        }
        let environment = &result.resolved.environment;
        if !manifest.environments.contains_key(&environment.name) {
            let facts = EnvironmentFacts {
                tree: environment.root,
                nar: nar_hash(store, &environment.root)?,
                lock: lock_digest(&project.root, &environment.name)?,
            };
            manifest.environments.insert(environment.name.clone(), facts);
        }
        if !artifacts.contains(node) && !checks.contains(node) {
            manifest.intermediates.push(step(project, result)?);
        }
    }
    for node in &artifacts {
        let artifact = artifact(project, store, plan, &checks, node, built[node])?;
        manifest.licenses.extend(artifact.licenses());
        manifest.artifacts.push(artifact);
    }
    for node in &checks {
        manifest.checks.push(step(project, built[node])?);
    }
    manifest.licenses.sort();
    Ok(manifest)
}

fn step(project: &Project, built: &Built) -> Result<Step> {
    let node = &built.resolved.node;
    let (_, target) = project.node(node)?;
    Ok(Step {
        recipe: node.recipe.clone(),
        target: node.target.clone(),
        action: built.resolved.key,
        outputs: built.result.outputs,
        environment: built.resolved.environment.name.clone(),
        inputs: built.resolved.inputs.clone(),
        dependencies: target.dependencies.clone(),
    })
}

fn artifact(
    project: &Project,
    store: &Store,
    plan: &Plan,
    checks: &[Node],
    node: &Node,
    built: &Built,
) -> Result<Artifact> {
    let (recipe, target) = project.node(node)?;
    let outputs = Tree::read(store, &built.result.outputs)?;
    let mut files = Vec::new();
    let mut links = BTreeMap::new();
    for (path, entry) in outputs.iter() {
        match entry {
            Entry::File { digest, executable } => {
                files.push(File { executable: *executable, ..File::new(path, digest) });
            }
            Entry::Symlink { target } => {
                links.insert(path.to_owned(), target.clone());
            }
            Entry::Directory => bail!(
                "`{node}` has the empty directory `{path}`\n  hint: an artifact holds files and links; let `{}` remove it",
                target.script
            ),
        }
    }
    let policy = match &target.policy {
        Some(name) => Some(PolicyFacts { name: name.clone(), text: policy_digest(&project.root, name)? }),
        None => None,
    };
    let checked_by = checks
        .iter()
        .filter(|check| check.target == node.target && needs(plan, check, node))
        .map(|check| check.recipe.clone())
        .collect();
    let mut artifact = Artifact {
        archive: File::new("", &built.result.outputs),
        license: recipe.license.clone(),
        version: recipe.version.clone(),
        policy,
        sysroot: target.sysroot.clone(),
        checked_by,
        files,
        links,
        step: step(project, built)?,
    };
    if artifact.licenses().next().is_none() {
        bail!("`{node}` has no `licenses/`; every artifact carries the licences of what it contains");
    }
    let (title, kind) = (artifact.title(), archive_kind(&node.target));
    let archive = archive(store, &built.result.outputs, &outputs, &title, kind)?;
    artifact.archive = File::new(&format!("{title}.{}", kind.extension()), &archive);
    Ok(artifact)
}

/// Whether `goal` is built from `node`, however far down.
fn needs(plan: &Plan, goal: &Node, node: &Node) -> bool {
    let mut open: Vec<usize> = plan.nodes.iter().position(|known| known == goal).into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(index) = open.pop() {
        if plan.nodes[index] == *node {
            return true;
        }
        if seen.insert(index) {
            open.extend(&plan.dependencies[index]);
        }
    }
    false
}

/// Archives a tree, once ever.
fn archive(store: &Store, root: &Digest, tree: &Tree, name: &str, kind: Kind) -> Result<Digest> {
    let key = Action::named(["archive", ARCHIVE, kind.extension(), name, &root.to_string()]).digest();
    if let Some(result) = store.result(&key)?
        && let Some(Entry::File { digest, .. }) = Tree::read(store, &result.outputs)?.get(name)
        && store.contains(digest)
    {
        return Ok(*digest);
    }
    let digest = write_archive(store, tree, name, kind)?;
    let mut outputs = Tree::new();
    outputs.insert(name, Entry::File { digest, executable: false })?;
    store.put_result(&key, &ActionResult { outputs: outputs.write(store)?, log: None })?;
    Ok(digest)
}

/// The Nix hash of a tree, computed once ever: it reads everything.
fn nar_hash(store: &Store, root: &Digest) -> Result<String> {
    let key = Action::named(["nar", "1", &root.to_string()]).digest();
    if let Some(log) = store.result(&key)?.and_then(|result| result.log) {
        return String::from_utf8(store.read(&log)?).context("a kept hash is damaged");
    }
    let hash = store.nar_hash(&Tree::read(store, root)?)?;
    let result =
        ActionResult { outputs: Tree::new().write(store)?, log: Some(store.put_bytes(hash.as_bytes())?) };
    store.put_result(&key, &result)?;
    Ok(hash)
}

/// The digest of an environment's lock file.
pub fn lock_digest(root: &Path, environment: &str) -> Result<Digest> {
    Digest::of_file(&root.join("containers").join(format!("{environment}.lock")))
}

/// The digest of a policy's file.
pub fn policy_digest(root: &Path, policy: &str) -> Result<Digest> {
    Digest::of_file(&root.join("recipes/policies").join(format!("{policy}.toml")))
}

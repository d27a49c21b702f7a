//! From an executed plan to a manifest, and archives in the store.

use crate::{
    Definition, Manifest, Model,
    manifest::{
        Artifact, EnvironmentFacts, File, InputFacts, Missing, PolicyFacts, SCHEMA, Step, archive_kind,
    },
};
use anyhow::{Context, Result, bail};
use artifact::{Kind, write_archive};
use builder::{Built, Node, Outcome, Plan, Project};
use input::{Format, Input, Part};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use store::{Action, ActionResult, Digest, Entry, Store, Tree};

/// Raised when the same tree would become another archive.
const ARCHIVE: &str = "1";

/// Makes the manifest of a release whose plan was executed, and the archives, as blobs of the store. `missing` is recorded,
/// and what the definition does not ask for any longer, though the plan did, is no part of it. Errors: something of it is
/// not built; nothing is left.
pub fn assemble(
    project: &Project,
    store: &Store,
    definition: &Definition,
    plan: &Plan,
    outcomes: &[Outcome],
    models: &[(Model, Vec<Input>)],
    missing: Vec<Missing>,
) -> Result<Manifest> {
    let mut manifest = Manifest {
        schema: SCHEMA.to_owned(),
        name: definition.name.clone(),
        artifacts: Vec::new(),
        checks: Vec::new(),
        intermediates: Vec::new(),
        environments: BTreeMap::new(),
        inputs: BTreeMap::new(),
        models: Vec::new(),
        licenses: Vec::new(),
        missing,
    };
    manifest.missing.sort();
    let (artifacts, checks) = (definition.artifacts(project)?, definition.checks(project)?);
    if artifacts.is_empty() && models.is_empty() {
        bail!("every artifact and model of the release waits for an input");
    }
    let goals: Vec<_> = artifacts.iter().chain(&checks).cloned().collect();
    let needed: BTreeSet<Node> = Plan::new(project, &goals)?.nodes.into_iter().collect();
    let mut built = BTreeMap::new();
    for (node, outcome) in plan.nodes.iter().zip(outcomes).filter(|(node, _)| needed.contains(*node)) {
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
                nar: store.nar_hash_of(&environment.root)?,
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
    for (model, inputs) in models {
        manifest.add_model(model, inputs);
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
    // Beside an AAR stands what is published with it, so it is archived like plain outputs.
    let root = built.aar.unwrap_or(built.result.outputs);
    let outputs = Tree::read(store, &root)?;
    let packed = match built.wheel {
        Some(tree) => wheel(store, &tree)?,
        None => {
            let title = format!("{}-{}-{}", node.recipe, recipe.version, node.target);
            let kind = archive_kind(&node.target);
            let (files, links) = files(&outputs).with_context(|| {
                format!("`{node}` can't be archived\n  hint: `{}` makes it", target.script)
            })?;
            let digest = archive(store, &root, &outputs, &title, kind)?;
            Packed { archive: File::new(&format!("{title}.{}", kind.extension()), &digest), files, links }
        }
    };
    let policy = match &target.policy {
        Some(name) => Some(PolicyFacts { name: name.clone(), text: project.policy(name)?.1 }),
        None => None,
    };
    let checked_by = checks
        .iter()
        .filter(|check| check.target == node.target && needs(plan, check, node))
        .map(|check| check.recipe.clone())
        .collect();
    let artifact = Artifact {
        archive: packed.archive,
        license: recipe.license.clone(),
        version: recipe.version.clone(),
        policy,
        sysroot: target.sysroot.clone(),
        checked_by,
        files: packed.files,
        links: packed.links,
        step: step(project, built)?,
    };
    if artifact.licenses().next().is_none() {
        bail!("`{node}` has no `licenses/`; every artifact carries the licences of what it contains");
    }
    Ok(artifact)
}

/// An archive, and what is in it.
struct Packed {
    archive: File,
    files: Vec<File>,
    links: BTreeMap<String, String>,
}

fn files(outputs: &Tree) -> Result<(Vec<File>, BTreeMap<String, String>)> {
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
            Entry::Directory => {
                bail!("the directory `{path}` is empty, and an artifact holds files and links alone")
            }
        }
    }
    Ok((files, links))
}

/// The wheel in a tree that holds nothing else.
fn wheel(store: &Store, tree: &Digest) -> Result<Packed> {
    let tree = Tree::read(store, tree)?;
    let Some((path, Entry::File { digest, .. })) = tree.iter().next() else {
        bail!("there is no wheel in the tree that was packed")
    };
    // Read once ever: inflating it would take longer than all else that a release with nothing to do does.
    let content = input::unpack(store, digest, Format::Zip, &Part::default())?;
    let (mut files, links) = files(&content)?;
    files.sort();
    Ok(Packed { archive: File::new(path, digest), files, links })
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

/// The digest of an environment's lock file.
pub fn lock_digest(root: &Path, environment: &str) -> Result<Digest> {
    Digest::of_file(&root.join("containers").join(format!("{environment}.lock")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{example, verify, write};

    fn text(directory: &Path) -> String {
        verify(directory, None).unwrap().iter().map(|problem| format!("{problem}\n")).collect()
    }

    /// The release of the example, its artifact for Linux packed as a wheel.
    #[test]
    fn a_wheel_is_listed_checked_and_held_against_its_record() {
        let (directory, store, mut manifest) = example::release();
        let mut tree = Tree::new();
        for (path, text) in [("hello/__init__.py", "print('hello')\n"), ("licenses/LICENSE", "license")] {
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable: false }).unwrap();
        }
        let metadata = artifact::Metadata {
            name: "hello".into(),
            summary: "says hello".into(),
            requires_python: ">=3.9".into(),
            ..artifact::Metadata::default()
        };
        let (name, digest) =
            artifact::write_wheel(&store, &tree, &metadata, "1.0", "MIT", "py3-none-any").unwrap();
        let mut packed = Tree::new();
        packed.insert(&name.file_name(), Entry::File { digest, executable: false }).unwrap();
        let packed = wheel(&store, &packed.write(&store).unwrap()).unwrap();
        let index = manifest.artifacts.iter().position(|it| it.archive.path != example::ARCHIVE).unwrap();
        let artifact = &mut manifest.artifacts[index];
        (artifact.archive, artifact.files, artifact.links) = (packed.archive, packed.files, packed.links);
        manifest.licenses = manifest.artifacts.iter().flat_map(Artifact::licenses).collect();
        manifest.licenses.sort();
        assert_eq!(manifest.licenses[0].path, "licenses/hello-1.0-py3-none-any/LICENSE");

        let path = directory.path().join("good");
        write(&store, &manifest, &path).unwrap();
        assert_eq!(text(&path), "");

        let forge = |change: fn(&mut Artifact), name: &str| {
            let mut forged = manifest.clone();
            change(&mut forged.artifacts[index]);
            let path = directory.path().join(name);
            write(&store, &forged, &path).unwrap();
            text(&path)
        };
        let other = forge(|it| it.files[0].sha256 = "0".repeat(64), "other");
        assert!(other.contains("has no RECORD of the files that it holds"), "{other}");
        let fewer = forge(|it| it.files.retain(|file| !file.path.ends_with("/WHEEL")), "fewer");
        assert!(fewer.contains("lacks `hello-1.0.dist-info/WHEEL`"), "{fewer}");
        assert!(fewer.contains("holds `hello-1.0.dist-info/WHEEL`, which is not in the manifest"), "{fewer}");
        let version = forge(|it| it.version = "2.0".into(), "version");
        assert!(version.contains("is of the version `2.0` elsewhere"), "{version}");
    }
}

//! From an executed plan to a manifest, and archives in the store.

use crate::{
    Definition, Manifest, Model, bom,
    manifest::{
        Artifact, EnvironmentFacts, File, InputFacts, Missing, PROGRAM, PolicyFacts, SCHEMA, Step,
        archive_kind,
    },
    parts::{self, Table},
    process, verifier,
};
use anyhow::{Result, bail, ensure};
use artifact::{Kind, write_archive};
use builder::{Built, Node, Outcome, Plan, Project, made_from};
use input::{Format, Input, Part};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use store::{Action, ActionResult, Digest, Entry, Store, Tree, WithHint, hinted};

/// Raised when the same tree would become another archive.
const ARCHIVE: &str = "1";

/// Makes the manifest of a release whose plan was executed, and the archives, as blobs of the store. `missing` is recorded,
/// and what the definition does not ask for any longer, though the plan did, is not part of it. Errors: something of it is
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
        program: Some(PROGRAM.to_owned()),
        name: definition.name.clone(),
        artifacts: Vec::new(),
        checks: Vec::new(),
        intermediates: Vec::new(),
        environments: BTreeMap::new(),
        inputs: BTreeMap::new(),
        repository: Definition::files(&project.root, &definition.name)?,
        verifier: Some(File::new(verifier::NAME, &store.put_bytes(verifier::SCRIPT.as_bytes())?)),
        bom: None,
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
    let outcomes: BTreeMap<&Node, &Outcome> = plan.nodes.iter().zip(outcomes).collect();
    let mut built = BTreeMap::new();
    // In the order of the definition alone, whatever else was planned.
    for node in &Plan::new(project, &goals)?.nodes {
        let Some(Outcome::Built(result)) = outcomes.get(node).copied() else {
            bail!("`{node}` is not built, so the release would have a hole")
        };
        built.insert(node.clone(), result);
        let files = &result.resolved.made_from;
        ensure!(
            made_from(project, node)? == *files,
            hinted(
                format!("files that `{node}` is made from were changed while it was built"),
                "run the command again"
            )
        );
        manifest.repository.extend(files.clone());
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
    let table = Table::load(&project.root)?;
    let parts: Result<Vec<_>> = manifest.artifacts.iter().map(|it| table.parts(it, &manifest)).collect();
    for (artifact, parts) in manifest.artifacts.iter_mut().zip(parts?) {
        artifact.parts = parts;
        // A wheel's METADATA says what its recipe says.
        if artifact.wheel().is_none() {
            artifact.license = parts::license(&artifact.license, artifact)?;
        }
    }
    for (model, inputs) in models {
        let path = format!("models/{}.toml", model.conversion.name);
        manifest.repository.insert(path.clone(), Digest::of_file(&project.root.join(&path))?);
        manifest.add_model(model, inputs);
    }
    manifest.licenses.sort();
    let conflicts = process::conflicts(&manifest.artifacts);
    ensure!(
        conflicts.is_empty(),
        hinted(
            format!("the artifacts of the release can't share a process:\n  {}", conflicts.join("\n  ")),
            "`contains`, `needs` and `cxx` of their recipes say so"
        )
    );
    add_bom(project, store, &mut manifest)?;
    Ok(manifest)
}

fn add_bom(project: &Project, store: &Store, manifest: &mut Manifest) -> Result<()> {
    let text = bom::text(manifest, &bom::packages(manifest, project)?)?;
    manifest.bom = Some(File::new(bom::NAME, &store.put_bytes(text.as_bytes())?));
    Ok(())
}

/// Says of each step what `other` says of whose result it is, and so does the bill of materials.
///
/// # Errors
/// If a lock can't be read, or the store can't be written.
pub fn take_marks(project: &Project, store: &Store, manifest: &mut Manifest, other: &Manifest) -> Result<()> {
    let artifacts = manifest.artifacts.iter_mut().map(|artifact| &mut artifact.step);
    for step in artifacts.chain(&mut manifest.checks).chain(&mut manifest.intermediates) {
        let same = other.steps().find(|it| (&it.recipe, &it.target) == (&step.recipe, &step.target));
        step.imported = same.and_then(|same| same.imported.clone());
    }
    add_bom(project, store, manifest)
}

fn step(project: &Project, built: &Built) -> Result<Step> {
    let node = &built.resolved.node;
    let (_, target) = project.node(node)?;
    Ok(Step {
        recipe: node.recipe.to_string(),
        target: node.target.to_string(),
        action: built.resolved.key,
        outputs: built.result.outputs,
        environment: built.resolved.environment.name.clone(),
        inputs: built.resolved.inputs.clone(),
        dependencies: target.dependencies.iter().map(ToString::to_string).collect(),
        made_from: built.resolved.made_from.keys().cloned().collect(),
        imported: built.imported.clone(),
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
            let (files, links) = files(&outputs).with_hint(|| {
                hinted(format!("`{node}` can't be archived"), format!("`{}` makes it", target.script()))
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
        .map(|check| check.recipe.to_string())
        .collect();
    let packed_from = match root == built.result.outputs && built.wheel.is_none() {
        true => Vec::new(),
        false => files(&Tree::read(store, &built.result.outputs)?)?.0,
    };
    let artifact = Artifact {
        archive: packed.archive,
        license: recipe.license.to_string(),
        version: recipe.version.clone(),
        policy,
        sysroot: target.sysroot.clone(),
        checked_by,
        files: packed.files,
        links: packed.links,
        packed_from,
        cxx: target.cxx,
        parts: Vec::new(),
        contains: target.contains.clone(),
        needs: target.needs.clone(),
        step: step(project, built)?,
    };
    if artifact.licenses().next().is_none() {
        bail!("`{node}` has no `licenses/`; every artifact carries the licenses of what it contains");
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

//! `release.json`: what a release holds, what it was made from, and how. No time, host, user or path of a machine.
//!
//! The text is canonical: keys sorted, two spaces of indentation, no floating-point numbers, one newline at the end.
//! [`crate::verify`] refuses any other writing of the same data.

use crate::Definition;
use anyhow::{Context, Result, bail};
use artifact::{Kind, write_archive};
use build::{Built, Node, Outcome, Plan, Project};
use input::Source;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{Action, ActionResult, Digest, Entry, Store, Tree};

/// The version of this format.
pub const SCHEMA: &str = "mlc-repro/release/1";

/// Raised when the same tree would become another archive.
const ARCHIVE: &str = "1";

/// A release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// The release's name.
    pub name: String,
    /// What is shipped, in the order of the definition.
    pub artifacts: Vec<Artifact>,
    /// What passed before: each a recipe that ran the artifacts.
    pub checks: Vec<Step>,
    /// What artifacts were built from and is not shipped.
    pub intermediates: Vec<Step>,
    /// Environments by name.
    pub environments: BTreeMap<String, EnvironmentFacts>,
    /// Locked inputs by name.
    pub inputs: BTreeMap<String, InputFacts>,
    /// Licence texts, as files of the release directory.
    pub licenses: Vec<File>,
}

/// A shipped artifact: an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The archive in the release directory.
    pub archive: File,
    /// SPDX expression.
    pub license: String,
    /// The recipe's version.
    pub version: String,
    /// The policy that the files satisfy.
    pub policy: Option<String>,
    /// The C runtime and system headers that it was made with.
    pub sysroot: Option<String>,
    /// What is in the archive, below its top directory.
    pub files: Vec<File>,
    /// How it was made.
    pub step: Step,
}

/// An action that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The recipe.
    pub recipe: String,
    /// The LLVM triple.
    pub target: String,
    /// Digest of the REAPI `Action`.
    pub action: Digest,
    /// Root of the output tree (REAPI `Directory`).
    pub outputs: Digest,
    /// The environment that it ran in.
    pub environment: String,
    /// Locked inputs of its own.
    pub inputs: Vec<String>,
    /// Recipes for the same target whose outputs it used.
    pub dependencies: Vec<String>,
}

/// A file by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path, relative.
    pub path: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// What an environment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentFacts {
    /// Root of the tree (REAPI `Directory`).
    pub tree: Digest,
    /// The Nix archive's hash of the same tree.
    pub nar: String,
    /// The lock file that says which packages it is made of.
    pub lock: Digest,
}

/// What an input is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFacts {
    /// Where it comes from, in its ecosystem's terms.
    pub source: Source,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl File {
    /// A file at a path.
    pub fn new(path: &str, digest: &Digest) -> Self {
        Self { path: path.to_owned(), sha256: digest.hex(), size: digest.size }
    }
}

impl Manifest {
    /// The canonical text.
    pub fn to_json(&self) -> Result<String> {
        let value = sorted(serde_json::to_value(self).context("cannot write the manifest")?);
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    /// Every file of the release directory but the manifest and the checksums.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.artifacts.iter().map(|artifact| &artifact.archive).chain(&self.licenses)
    }

    /// `SHA256SUMS`: `HEX  PATH` lines sorted by path, as `sha256sum -c --strict` reads them. `json` is the manifest's
    /// own text.
    pub fn checksums(&self, json: &str) -> String {
        let mut lines: BTreeMap<&str, String> =
            self.files().map(|file| (file.path.as_str(), file.sha256.clone())).collect();
        lines.insert("release.json", Digest::of(json.as_bytes()).hex());
        lines.iter().map(|(path, sha256)| format!("{sha256}  {path}\n")).collect()
    }
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let map: BTreeMap<_, _> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            serde_json::Value::Object(map.into_iter().collect())
        }
        serde_json::Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}

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
            let input = project.input(name)?;
            let facts = InputFacts {
                source: input.source.clone(),
                sha256: input.digest.hex(),
                size: input.digest.size,
            };
            manifest.inputs.insert(name.clone(), facts);
        }
        let environment = &result.resolved.environment;
        if !manifest.environments.contains_key(&environment.name) {
            let facts = EnvironmentFacts {
                tree: environment.root,
                nar: nar_hash(store, &environment.root)?,
                lock: lock_digest(project, &environment.name)?,
            };
            manifest.environments.insert(environment.name.clone(), facts);
        }
        if !artifacts.contains(node) && !checks.contains(node) {
            manifest.intermediates.push(step(project, result)?);
        }
    }
    for node in &artifacts {
        let (artifact, licenses) = artifact(project, store, node, built[node])?;
        manifest.artifacts.push(artifact);
        manifest.licenses.extend(licenses);
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

fn artifact(project: &Project, store: &Store, node: &Node, built: &Built) -> Result<(Artifact, Vec<File>)> {
    let (recipe, target) = project.node(node)?;
    let name = format!("{}-{}-{}", node.recipe, recipe.version, node.target);
    let kind = if node.target.contains("-windows-") { Kind::Zip } else { Kind::TarGz };
    let outputs = Tree::read(store, &built.result.outputs)?;
    let archive = archive(store, &built.result.outputs, &outputs, &name, kind)?;
    let mut files = Vec::new();
    let mut licenses = Vec::new();
    for (path, entry) in outputs.iter() {
        let Entry::File { digest, .. } = entry else { continue };
        files.push(File::new(path, digest));
        if let Some(rest) = path.strip_prefix("licenses/") {
            licenses.push(File::new(&format!("licenses/{name}/{rest}"), digest));
        }
    }
    if licenses.is_empty() {
        bail!("`{node}` has no `licenses/`; every artifact carries the licences of what it contains");
    }
    let artifact = Artifact {
        archive: File::new(&format!("{name}.{}", kind.extension()), &archive),
        license: recipe.license.clone(),
        version: recipe.version.clone(),
        policy: target.policy.clone(),
        sysroot: target.sysroot.clone(),
        files,
        step: step(project, built)?,
    };
    Ok((artifact, licenses))
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
pub fn lock_digest(project: &Project, environment: &str) -> Result<Digest> {
    Digest::of_file(&project.root.join("containers").join(format!("{environment}.lock")))
}

//! The statements: in-toto Statement 1 with the predicate of SLSA provenance 1, as canonical JSON.

use crate::{Artifact, File, InputFacts, Manifest, Model, PROGRAM, Step, manifest::canonical};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use store::Digest;

/// What kind of build this was: what the parameters below mean (docs/auditing.md).
const BUILD: &str = "urn:mlc-repro:build:1";
/// The same for converted models.
const CONVERSION: &str = "urn:mlc-repro:conversion:1";
/// The same for whole releases.
const RELEASE: &str = "urn:mlc-repro:release:1";
/// The kind of builder: whoever runs this program. Who that was, the signatures say.
const BUILDER: &str = "urn:mlc-repro:builder:1";

/// A tree of the Remote Execution API is not the SHA-256 of any file, so it has a key of its own.
const TREE: &str = "reapiTree";

/// The statement of an artifact.
pub fn of_artifact(manifest: &Manifest, artifact: &Artifact) -> Vec<u8> {
    let step = &artifact.step;
    let mut internal =
        json!({ "action": step.action, "environment": step.environment, "outputs": step.outputs });
    for (key, value) in [("imported", &step.imported), ("sysroot", &artifact.sysroot)] {
        if let Some(value) = value {
            internal[key] = value.clone().into();
        }
    }
    let build = json!({
        "buildType": BUILD,
        "externalParameters": { "recipe": step.recipe, "release": manifest.name, "target": step.target },
        "internalParameters": internal,
        "resolvedDependencies": of_step(manifest, step),
    });
    statement(manifest, &[subject(&artifact.archive)], &build)
}

/// The statement of a converted model.
pub fn of_model(manifest: &Manifest, model: &Model) -> Vec<u8> {
    let subjects: Vec<_> = model.files.iter().map(subject).collect();
    let inputs = model.inputs.iter().filter_map(|name| Some(input(name, manifest.inputs.get(name)?)));
    let build = json!({
        "buildType": CONVERSION,
        "externalParameters": { "conversion": model.conversion, "release": manifest.name },
        "internalParameters": { "action": model.action, "architecture": model.architecture, "outputs": model.outputs },
        "resolvedDependencies": inputs.collect::<Vec<_>>(),
    });
    statement(manifest, &subjects, &build)
}

/// The statement of a release: every file of it, and all that it was made from.
pub fn of_release(manifest: &Manifest, json: &str) -> Vec<u8> {
    let checksums = manifest.checksums(json);
    let own = [("release.json", json), ("SHA256SUMS", &checksums)];
    let own = own.map(|(path, text)| File::new(path, &Digest::of(text.as_bytes())));
    let files: BTreeMap<&str, &File> =
        manifest.files().chain(&own).map(|file| (file.path.as_str(), file)).collect();
    let subjects: Vec<_> = files.into_values().map(subject).collect();
    let environments = manifest.environments.keys().filter_map(|name| environment(manifest, name));
    let inputs = manifest.inputs.iter().map(|(name, facts)| input(name, facts));
    let repository = manifest.repository.keys().filter_map(|path| repository(manifest, path));
    let build = json!({
        "buildType": RELEASE,
        "externalParameters": { "release": manifest.name },
        "internalParameters": { "schema": manifest.schema },
        "resolvedDependencies": environments.chain(inputs).chain(repository).collect::<Vec<_>>(),
    });
    statement(manifest, &subjects, &build)
}

fn statement(manifest: &Manifest, subjects: &[Value], build: &Value) -> Vec<u8> {
    let program = manifest.program.as_deref().unwrap_or(PROGRAM);
    let (name, version) = program.split_once(' ').unwrap_or((program, ""));
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": build,
            "runDetails": { "builder": { "id": BUILDER, "version": { name: version } } },
        },
    });
    canonical(statement).to_string().into_bytes()
}

fn subject(file: &File) -> Value {
    json!({ "name": file.path, "digest": { "sha256": file.sha256 } })
}

/// The environment, inputs, files of the repository and outputs of other steps that a step was made from.
fn of_step(manifest: &Manifest, step: &Step) -> Vec<Value> {
    let all: Vec<&Step> = manifest.steps().collect();
    let outputs = step.dependencies.iter().filter_map(|name| {
        let step = all.iter().find(|it| it.recipe == *name && it.target == step.target)?;
        Some(json!({
            "name": format!("recipe/{}@{}", step.recipe, step.target),
            "digest": { TREE: step.outputs.hex() },
            "annotations": { "action": step.action, "outputs": step.outputs },
        }))
    });
    let inputs: BTreeSet<&String> = step.inputs.iter().collect();
    environment(manifest, &step.environment)
        .into_iter()
        .chain(inputs.into_iter().filter_map(|name| Some(input(name, manifest.inputs.get(name)?))))
        .chain(outputs)
        .chain(step.made_from.iter().filter_map(|path| repository(manifest, path)))
        .collect()
}

fn environment(manifest: &Manifest, name: &str) -> Option<Value> {
    let facts = manifest.environments.get(name)?;
    Some(json!({
        "name": format!("environment/{name}"),
        "digest": { TREE: facts.tree.hex() },
        "annotations": { "lock": facts.lock, "nar": facts.nar, "tree": facts.tree },
    }))
}

fn input(name: &str, facts: &InputFacts) -> Value {
    let mut input = Map::new();
    input.insert("name".into(), format!("input/{name}").into());
    input.insert("digest".into(), json!({ "sha256": facts.sha256 }));
    Value::Object(input)
}

fn repository(manifest: &Manifest, path: &str) -> Option<Value> {
    let digest = manifest.repository.get(path)?;
    Some(json!({ "name": format!("repository/{path}"), "digest": { "sha256": digest.hex() } }))
}

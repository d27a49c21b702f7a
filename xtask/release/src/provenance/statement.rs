//! The statements: in-toto Statement 1 with the predicate of SLSA provenance 1, as canonical JSON.

use crate::{
    Artifact, File, InputFacts, Manifest, Model, PROGRAM, Step,
    bom::{purl, reference},
    manifest::canonical,
    oci::image_digest,
};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeSet;

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

/// The statement of a release: every file of it, what it is in a registry, and all that it was made from.
///
/// # Errors
/// If the manifest that it has in a registry can't be written.
pub fn of_release(manifest: &Manifest, json: &str) -> Result<Vec<u8>> {
    let mut subjects: Vec<_> = manifest.whole(json).values().map(subject).collect();
    // No file can have this name.
    let image = image_digest(manifest, json)?.hex();
    subjects.push(json!({ "name": format!("oci:{}", manifest.name), "digest": { "sha256": image } }));
    let environments = manifest.environments.keys().filter_map(|name| environment(manifest, name));
    let inputs = manifest.inputs.iter().map(|(name, facts)| input(name, facts));
    let repository = manifest.repository.keys().filter_map(|path| repository(manifest, path));
    let build = json!({
        "buildType": RELEASE,
        "externalParameters": { "release": manifest.name },
        "internalParameters": { "schema": manifest.schema },
        "resolvedDependencies": environments.chain(inputs).chain(repository).collect::<Vec<_>>(),
    });
    Ok(statement(manifest, &subjects, &build))
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
            "uri": urn("recipe", &format!("{}/{}", step.recipe, step.target)),
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
        "uri": urn("environment", name),
        "digest": { TREE: facts.tree.hex() },
        "annotations": { "lock": facts.lock, "nar": facts.nar, "tree": facts.tree },
    }))
}

fn input(name: &str, facts: &InputFacts) -> Value {
    json!({
        "name": format!("input/{name}"),
        "uri": purl(&facts.source).unwrap_or_else(|| urn("input", name)),
        "digest": { "sha256": facts.sha256 },
    })
}

fn repository(manifest: &Manifest, path: &str) -> Option<Value> {
    let digest = manifest.repository.get(path)?;
    Some(json!({
        "name": format!("repository/{path}"),
        "uri": urn("repository", path),
        "digest": { "sha256": digest.hex() },
    }))
}

/// The URI of something that has no package URL. It says nothing of where it is: the recipe side is in whichever clone is at hand.
fn urn(kind: &str, name: &str) -> String {
    format!("urn:mlc-repro:{kind}:{}", reference(name))
}

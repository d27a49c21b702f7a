//! Components: artifacts with what they contain, converted models, inputs and packages of environments.

use super::{
    hashes, license_text, properties,
    purl::{cargo, purl},
};
use crate::{Artifact, File, InputFacts, Manifest, Model, Part, parts::spdx_id};
use input::Source;
use serde_json::{Map, Value, json};

/// The reference of an artifact.
pub fn artifact_reference(artifact: &Artifact) -> String {
    format!("artifact:{}", artifact.title())
}

/// The reference of a part of an artifact.
pub fn part_reference(artifact: &Artifact, part: &Part) -> String {
    format!("part:{}/{}", artifact.title(), part.name)
}

/// The reference of a converted model.
pub fn model_reference(model: &Model) -> String {
    format!("model:{}", model.conversion.title())
}

/// The reference of an input.
pub fn input_reference(name: &str) -> String {
    format!("input:{name}")
}

/// An artifact: what it is, the parts whose licenses it carries, and every file.
pub fn artifact(artifact: &Artifact) -> Value {
    let texts: Vec<File> = artifact.licenses().collect();
    let below = format!("licenses/{}/", artifact.title());
    let of_part = |part: &str, text: &File| {
        text.path.strip_prefix(&below).and_then(|rest| rest.split_once('/')).map_or("", |(part, _)| part)
            == part
    };
    let parts = artifact.parts.iter().map(|part| {
        let references = texts.iter().filter(|text| of_part(&part.name, text)).map(license_text);
        json!({
            "bom-ref": part_reference(artifact, part),
            "type": "library",
            "name": part.name,
            "licenses": [{ "expression": part.license }],
            "externalReferences": references.collect::<Vec<_>>(),
        })
    });
    let files = artifact.files.iter().map(|it| file(&it.path, it));
    let mut facts = vec![
        ("recipe", artifact.step.recipe.clone()),
        ("target", artifact.step.target.clone()),
        ("archive", artifact.archive.path.clone()),
        ("size", artifact.archive.size.to_string()),
    ];
    facts.extend(artifact.sysroot.as_ref().map(|name| ("sysroot", name.clone())));
    facts.extend(artifact.policy.as_ref().map(|policy| ("policy", policy.name.clone())));
    facts.extend(artifact.cxx.map(|cxx| ("cxx", cxx.to_string())));
    let libraries = artifact.contains.iter().map(|(name, version)| ("contains", format!("{name} {version}")));
    facts.extend(libraries);
    facts.extend(artifact.needs.iter().map(|(name, version)| ("needs", format!("{name} {version}"))));
    let mut component = json!({
        "bom-ref": artifact_reference(artifact),
        "type": "library",
        "name": artifact.wheel().map_or_else(|| artifact.step.recipe.clone(), |wheel| wheel.distribution.replace('_', "-")),
        "version": artifact.version,
        "hashes": hashes(&artifact.archive.sha256),
        "licenses": [{ "expression": artifact.license }],
        "components": parts.chain(files).collect::<Vec<_>>(),
        "properties": properties(facts),
    });
    let own: Vec<Value> = texts.iter().filter(|text| of_part("", text)).map(license_text).collect();
    if let (Value::Object(map), false) = (&mut component, own.is_empty()) {
        map.insert("externalReferences".into(), own.into());
    }
    component
}

fn file(name: &str, file: &File) -> Value {
    json!({ "type": "file", "name": name, "hashes": hashes(&file.sha256) })
}

/// A converted model, with the model that it was made of.
pub fn model(model: &Model, manifest: &Manifest) -> Value {
    let conversion = &model.conversion;
    let mut ancestors: Vec<(String, String)> = Vec::new();
    for name in &model.inputs {
        if let Some(InputFacts { source, .. }) = manifest.inputs.get(name)
            && let (Source::HuggingFace { repository, .. }, Some(purl)) = (source, purl(source))
            && !ancestors.iter().any(|(_, known)| *known == purl)
        {
            ancestors.push((repository.clone(), purl));
        }
    }
    let ancestor = |(name, purl): (String, String)| json!({ "type": "machine-learning-model", "name": name, "purl": purl });
    let mut facts = vec![("quantization", conversion.quantization.clone())];
    let template = conversion.conversation_template.as_ref();
    facts.extend(template.map(|template| ("conversation-template", template.clone())));
    facts.extend(conversion.sizes.iter().map(|(name, size)| ("size", format!("{name} {size}"))));
    facts.extend([("action", model.action.to_string()), ("outputs", model.outputs.to_string())]);
    let texts: Vec<_> = model.licenses(&manifest.inputs).map(|text| license_text(&text)).collect();
    let mut component = json!({
        "bom-ref": model_reference(model),
        "type": "machine-learning-model",
        "name": conversion.title(),
        "licenses": [license(&model.license)],
        "modelCard": { "modelParameters": { "task": "text-generation", "modelArchitecture": model.architecture } },
        "pedigree": { "ancestors": ancestors.into_iter().map(ancestor).collect::<Vec<_>>() },
        "components": model.files.iter().map(|it| file(&it.path, it)).collect::<Vec<_>>(),
        "properties": properties(facts),
    });
    if let (Value::Object(map), false) = (&mut component, texts.is_empty()) {
        map.insert("externalReferences".into(), texts.into());
    }
    component
}

/// A license by what a model's card calls it: SPDX's identifier where it is one, else a name.
fn license(name: &str) -> Value {
    match spdx_id(name) {
        Some(id) => json!({ "license": { "id": id } }),
        None => json!({ "license": { "name": name } }),
    }
}

/// A locked input.
pub fn input(name: &str, facts: &InputFacts) -> Value {
    let mut component = source(name, facts);
    component.insert("bom-ref".into(), input_reference(name).into());
    let mut about = vec![("size", facts.size.to_string())];
    match &facts.source {
        Source::Pypi { file, .. } | Source::HuggingFace { file, .. } => about.push(("file", file.clone())),
        Source::DebianSource { pool, .. } => about.push(("file", pool.clone())),
        Source::Git { tree, .. } => about.push(("tree", tree.to_string())),
        _ => {}
    }
    component.insert("properties".into(), properties(about));
    if let Source::Cargo { crates } = &facts.source {
        let one = |one: &input::Crate| {
            json!({
                "type": "library",
                "name": one.name,
                "version": one.version,
                "purl": cargo(&one.name, &one.version),
                "hashes": hashes(&one.sha256),
            })
        };
        component.insert("components".into(), crates.iter().map(one).collect());
    }
    Value::Object(component)
}

/// A package of an environment. Environments share most of theirs, so these have no reference.
pub fn package(name: &str, facts: &InputFacts) -> Value {
    Value::Object(source(name, facts))
}

fn source(name: &str, facts: &InputFacts) -> Map<String, Value> {
    let (kind, package, version) = match &facts.source {
        Source::Pypi { package, version, .. }
        | Source::Debian { package, version, .. }
        | Source::DebianSource { package, version, .. }
        | Source::Crate { package, version }
        | Source::Npm { package, version } => ("library", package.as_str(), Some(version.as_str())),
        Source::Git { url, revision, .. } => ("library", url.as_str(), Some(revision.as_str())),
        Source::HuggingFace { file, revision, .. } => ("data", file.as_str(), Some(revision.as_str())),
        Source::Https { .. } | Source::Cargo { .. } | Source::MicrosoftSdk { .. } => ("library", name, None),
        Source::Path { .. } => ("data", name, None),
    };
    let mut component = Map::new();
    component.insert("type".into(), kind.into());
    component.insert("name".into(), package.into());
    component.extend(version.map(|version| ("version".into(), version.into())));
    component.insert("hashes".into(), hashes(&facts.sha256));
    component.extend(purl(&facts.source).map(|purl| ("purl".into(), purl.into())));
    component
}

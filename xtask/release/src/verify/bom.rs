//! The bill of materials: the one that follows from the manifest and the locks, and sound by itself.

use super::{Problems, read_text};
use crate::{
    Manifest,
    assemble::lock_digest,
    bom::{self, NAME, Packages},
    compare::values,
    parts::Table,
};
use builder::Project;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use store::Digest;

/// Values that differ and are shown.
const SHOWN: usize = 5;

/// Writes the bill again and compares. Packages of environments are those of the locks where the checkout has them; else
/// those of the bill itself are taken.
pub fn check(directory: &Path, manifest: &Manifest, project: Option<&Project>, problems: &mut Problems) {
    if let Some(project) = project {
        parts(manifest, project, problems);
    }
    // That the third schema has one is told by the check of the manifest.
    if manifest.bom.as_ref().is_none_or(|file| file.path != NAME) {
        return;
    }
    let text = match read_text(&directory.join(NAME)) {
        Ok(text) => text,
        // Told with the other files.
        Err(_) => return,
    };
    let bom: Value = match serde_json::from_str(&text) {
        Ok(bom) => bom,
        Err(error) => return problems.add(NAME, format!("is not a bill of materials: {error}")),
    };
    for problem in references(&bom) {
        problems.add(NAME, problem);
    }
    let packages = packages(&bom, manifest, project);
    for (environment, packages) in &packages {
        let strange = packages.iter().filter(|package| !is_package(package)).count();
        if strange > 0 {
            problems
                .add(NAME, format!("has {strange} packages of `{environment}` that are not written as such"));
        }
        let all: BTreeSet<String> = packages.iter().map(Value::to_string).collect();
        if all.len() < packages.len() {
            problems.add(NAME, format!("has a package of `{environment}` twice"));
        }
    }
    match bom::text(manifest, &packages) {
        Ok(expected) if expected == text => {}
        Ok(expected) => {
            let expected: Value = serde_json::from_str(&expected).unwrap_or_default();
            problems.add(NAME, differences(&expected, &bom));
        }
        Err(error) => problems.add(NAME, format!("{error:#}")),
    }
}

/// Whether a component could be one that this program writes of a package: without a checkout, that is all that can be said of it.
fn is_package(package: &Value) -> bool {
    let Some(map) = package.as_object() else { return false };
    let text = |key: &str| map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let hash = match map.get("hashes").and_then(Value::as_array).map(Vec::as_slice) {
        Some([hash]) => hash["content"].as_str().filter(|hex| Digest::from_hex(hex, 0).is_ok()),
        _ => None,
    };
    let known = ["type", "name", "version", "hashes", "purl"];
    map.keys().all(|key| known.contains(&key.as_str()))
        && matches!(text("type"), Some("library" | "data"))
        && text("name").is_some()
        && hash.is_some_and(|hex| map.get("hashes") == Some(&bom::hashes(hex)))
        && map.contains_key("version") == text("version").is_some()
        && map.contains_key("purl") == text("purl").is_some_and(|purl| purl.starts_with("pkg:"))
}

fn packages(bom: &Value, manifest: &Manifest, project: Option<&Project>) -> Packages {
    let mut packages = bom::packages_of(bom);
    let Some(project) = project else { return packages };
    if let Ok(locked) = bom::packages(manifest, project) {
        for (name, locked) in locked {
            // A lock that is another one is told elsewhere, once.
            let facts = manifest.environments.get(&name);
            if facts.is_some_and(|facts| lock_digest(&project.root, &name).is_ok_and(|it| it == facts.lock)) {
                packages.insert(name, locked);
            }
        }
    }
    packages
}

fn differences(expected: &Value, found: &Value) -> String {
    let mut lines = Vec::new();
    values(String::new(), expected, found, &mut lines);
    // The serial number differs whenever anything else does.
    lines.retain(|line| !line.starts_with("\n    /serialNumber\n") || expected == found);
    if lines.is_empty() {
        return "is not written canonically, or has another serial number".to_owned();
    }
    let rest = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if rest > 0 {
        lines.push(format!("\n    and {rest} more"));
    }
    format!("is not the bill of materials of this release:{}", lines.concat())
}

/// The parts are those of this checkout's table.
fn parts(manifest: &Manifest, project: &Project, problems: &mut Problems) {
    if manifest.schema != crate::SCHEMA {
        return;
    }
    let table = match Table::load(&project.root) {
        Ok(table) => table,
        Err(error) => return problems.manifest(format!("{error:#}")),
    };
    for artifact in &manifest.artifacts {
        match table.parts(artifact, manifest) {
            Ok(parts) => {
                let known: BTreeMap<_, _> = parts.iter().map(|part| (&part.name, part)).collect();
                let other =
                    artifact.parts.iter().filter(|part| known.get(&part.name).is_some_and(|it| it != part));
                for part in other {
                    problems.manifest(format!(
                        "`{}` has the part `{}` with the license `{}` and the input `{}`, and {} says otherwise",
                        artifact.title(),
                        part.name,
                        part.license,
                        part.input.as_deref().unwrap_or("none"),
                        crate::parts::TABLE
                    ));
                }
            }
            Err(error) => problems.manifest(format!("{error:#}")),
        }
    }
}

/// What validators of CycloneDX don't see: a `bom-ref` that stands there twice, and references to nowhere.
pub fn references(bom: &Value) -> Vec<String> {
    let (mut known, mut used, mut problems) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    // What a stranger nests has no depth that recursion could trust; the parser of JSON has a limit of its own as well.
    let mut open = vec![("", bom)];
    while let Some((key, value)) = open.pop() {
        match value {
            Value::Object(map) => open.extend(map.iter().map(|(key, value)| (key.as_str(), value))),
            Value::Array(list) => open.extend(list.iter().map(|value| (key, value))),
            Value::String(text) if key == "bom-ref" && !known.insert(text.as_str()) => {
                problems.push(format!("has the bom-ref `{text}` twice"));
            }
            Value::String(text) if matches!(key, "ref" | "dependsOn" | "provides" | "assemblies") => {
                used.insert(text.as_str());
            }
            _ => {}
        }
    }
    problems.extend(used.difference(&known).map(|text| format!("refers to `{text}`, which is not in it")));
    problems.sort();
    problems
}

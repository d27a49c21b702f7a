//! `bom.cdx.json`: the bill of materials of a release, as CycloneDX 1.6 in JSON.
//!
//! It says nothing that `release.json` and the locks of the environments do not say, so it can be written again from
//! them, and [`crate::verify`] does. No time stands in it, and its serial number is made of its content.

mod component;
mod formulation;
mod purl;

use crate::{
    File, InputFacts, Manifest,
    manifest::{PROGRAM, canonical},
};
use anyhow::{Context, Result};
use builder::Project;
use input::Lock;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use store::Digest;

pub use purl::{purl, reference};

/// Its name in the release directory: what CycloneDX recommends, so that tools recognise it.
pub const NAME: &str = "bom.cdx.json";

/// What environments are made of: by the environment's name, the components of its packages.
pub type Packages = BTreeMap<String, Vec<Value>>;

/// The packages of a manifest's environments, from the locks of a checkout. Errors: a lock can't be read.
pub fn packages(manifest: &Manifest, project: &Project) -> Result<Packages> {
    let mut packages = Packages::new();
    for name in manifest.environments.keys() {
        let lock = Lock::load(&project.root.join("containers").join(format!("{name}.lock")))?;
        let components = lock.inputs.iter().map(|input| {
            let facts = InputFacts {
                source: input.source.clone(),
                sha256: input.digest.hex(),
                size: input.digest.size,
            };
            component::package(&input.name, &facts)
        });
        packages.insert(name.clone(), components.collect());
    }
    Ok(packages)
}

/// The packages that a bill of materials names: what it is compared with where there is no checkout.
pub fn packages_of(bom: &Value) -> Packages {
    let formulas = bom.get("formulation").and_then(Value::as_array).into_iter().flatten();
    let named = formulas.filter_map(|formula| {
        let name = formula.get("bom-ref")?.as_str()?.strip_prefix("environment:")?;
        let components = formula.get("components").and_then(Value::as_array);
        Some((name.to_owned(), components.cloned().unwrap_or_default()))
    });
    named.collect()
}

/// The text. Errors: a manifest that can't be written.
pub fn text(manifest: &Manifest, packages: &Packages) -> Result<String> {
    let mut bom = Map::new();
    let mut put = |key: &str, value: Value| bom.insert(key.to_owned(), value);
    put("bomFormat", "CycloneDX".into());
    put("specVersion", "1.6".into());
    put("version", 1.into());
    put("metadata", metadata(manifest));
    let artifacts = manifest.artifacts.iter().map(component::artifact);
    let models = manifest.models.iter().map(|model| component::model(model, manifest));
    let inputs = manifest.inputs.iter().map(|(name, facts)| component::input(name, facts));
    put("components", artifacts.chain(models).chain(inputs).collect());
    put("dependencies", dependencies(manifest));
    put("compositions", compositions(manifest));
    put("formulation", formulation::all(manifest, packages));
    let mut bom = Value::Object(bom);
    let serial = serial_of(&bom);
    bom["serialNumber"] = serial.into();
    let text = serde_json::to_string_pretty(&canonical(bom)).context("cannot write the bill of materials")?;
    Ok(text + "\n")
}

/// The serial number of a bill: a UUID of version 8 (RFC 9562, section 5.8), the beginning of a SHA-256 of all the rest.
pub(crate) fn serial_of(bom: &Value) -> String {
    let mut bom = bom.clone();
    if let Value::Object(map) = &mut bom {
        map.remove("serialNumber");
    }
    let digest = Digest::of(canonical(bom).to_string().as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.sha256[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn metadata(manifest: &Manifest) -> Value {
    let (name, version) = PROGRAM.split_once(' ').unwrap_or((PROGRAM, ""));
    let program = manifest.program.as_deref().and_then(|program| program.split_once(' '));
    let (name, version) = program.unwrap_or((name, version));
    json!({
        "component": { "bom-ref": RELEASE, "type": "library", "name": manifest.name },
        "tools": { "components": [{ "type": "application", "name": name, "version": version }] },
    })
}

/// The reference of the release itself.
const RELEASE: &str = "release";

/// What is in what, and what is made of what: every reference has an entry, those without dependencies too.
fn dependencies(manifest: &Manifest) -> Value {
    let mut graph: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let artifacts = manifest.artifacts.iter().map(component::artifact_reference);
    let models = manifest.models.iter().map(component::model_reference);
    graph.insert(RELEASE.to_owned(), artifacts.chain(models).collect());
    for name in manifest.inputs.keys() {
        graph.insert(component::input_reference(name), Vec::new());
    }
    for artifact in &manifest.artifacts {
        let mut needed: Vec<String> =
            artifact.step.inputs.iter().map(|name| component::input_reference(name)).collect();
        for part in &artifact.parts {
            let reference = component::part_reference(artifact, part);
            let made_of = part.input.iter().map(|name| component::input_reference(name));
            graph.insert(reference.clone(), made_of.collect());
            needed.push(reference);
        }
        let beside = manifest.artifacts.iter().filter(|other| {
            other.step.target == artifact.step.target && artifact.needs.contains_key(&other.step.recipe)
        });
        needed.extend(beside.map(component::artifact_reference));
        graph.insert(component::artifact_reference(artifact), needed);
    }
    for model in &manifest.models {
        let inputs = model.inputs.iter().map(|name| component::input_reference(name));
        graph.insert(component::model_reference(model), inputs.collect());
    }
    let known: Vec<String> = graph.keys().cloned().collect();
    let entry = |(reference, mut needed): (String, Vec<String>)| {
        // A manifest that names what it does not describe is told so elsewhere; a bill that does is none.
        needed.retain(|one| known.binary_search(one).is_ok());
        needed.sort();
        needed.dedup();
        match needed.is_empty() {
            true => json!({ "ref": reference }),
            false => json!({ "ref": reference, "dependsOn": needed }),
        }
    };
    graph.into_iter().map(entry).collect()
}

/// Whether the list is whole: what a partial release lacks is lacking here too.
fn compositions(manifest: &Manifest) -> Value {
    let aggregate = if manifest.missing.is_empty() { "complete" } else { "incomplete" };
    json!([{ "aggregate": aggregate, "assemblies": [RELEASE] }])
}

/// A list of properties in this project's name space.
fn properties<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Value {
    let pair = |(name, value): (&str, String)| json!({ "name": format!("mlc-repro:{name}"), "value": value });
    pairs.into_iter().map(pair).collect()
}

/// A file's hash, as CycloneDX lists it.
pub(crate) fn hashes(sha256: &str) -> Value {
    json!([{ "alg": "SHA-256", "content": sha256 }])
}

/// A license text that stands in the release directory.
fn license_text(file: &File) -> Value {
    json!({ "type": "license", "url": purl::reference(&file.path), "hashes": hashes(&file.sha256) })
}

/// Makes the bill of a release directory fit a manifest that was changed, as a forger would.
#[cfg(test)]
pub(crate) fn refresh(directory: &std::path::Path, manifest: &mut Manifest) {
    if manifest.bom.is_some() {
        let old = std::fs::read(directory.join(NAME)).unwrap();
        let text = text(manifest, &packages_of(&serde_json::from_slice(&old).unwrap())).unwrap();
        manifest.bom = Some(File::new(NAME, &Digest::of(text.as_bytes())));
        std::fs::write(directory.join(NAME), text).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, example, verify::bom::references};

    /// The bill of a release of the example, whose first artifact contains something of others.
    fn bom(name: &str) -> Value {
        let (directory, store, mut manifest) = example::release_of(name);
        let project = Project::load(&directory.path().join("project")).unwrap();
        let packages = packages(&manifest, &project).unwrap();
        let digest = manifest.bom.as_ref().unwrap().digest().unwrap();
        let written = String::from_utf8(store.read(&digest).unwrap()).unwrap();
        assert_eq!(
            written,
            text(&manifest, &packages).unwrap(),
            "it follows from the manifest and the locks"
        );
        let artifact = &mut manifest.artifacts[0];
        let input = artifact.step.inputs.first().cloned();
        artifact.parts.push(Part { name: "greeting".into(), license: "BSD-3-Clause".into(), input });
        artifact.files.push(File::new("licenses/greeting/LICENSE", &Digest::of(b"text")));
        serde_json::from_str(&text(&manifest, &packages).unwrap()).unwrap()
    }

    #[test]
    fn every_artifact_part_input_and_package_is_in_it() {
        let bom = bom("test");
        let components = bom["components"].as_array().unwrap();
        let names: Vec<_> = components.iter().map(|it| it["bom-ref"].as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "artifact:hello-1.0-x86_64-pc-windows-msvc",
                "artifact:hello-1.0-x86_64-unknown-linux-gnu",
                "input:hello-source",
            ]
        );
        let part = &components[0]["components"][0];
        assert_eq!(
            (&part["name"], &part["licenses"][0]["expression"]),
            (&json!("greeting"), &json!("BSD-3-Clause"))
        );
        assert_eq!(
            part["externalReferences"][0]["url"],
            "licenses/hello-1.0-x86_64-pc-windows-msvc/greeting/LICENSE"
        );
        assert_eq!(components[2]["purl"], "pkg:cargo/hello@1.0");
        let linux =
            bom["formulation"].as_array().unwrap().iter().find(|it| it["bom-ref"] == "environment:linux");
        assert_eq!(linux.unwrap()["components"][0]["purl"], "pkg:deb/debian/gcc@14?arch=amd64");
        assert_eq!(bom["serialNumber"].as_str().unwrap().len(), 45);
    }

    #[test]
    fn references_lead_somewhere_and_are_unique() {
        for name in ["test", "packed"] {
            assert_eq!(references(&bom(name)), Vec::<String>::new(), "{name}");
        }
        let lost = json!({ "components": [{ "bom-ref": "a" }, { "bom-ref": "a" }], "dependencies": [{ "ref": "b" }] });
        assert_eq!(references(&lost), ["has the bom-ref `a` twice", "refers to `b`, which is not in it"]);
    }
}

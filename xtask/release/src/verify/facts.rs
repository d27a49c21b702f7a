//! Facts of a manifest that can't be so, whatever a build did: nothing is made from itself or made for nothing, one content has one
//! size, one tree one Nix hash, and a link leads nowhere outside by way of other links.

use super::Problems;
use crate::{
    Artifact, File, Manifest, SCHEMA, Step,
    names::{printable, why_unsafe},
    parts::is_expression,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use store::Digest;

/// The most links that one link may lead over: what Linux follows.
const MOST_LINKS: usize = 40;

/// Everything of that kind.
pub fn check(manifest: &Manifest, problems: &mut Problems) {
    graph(manifest, problems);
    sizes(manifest, problems);
    environments(manifest, problems);
    models(manifest, problems);
    texts(manifest, problems);
    for artifact in &manifest.artifacts {
        links(artifact, problems);
        let license = artifact.license.trim();
        if manifest.schema == SCHEMA && !license.is_empty() && !is_expression(license) {
            problems.manifest(format!(
                "`{}` has the license `{license}`, which is not an SPDX expression",
                artifact.title()
            ));
        }
    }
}

fn name(step: &Step) -> String {
    format!("{}@{}", step.recipe, step.target)
}

/// The steps that a step needs, itself among them when it needs itself.
fn needed<'a>(step: &Step, by_name: &BTreeMap<(&str, &str), &'a Step>) -> BTreeMap<String, &'a Step> {
    let mut found = BTreeMap::new();
    let below = |step: &Step| -> Vec<&'a Step> {
        let key = |name: &'_ String| by_name.get(&(name.as_str(), step.target.as_str())).copied();
        step.dependencies.iter().filter_map(key).collect()
    };
    let mut open = below(step);
    while let Some(step) = open.pop() {
        if found.insert(name(step), step).is_none() {
            open.extend(below(step));
        }
    }
    found
}

/// No step needs itself or names something twice, and what is not shipped is needed.
fn graph(manifest: &Manifest, problems: &mut Problems) {
    let by_name: BTreeMap<_, _> =
        manifest.steps().map(|step| ((step.recipe.as_str(), step.target.as_str()), step)).collect();
    let twice = |list: &[String]| {
        let mut seen = BTreeSet::new();
        list.iter().find(|one| !seen.insert(*one)).cloned()
    };
    for step in manifest.steps() {
        if needed(step, &by_name).contains_key(&name(step)) {
            problems.manifest(format!("{} depends on itself", name(step)));
        }
        for one in [twice(&step.inputs), twice(&step.dependencies)].into_iter().flatten() {
            problems.manifest(format!("{} names `{one}` twice", name(step)));
        }
    }
    for model in &manifest.models {
        if let Some(one) = twice(&model.inputs) {
            problems.manifest(format!("the model `{}` names `{one}` twice", model.conversion.title()));
        }
    }
    // What a partial release was built for may be what it lacks.
    if manifest.missing.is_empty() {
        let ends = manifest.artifacts.iter().map(|artifact| &artifact.step).chain(&manifest.checks);
        let used: BTreeSet<String> = ends.flat_map(|step| needed(step, &by_name).into_keys()).collect();
        for step in manifest.intermediates.iter().filter(|step| !used.contains(&name(step))) {
            problems.manifest(format!("has the intermediate {}, which nothing was made from", name(step)));
        }
    }
    for missing in &manifest.missing {
        if !missing.waits_for.is_sorted_by(|a, b| a < b) {
            problems
                .manifest(format!("says that {} is missing for reasons that are not sorted", missing.wanted));
        }
    }
}

/// One content has one size.
fn sizes(manifest: &Manifest, problems: &mut Problems) {
    let inputs = manifest.inputs.iter().filter_map(|(name, facts)| {
        Some((format!("input `{name}`"), Digest::from_hex(&facts.sha256, facts.size).ok()?))
    });
    let file = |file: &File| Some((format!("`{}`", file.path), file.digest().ok()?));
    let packed =
        manifest.artifacts.iter().flat_map(|artifact| artifact.files.iter().chain(&artifact.packed_from));
    let empty = Digest::of(b"");
    let mut known: BTreeMap<[u8; 32], (String, u64)> = BTreeMap::new();
    for (whose, digest) in inputs.chain(manifest.files().chain(packed).filter_map(file)) {
        if digest.sha256 == [0; 32] || (digest.size == 0) != (digest.sha256 == empty.sha256) {
            problems.manifest(format!("{whose} has the digest {digest}, which nothing has"));
        }
        let (other, size) = known.entry(digest.sha256).or_insert_with(|| (whose.clone(), digest.size));
        if *size != digest.size {
            problems.manifest(format!(
                "{whose} has the SHA-256 of {other}, and {} bytes where that has {size}",
                digest.size
            ));
        }
    }
}

/// Both hashes of an environment are of one tree.
fn environments(manifest: &Manifest, problems: &mut Problems) {
    for (name, facts) in &manifest.environments {
        let before = manifest.environments.iter().take_while(|(other, _)| *other != name);
        for (other, there) in before {
            if (facts.tree == there.tree) != (facts.nar == there.nar) {
                problems.manifest(format!(
                    "the environments `{other}` and `{name}` have one tree by one of their hashes, and two by the other"
                ));
            }
        }
    }
}

/// A model has files, a license, and is made from something by an action of its own.
fn models(manifest: &Manifest, problems: &mut Problems) {
    let mut actions: BTreeMap<Digest, (String, Digest)> =
        manifest.steps().map(|step| (step.action, (name(step), step.outputs))).collect();
    for model in &manifest.models {
        let title = model.conversion.title();
        for (what, is_none) in [
            ("files", model.files.is_empty()),
            ("inputs", model.inputs.is_empty()),
            ("license", model.license.trim().is_empty()),
            ("architecture", model.architecture.trim().is_empty()),
        ] {
            if is_none {
                problems.manifest(format!("the model `{title}` has no {what}"));
            }
        }
        let this = (format!("the model `{title}`"), model.outputs);
        if let Some((other, outputs)) = actions.insert(model.action, this)
            && outputs != model.outputs
        {
            problems.manifest(format!("{other} and the model `{title}` can't have the same action"));
        }
    }
}

/// Whatever a manifest says is shown as it is: nothing in it moves a cursor, turns a line around or is invisible.
fn texts(manifest: &Manifest, problems: &mut Problems) {
    let mut open = vec![serde_json::to_value(manifest).unwrap_or_default()];
    let mut seen = BTreeSet::new();
    let mut look = |text: String, problems: &mut Problems| {
        // What is wrong in a path is told with the path.
        if (printable(&text) != text || text.contains('\n')) && seen.insert(text.clone()) {
            problems.manifest(format!("has the text `{text}`, which is not shown as it is written"));
        }
    };
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => map.into_iter().for_each(|(key, value)| {
                look(key, problems);
                open.push(value);
            }),
            Value::Array(list) => open.extend(list),
            Value::String(text) => look(text, problems),
            _ => {}
        }
    }
}

/// No link leads out of the archive by way of others, or in a circle. (What a link says by itself is looked at elsewhere.)
fn links(artifact: &Artifact, problems: &mut Problems) {
    for (path, target) in &artifact.links {
        let parts = target.split('/').filter(|part| !matches!(*part, "" | "." | ".."));
        if let Some(why) = parts.filter_map(why_unsafe).next() {
            problems.manifest(format!(
                "`{}` has the link `{path}` to `{target}`, which is not a safe path: {why}",
                artifact.title()
            ));
        }
        let mut place: Vec<&str> = path.split('/').collect();
        place.pop();
        let mut open: Vec<&str> = target.split('/').rev().collect();
        let mut followed = 1;
        let why = loop {
            let Some(part) = open.pop() else { break None };
            match part {
                "" | "." => {}
                ".." if place.pop().is_none() => break Some("leads out of it by way of other links"),
                ".." => {}
                part => {
                    place.push(part);
                    if let Some(target) = artifact.links.get(&place.join("/")) {
                        followed += 1;
                        if followed > MOST_LINKS {
                            break Some("leads in a circle");
                        }
                        place.pop();
                        open.extend(target.split('/').rev());
                    }
                }
            }
        };
        if let Some(why) = why {
            problems.manifest(format!("`{}` has the link `{path}`, which {why}", artifact.title()));
        }
    }
}

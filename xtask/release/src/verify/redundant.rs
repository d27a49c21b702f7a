//! What a manifest says twice: everything in it that follows from something else in it is computed again.

use super::{Problems, packed};
use crate::{
    Artifact, FIRST_SCHEMA, File, Manifest, PROGRAM, SCHEMA, Step, Wanted, bom, names::why_unsafe, parts,
    process, verifier,
};
use std::collections::{BTreeMap, BTreeSet};
use store::{Digest, Entry, Tree};

/// Everything that a manifest can be asked twice.
pub fn check(manifest: &Manifest, problems: &mut Problems) {
    let is_first = manifest.schema == FIRST_SCHEMA;
    for artifact in &manifest.artifacts {
        outputs(artifact, is_first, problems);
        checked_by(artifact, manifest, problems);
        if artifact.license.trim().is_empty() {
            problems.manifest(format!("`{}` has no license expression", artifact.title()));
        }
    }
    for file in manifest.files().filter(|file| file.executable) {
        // In the directory no mode is kept.
        problems.manifest(format!("says that `{}` is executable, and no file of a release is", file.path));
    }
    digests(manifest, problems);
    for (name, facts) in &manifest.environments {
        if !is_nar_hash(&facts.nar) {
            problems.manifest(format!(
                "the environment `{name}` has the Nix hash `{}`, which is not a SHA-256 in SRI form",
                facts.nar
            ));
        }
    }
    results(manifest, problems);
    missing(manifest, problems);
    for conflict in process::conflicts(&manifest.artifacts) {
        problems.manifest(format!("has artifacts that can't share a process: {conflict}"));
    }
    match is_first {
        true => first_schema(manifest, problems),
        false => second_schema(manifest, problems),
    }
    match manifest.schema == SCHEMA {
        true => third_schema(manifest, problems),
        false if manifest.bom.is_some() || manifest.artifacts.iter().any(|it| !it.parts.is_empty()) => {
            problems.manifest(format!("has the schema `{}`, and fields that came later", manifest.schema));
        }
        false => {}
    }
}

/// There is a bill of materials, and each artifact's parts are the directories of its license texts.
fn third_schema(manifest: &Manifest, problems: &mut Problems) {
    if manifest.bom.as_ref().is_none_or(|file| file.path != bom::NAME) {
        problems.manifest(format!("does not name `{}`", bom::NAME));
    }
    for artifact in &manifest.artifacts {
        let title = artifact.title();
        let (named, there) = (artifact.parts.iter().map(|part| &part.name), parts::names(artifact));
        if !named.eq(&there) {
            let named: Vec<_> = artifact.parts.iter().map(|part| part.name.as_str()).collect();
            problems.manifest(format!("`{title}` has the parts {named:?}, and license texts of {there:?}"));
        }
        if parts::license(&artifact.license, artifact).is_ok_and(|whole| whole != artifact.license) {
            problems.manifest(format!(
                "`{title}` has the license `{}`, which does not name those of all its parts",
                artifact.license
            ));
        }
        for part in &artifact.parts {
            if !parts::is_expression(&part.license) {
                problems.manifest(format!(
                    "`{title}` has the part `{}` with the license `{}`, which is not an SPDX expression",
                    part.name, part.license
                ));
            }
            if part.input.as_ref().is_some_and(|name| !manifest.inputs.contains_key(name)) {
                problems.manifest(format!(
                    "`{title}` has the part `{}` out of `{}`, which is not an input of the release",
                    part.name,
                    part.input.as_deref().unwrap_or_default()
                ));
            }
        }
    }
}

/// `outputs` is the tree of the files that the archive was made of.
fn outputs(artifact: &Artifact, is_first: bool, problems: &mut Problems) {
    let title = artifact.title();
    let is_packed = artifact.wheel().is_some() || packed::aar(artifact).is_some();
    let (files, links, what) = match (is_packed, artifact.packed_from.is_empty()) {
        // The first schema does not say what was packed.
        (true, true) if is_first => return,
        (true, true) => {
            return problems.manifest(format!("`{title}` does not say what it was packed from"));
        }
        (true, false) => (&artifact.packed_from, &BTreeMap::new(), "what it was packed from is"),
        (false, true) => (&artifact.files, &artifact.links, "its files and links are"),
        (false, false) => {
            return problems
                .manifest(format!("`{title}` is neither a wheel nor an AAR, so it was not packed"));
        }
    };
    if !files.is_sorted_by(|a, b| a.path < b.path) {
        problems.manifest(format!("`{title}` has outputs that are not sorted by path"));
    }
    match tree(files, links) {
        Ok(root) if root == artifact.step.outputs => {}
        Ok(root) => problems.manifest(format!(
            "`{title}` has the outputs {}, and {what} the tree {root}",
            artifact.step.outputs
        )),
        Err(error) => problems.manifest(format!("`{title}` can't have such outputs: {error:#}")),
    }
}

fn tree(files: &[File], links: &BTreeMap<String, String>) -> anyhow::Result<Digest> {
    let mut tree = Tree::new();
    for file in files {
        tree.insert(&file.path, Entry::File { digest: file.digest()?, executable: file.executable })?;
    }
    for (path, target) in links {
        tree.insert(path, Entry::Symlink { target: target.clone() })?;
    }
    tree.digest()
}

/// The checks of the same target that depend on an artifact, in their order.
fn checked_by(artifact: &Artifact, manifest: &Manifest, problems: &mut Problems) {
    let target = &artifact.step.target;
    let steps: BTreeMap<&str, &Step> = manifest
        .steps()
        .filter(|step| step.target == *target)
        .map(|step| (step.recipe.as_str(), step))
        .collect();
    let needs = |check: &Step| {
        let mut open: Vec<&str> = vec![&check.recipe];
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            if name == artifact.step.recipe {
                return true;
            }
            if let (true, Some(step)) = (seen.insert(name), steps.get(name)) {
                open.extend(step.dependencies.iter().map(String::as_str));
            }
        }
        false
    };
    let checks = manifest.checks.iter().filter(|check| check.target == *target && needs(check));
    let expected: Vec<&str> = checks.map(|check| check.recipe.as_str()).collect();
    if expected != artifact.checked_by {
        problems.manifest(format!(
            "`{}` is said to be checked by {:?}, and the checks that ran it are {expected:?}",
            artifact.title(),
            artifact.checked_by
        ));
    }
}

/// Digests are those of something: nothing has a hash of zeros.
fn digests(manifest: &Manifest, problems: &mut Problems) {
    let steps = manifest.steps().flat_map(|step| {
        let whose = format!("{}@{}", step.recipe, step.target);
        [(format!("the action of {whose}"), step.action), (format!("the outputs of {whose}"), step.outputs)]
    });
    let environments = manifest.environments.iter().flat_map(|(name, facts)| {
        [(format!("the tree of `{name}`"), facts.tree), (format!("the lock of `{name}`"), facts.lock)]
    });
    let models = manifest.models.iter().flat_map(|model| {
        let title = model.conversion.title();
        [
            (format!("the action of `{title}`"), model.action),
            (format!("the outputs of `{title}`"), model.outputs),
        ]
    });
    let policies = manifest.artifacts.iter().filter_map(|artifact| {
        Some((format!("the policy of `{}`", artifact.title()), artifact.policy.as_ref()?.text))
    });
    let repository = manifest.repository.iter().map(|(path, digest)| (format!("`{path}`"), *digest));
    let empty = Digest::of(b"");
    for (whose, digest) in steps.chain(environments).chain(models).chain(policies).chain(repository) {
        if digest.sha256 == [0; 32] || (digest.size == 0) != (digest.sha256 == empty.sha256) {
            problems.manifest(format!("{whose} has the digest {digest}, which nothing has"));
        }
    }
}

/// A SHA-256 in SRI form: `sha256-`, and 32 bytes in base64.
fn is_nar_hash(text: &str) -> bool {
    let Some(base64) = text.strip_prefix("sha256-") else { return false };
    let Some(digits) = base64.strip_suffix('=') else { return false };
    digits.len() == 43
        && digits.chars().all(|c| c.is_ascii_alphanumeric() || "+/".contains(c))
        // 43 digits are 258 bits: the last two are no part of the hash.
        && digits.ends_with(|c| "AEIMQUYcgkosw048".contains(c))
        && digits.chars().any(|c| c != 'A')
}

/// One action has one result.
fn results(manifest: &Manifest, problems: &mut Problems) {
    let mut seen: BTreeMap<Digest, &Step> = BTreeMap::new();
    for step in manifest.steps() {
        // Two recipes with the same script and sources are one action, and have one result; the target is a part of it.
        if let Some(other) = seen.insert(step.action, step)
            && (other.outputs != step.outputs || other.target != step.target)
        {
            problems.manifest(format!(
                "{}@{} and {}@{} can't have the same action",
                other.recipe, other.target, step.recipe, step.target
            ));
        }
        if step.imported.as_ref().is_some_and(|from| why_unsafe(from).is_some() || from.contains('/')) {
            problems.manifest(format!(
                "{}@{} was imported from nobody that has a name",
                step.recipe, step.target
            ));
        }
    }
}

/// What is missing is not there, and waits for something.
fn missing(manifest: &Manifest, problems: &mut Problems) {
    for missing in &manifest.missing {
        let is_there = match &missing.wanted {
            Wanted::Step(node) => {
                manifest.steps().any(|it| *it.recipe == *node.recipe && *it.target == *node.target)
            }
            Wanted::Model { model } => manifest.models.iter().any(|it| it.conversion.title() == *model),
        };
        if is_there {
            problems.manifest(format!("says that {} is missing, and has it", missing.wanted));
        }
        if missing.waits_for.is_empty() {
            problems.manifest(format!("says that {} is missing, and not why", missing.wanted));
        }
    }
}

fn first_schema(manifest: &Manifest, problems: &mut Problems) {
    let has_more = manifest.program.is_some()
        || !manifest.repository.is_empty()
        || manifest.verifier.is_some()
        || manifest.steps().any(|step| !step.made_from.is_empty() || step.imported.is_some())
        || manifest.artifacts.iter().any(|it| {
            !it.packed_from.is_empty() || it.cxx.is_some() || !it.contains.is_empty() || !it.needs.is_empty()
        });
    if has_more {
        problems.manifest(format!("has the schema `{FIRST_SCHEMA}`, and fields that came later"));
    }
}

fn second_schema(manifest: &Manifest, problems: &mut Problems) {
    let is_version = |text: &str| {
        text.split('.').count() == 3
            && text.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
    };
    let name = PROGRAM.split(' ').next().unwrap_or_default();
    match manifest.program.as_ref().map(|program| program.split_once(' ')) {
        Some(Some((program, version))) if program == name && is_version(version) => {}
        _ => problems.manifest(format!("does not say which version of {name} wrote it")),
    }
    if manifest.verifier.as_ref().is_none_or(|file| file.path != verifier::NAME) {
        problems.manifest(format!("does not name `{}`", verifier::NAME));
    }
    repository(manifest, problems);
}

/// Every file of the repository is one that something was made from, and what certainly is made from it is there.
fn repository(manifest: &Manifest, problems: &mut Problems) {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let policies: BTreeMap<_, _> = manifest
        .artifacts
        .iter()
        .filter_map(|it| Some(((&it.step.recipe, &it.step.target), it.policy.as_ref()?.name.as_str())))
        .collect();
    for step in manifest.steps() {
        let whose = format!("{}@{}", step.recipe, step.target);
        used.extend(step.made_from.iter().map(String::as_str));
        if !step.made_from.is_sorted_by(|a, b| a < b) {
            problems.manifest(format!("{whose} has files in `made_from` that are not sorted"));
        }
        let policy = policies.get(&(&step.recipe, &step.target));
        let policy = policy.map(|name| format!("recipes/policies/{name}.toml"));
        let is_recipe = |path: &String| {
            let inside = path.strip_prefix("recipes/").and_then(|path| path.strip_suffix(".toml"));
            inside.is_some_and(|path| !path.starts_with("lib/") && !path.starts_with("policies/"))
        };
        if !step.made_from.iter().any(is_recipe) {
            problems.manifest(format!("{whose} is not said to be made from a recipe"));
        }
        let certain = [format!("containers/{}.toml", step.environment)];
        for path in certain.iter().chain(&policy).filter(|path| !step.made_from.contains(path)) {
            problems.manifest(format!("{whose} is not said to be made from `{path}`"));
        }
    }
    let own = format!("releases/{}.toml", manifest.name);
    let models: BTreeSet<_> =
        manifest.models.iter().map(|model| format!("models/{}.toml", model.conversion.name)).collect();
    for path in models.iter().chain([&own]).filter(|path| !manifest.repository.contains_key(*path)) {
        problems.manifest(format!("`repository` lacks `{path}`"));
    }
    for path in used.iter().filter(|path| !manifest.repository.contains_key(**path)) {
        problems.manifest(format!("`repository` lacks `{path}`, which a step was made from"));
    }
    for path in manifest.repository.keys() {
        if !used.contains(path.as_str()) && !models.contains(path) && !path.starts_with("releases/") {
            problems.manifest(format!("`repository` has `{path}`, which nothing was made from"));
        }
    }
    checkout_paths(manifest.repository.keys().map(String::as_str), problems);
}

/// Paths of a checkout are safe to look at. They are not a release's files, which anybody unpacks anywhere: `windows.h` and
/// `Windows.h` stand beside one another in the sysroot.
fn checkout_paths<'a>(paths: impl Iterator<Item = &'a str>, problems: &mut Problems) {
    for path in paths {
        super::consistency::safe_path(path, "`repository` ", problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_checkout_may_differ_in_the_case_of_letters() {
        let mut problems = Problems(Vec::new());
        checkout_paths(["sysroot/Windows.h", "sysroot/windows.h"].into_iter(), &mut problems);
        assert!(problems.0.is_empty(), "{:?}", problems.0);
        checkout_paths(["../outside", "sysroot/aux.h"].into_iter(), &mut problems);
        assert_eq!(problems.0.len(), 2, "{:?}", problems.0);
    }

    #[test]
    fn nix_hashes_have_one_form() {
        assert!(is_nar_hash("sha256-j6VNfGtzTJWh6OrhnxD9L7AMm5IRLCs87zt/XTvFxgU="));
        for text in [
            "",
            "sha256-",
            "sha256-AAAA",
            "sha512-j6VNfGtzTJWh6OrhnxD9L7AMm5IRLCs87zt/XTvFxgU=",
            "sha256-j6VNfGtzTJWh6OrhnxD9L7AMm5IRLCs87zt/XTvFxgU",
            "sha256-j6VNfGtzTJWh6OrhnxD9L7AMm5IRLCs87zt/XTvFxgV=",
            "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "sha256-j6VNfGtzTJWh6OrhnxD9L7AMm5IRLCs87zt_XTvFxgU=",
        ] {
            assert!(!is_nar_hash(text), "{text}");
        }
    }
}

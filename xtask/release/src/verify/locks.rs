//! The manifest against this repository: inputs, environments, recipes, policies, and what the release should hold.

use super::{Problems, packed};
use crate::{Artifact, Definition, FIRST_SCHEMA, Manifest, Step, Wanted, assemble::lock_digest, parts};
use anyhow::Result;
use builder::{Cxx, Node, Plan, Project};
use input::{Input, Source};
use std::collections::{BTreeMap, BTreeSet};

/// Everything in which the release and the repository say different things.
pub fn check(manifest: &Manifest, project: &Project, problems: &mut Problems) {
    let models = models(manifest, project, problems);
    inputs(manifest, project, &models, problems);
    for (name, facts) in &manifest.environments {
        match lock_digest(&project.root, name) {
            Ok(digest) if digest == facts.lock => {}
            Ok(_) => problems.manifest(format!(
                "environment `{name}` was made with another lock than containers/{name}.lock is now"
            )),
            Err(error) => problems.manifest(format!("environment `{name}`: {error:#}")),
        }
    }
    for artifact in &manifest.artifacts {
        self::artifact(artifact, project, manifest.schema == FIRST_SCHEMA, problems);
    }
    for step in manifest.steps() {
        self::step(step, project, problems);
    }
    if let Err(error) = contents(manifest, project, problems) {
        problems.manifest(format!("{error:#}"));
    }
}

/// Models are those of `models/NAME.toml`, made of all their locked files; gives these.
fn models(
    manifest: &Manifest,
    project: &Project,
    problems: &mut Problems,
) -> BTreeMap<String, (String, Input)> {
    let mut locked = BTreeMap::new();
    for model in &manifest.models {
        let (name, title) = (&model.conversion.name, model.conversion.title());
        let found = input::Model::load(&project.root, name).and_then(|intent| {
            let lock = intent.lock(&project.root)?;
            Ok((intent, lock))
        });
        match found {
            Ok((intent, lock)) => {
                if intent.license != model.license {
                    let (a, b) = (&model.license, &intent.license);
                    problems.manifest(format!(
                        "`{title}` has the license `{a}`, and `{b}` in models/{name}.toml"
                    ));
                }
                if !lock.inputs.iter().map(|input| &input.name).eq(&model.inputs) {
                    problems
                        .manifest(format!("`{title}` was made from other files than models/{name}.lock has"));
                }
                let file = format!("models/{name}.lock");
                locked
                    .extend(lock.inputs.into_iter().map(|input| (input.name.clone(), (file.clone(), input))));
            }
            Err(error) => problems.manifest(format!("`{title}`: {error:#}")),
        }
    }
    locked
}

fn inputs(
    manifest: &Manifest,
    project: &Project,
    models: &BTreeMap<String, (String, Input)>,
    problems: &mut Problems,
) {
    for (name, facts) in &manifest.inputs {
        // That it is unpinned is told by the check of the manifest itself.
        if matches!(facts.source, Source::Path { .. }) {
            continue;
        }
        let of_recipes = || project.inputs.get(name).map(|input| ("recipes/inputs.lock", input));
        let of_models = || models.get(name).map(|(lock, input)| (lock.as_str(), input));
        let Some((lock, input)) = of_recipes().or_else(of_models) else {
            problems.manifest(format!("input `{name}` is not in recipes/inputs.lock"));
            continue;
        };
        if input.digest.hex() != facts.sha256 || input.digest.size != facts.size {
            problems.manifest(format!(
                "input `{name}` is {}/{}, and {} in {lock}",
                facts.sha256, facts.size, input.digest
            ));
        }
        if input.source != facts.source {
            problems.manifest(format!("input `{name}` comes from elsewhere than {lock} says"));
        }
    }
}

fn artifact(artifact: &Artifact, project: &Project, is_first: bool, problems: &mut Problems) {
    let title = artifact.title();
    // That there is no such recipe is told with the steps.
    let Ok(node) = artifact.step.node() else { return };
    let Ok((recipe, target)) = project.node(&node) else { return };
    let policy = artifact.policy.as_ref();
    let none = || "none".to_owned();
    let or_none = |name: Option<&String>| name.cloned().unwrap_or_else(none);
    let cxx = |cxx: Option<Cxx>| cxx.map_or_else(none, |cxx| cxx.to_string());
    // What can't be combined is told by the check of the manifest.
    let license = parts::license(&recipe.license, artifact).unwrap_or_else(|_| recipe.license.to_string());
    let mut pairs = vec![
        ("version", artifact.version.clone(), recipe.version.clone()),
        ("license", artifact.license.clone(), license),
        ("sysroot", or_none(artifact.sysroot.as_ref()), or_none(target.sysroot.as_ref())),
        ("policy", or_none(policy.map(|policy| &policy.name)), or_none(target.policy.as_ref())),
    ];
    // The first schema knows none of these.
    if !is_first {
        let list = |libraries: &BTreeMap<String, String>| {
            let list: Vec<_> = libraries.iter().map(|(name, version)| format!("{name} {version}")).collect();
            list.join(", ")
        };
        pairs.push(("C++ standard library", cxx(artifact.cxx), cxx(target.cxx)));
        pairs.push(("contained libraries", list(&artifact.contains), list(&target.contains)));
        pairs.push(("needed libraries", list(&artifact.needs), list(&target.needs)));
    }
    for (what, found, expected) in pairs.into_iter().filter(|(_, found, expected)| found != expected) {
        problems.manifest(format!("`{title}` has the {what} `{found}`, and `{expected}` in its recipe"));
    }
    if let (false, Some(_), Some(tag), Some(name)) = (is_first, &recipe.wheel, &target.tag, artifact.wheel())
        && name.tag != *tag
    {
        problems.manifest(format!("`{title}` has the tag `{}`, and `{tag}` in its recipe", name.tag));
    }
    if !is_first && recipe.wheel.is_some() != artifact.wheel().is_some() {
        problems.manifest(format!("`{title}` and its recipe do not agree on whether it is a wheel"));
    }
    let is_aar = packed::aar(artifact).is_some();
    if !is_first && recipe.aar.is_some() != is_aar {
        problems.manifest(format!("`{title}` and its recipe do not agree on whether it is an AAR"));
    }
    if let Some(policy) = policy.filter(|policy| target.policy.as_ref() == Some(&policy.name)) {
        match project.policy(&policy.name) {
            Ok((_, digest)) if digest == policy.text => {}
            Ok(_) => problems.manifest(format!(
                "`{title}` was examined by another policy than recipes/policies/{}.toml is now",
                policy.name
            )),
            Err(error) => problems.manifest(format!("`{title}`: {error:#}")),
        }
    }
}

fn step(step: &Step, project: &Project, problems: &mut Problems) {
    let whose = format!("{}@{}", step.recipe, step.target);
    let found = step.node().and_then(|node| Ok((project.node(&node)?.1, project.sources(&node)?)));
    let (target, sources) = match found {
        Ok(found) => found,
        Err(error) => return problems.manifest(format!("{whose}: {error:#}")),
    };
    if step.environment != target.environment {
        problems.manifest(format!(
            "{whose} ran in the environment `{}`, and its recipe says `{}`",
            step.environment, target.environment
        ));
    }
    // What only a user can give is in no release that can be verified.
    let inputs = sources.iter().filter_map(|source| source.input.as_ref());
    if !inputs.eq(&step.inputs) {
        problems.manifest(format!("{whose} was made from other inputs than its recipe says"));
    }
    if !step.dependencies.iter().eq(target.dependencies.iter().map(|name| name.as_str())) {
        problems.manifest(format!("{whose} depends on other recipes than its recipe says"));
    }
}

/// The artifacts, checks and intermediates are those that `releases/NAME.toml` leads to.
fn contents(manifest: &Manifest, project: &Project, problems: &mut Problems) -> Result<()> {
    let mut definition = Definition::load(&project.root, &manifest.name)?;
    for missing in &manifest.missing {
        if !definition.leave_out(&missing.wanted) {
            problems.manifest(format!("says that {} is missing, which nobody asks for", missing.wanted));
        } else if let Wanted::Step(node) = &missing.wanted {
            let inputs = inputs_of(project, node)?;
            for name in missing.waits_for.iter().filter(|name| !inputs.contains(*name)) {
                problems.manifest(format!("says that {node} waits for `{name}`, which it is not made from"));
            }
        }
    }
    let (artifacts, checks) = (definition.artifacts(project)?, definition.checks(project)?);
    let goals: Vec<_> = artifacts.iter().chain(&checks).cloned().collect();
    let mut others = Plan::new(project, &goals)?.nodes;
    others.retain(|node| !goals.contains(node));
    let steps = manifest.artifacts.iter().map(|artifact| &artifact.step);
    same("artifact", artifacts, steps, problems);
    if !definition.models.iter().eq(manifest.models.iter().map(|model| &model.conversion)) {
        problems.manifest("has other models than the release's definition asks for");
    }
    same("check", checks, &manifest.checks, problems);
    same("intermediate", others, &manifest.intermediates, problems);
    Ok(())
}

/// The inputs of a node and of everything below it, and the packages of their environments.
fn inputs_of(project: &Project, node: &Node) -> Result<BTreeSet<String>> {
    let mut inputs = BTreeSet::new();
    for node in Plan::new(project, std::slice::from_ref(node))?.nodes {
        inputs.extend(project.sources(&node)?.into_iter().filter_map(|source| source.input.clone()));
        // A package of its environment may be what can't be had.
        let (_, target) = project.node(&node)?;
        if let Ok((_, lock)) = project.environment(&target.environment) {
            inputs.extend(lock.inputs.into_iter().map(|input| input.name).chain(lock.pending));
        }
    }
    Ok(inputs)
}

/// The steps are the expected ones, in their order.
fn same<'a>(
    kind: &str,
    expected: Vec<Node>,
    found: impl IntoIterator<Item = &'a Step>,
    problems: &mut Problems,
) {
    let found: Vec<_> = found.into_iter().filter_map(|step| step.node().ok()).collect();
    let order = found.iter().zip(&expected).find(|(a, b)| a != b).map(|(a, b)| (a.clone(), b.clone()));
    let expected: BTreeSet<_> = expected.into_iter().collect();
    let found: BTreeSet<_> = found.into_iter().collect();
    if let (true, Some((there, here))) = (expected == found, order) {
        problems.manifest(format!(
            "has the {kind}s in another order than the release's definition: {there} where {here} should be"
        ));
    }
    for node in expected.difference(&found) {
        problems.manifest(format!("lacks the {kind} {node}, which the release's definition asks for"));
    }
    for node in found.difference(&expected) {
        problems.manifest(format!("has the {kind} {node}, which the release's definition does not ask for"));
    }
}

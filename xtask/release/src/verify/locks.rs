//! The manifest against this repository: inputs, environments, recipes, policies, and what the release should hold.

use super::Problems;
use crate::{Artifact, Definition, Manifest, Step, assemble::lock_digest};
use anyhow::Result;
use builder::{Node, Plan, Project};
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
        self::artifact(artifact, project, problems);
    }
    let artifacts = manifest.artifacts.iter().map(|artifact| &artifact.step);
    for step in artifacts.chain(&manifest.checks).chain(&manifest.intermediates) {
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
                        "`{title}` has the licence `{a}`, and `{b}` in models/{name}.toml"
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

fn artifact(artifact: &Artifact, project: &Project, problems: &mut Problems) {
    let title = artifact.title();
    let node = Node::new(&artifact.step.recipe, &artifact.step.target);
    // That there is no such recipe is told with the steps.
    let Ok((recipe, target)) = project.node(&node) else { return };
    let policy = artifact.policy.as_ref();
    let pairs = [
        ("version", Some(&artifact.version), Some(&recipe.version)),
        ("licence", Some(&artifact.license), Some(&recipe.license)),
        ("sysroot", artifact.sysroot.as_ref(), target.sysroot.as_ref()),
        ("policy", policy.map(|policy| &policy.name), target.policy.as_ref()),
    ];
    for (what, found, expected) in pairs.into_iter().filter(|(_, found, expected)| found != expected) {
        let none = "none".to_owned();
        problems.manifest(format!(
            "`{title}` has the {what} `{}`, and `{}` in its recipe",
            found.unwrap_or(&none),
            expected.unwrap_or(&none)
        ));
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
    let node = Node::new(&step.recipe, &step.target);
    let found = project.node(&node).and_then(|(_, target)| Ok((target, project.sources(&node)?)));
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
    if step.dependencies != target.dependencies {
        problems.manifest(format!("{whose} depends on other recipes than its recipe says"));
    }
}

/// The artifacts, checks and intermediates are those that `releases/NAME.toml` leads to.
fn contents(manifest: &Manifest, project: &Project, problems: &mut Problems) -> Result<()> {
    let mut definition = Definition::load(&project.root, &manifest.name)?;
    for missing in &manifest.missing {
        if !definition.leave_out(&missing.wanted) {
            problems.manifest(format!("says that {} is missing, which nobody asks for", missing.wanted));
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

fn same<'a>(
    kind: &str,
    expected: Vec<Node>,
    found: impl IntoIterator<Item = &'a Step>,
    problems: &mut Problems,
) {
    let expected: BTreeSet<_> = expected.into_iter().collect();
    let found: BTreeSet<_> = found.into_iter().map(|step| Node::new(&step.recipe, &step.target)).collect();
    for node in expected.difference(&found) {
        problems.manifest(format!("lacks the {kind} {node}, which the release's definition asks for"));
    }
    for node in found.difference(&expected) {
        problems.manifest(format!("has the {kind} {node}, which the release's definition does not ask for"));
    }
}

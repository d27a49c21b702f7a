//! Names of the checkout that somebody types in. Where it can't be read there are none.

use crate::context::project_root;
use builder::Project;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use std::ffi::OsStr;

fn project() -> Option<Project> {
    Project::load(&project_root().ok()?).ok()
}

/// The stems of the files with this ending in a directory of the checkout.
fn stems(directory: &str, ending: &str) -> Vec<String> {
    let Ok(root) = project_root() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(root.join(directory)) else { return Vec::new() };
    let mut stems: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(ending)?.to_owned()))
        .collect();
    stems.sort();
    stems
}

fn candidates(names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Recipes; behind `@` the targets of one.
fn goals_at(current: &OsStr) -> Vec<CompletionCandidate> {
    let (Some(project), Some(current)) = (project(), current.to_str()) else { return Vec::new() };
    let starts = |name: &str| name.starts_with(current);
    match current.split_once('@') {
        None => {
            let recipes = project.recipes.values().filter(|recipe| starts(recipe.name.as_str()));
            let with_help = recipes.map(|recipe| {
                CompletionCandidate::new(recipe.name.to_string())
                    .help(Some(recipe.description.clone().into()))
            });
            with_help.collect()
        }
        Some((name, _)) => {
            let targets = project.recipes.get(name).map_or(&[][..], |recipe| &recipe.targets[..]);
            let names = targets.iter().map(|target| format!("{name}@{}", target.triple));
            candidates(names.filter(|name| starts(name)))
        }
    }
}

/// What `RECIPE[@TARGET]` may be.
pub fn goals() -> ArgValueCompleter {
    ArgValueCompleter::new(goals_at)
}

/// What `RELEASE|RECIPE[@TARGET]` may be.
pub fn results() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| with(stems("releases", ".toml"), current))
}

/// What `NAME|RECIPE@TARGET` of environments may be.
pub fn places() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| with(environment_names(), current))
}

/// These names, and goals.
fn with(names: Vec<String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let start = current.to_string_lossy();
    let mut all = candidates(names.into_iter().filter(|name| name.starts_with(&*start)));
    all.extend(goals_at(current));
    all
}

/// Releases.
pub fn releases() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(stems("releases", ".toml")))
}

fn environment_names() -> Vec<String> {
    project().and_then(|project| project.environments().ok()).unwrap_or_default()
}

/// Environments.
pub fn environments() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(environment_names()))
}

/// Lock files: inputs, environments, models.
pub fn locks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let mut names = vec!["inputs".to_owned()];
        names.extend(environment_names());
        names.extend(stems("models", ".toml"));
        candidates(names)
    })
}

/// Locked inputs of recipes; packages are too many to be of help.
pub fn inputs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let project = project();
        let inputs = project.iter().flat_map(|project| &project.inputs.inputs);
        candidates(inputs.map(|input| input.name.clone()))
    })
}

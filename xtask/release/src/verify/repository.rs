//! The recipe side: the files of the repository that the release was made from, against those of this checkout.

use super::{Problems, commit};
use crate::{Definition, Manifest, PROGRAM, verifier};
use builder::{Files, Project, made_from};
use std::collections::{BTreeMap, BTreeSet};
use store::Digest;

/// Paths that are named one by one; the rest is counted.
const SHOWN: usize = 50;

/// The release was written by the program that a checkout is of.
pub fn program(manifest: &Manifest, problems: &mut Problems) {
    if manifest.program.as_deref().is_some_and(|program| program != PROGRAM) {
        let program = manifest.program.as_deref().unwrap_or_default();
        problems.manifest(format!("was written by {program}, and this checkout is of {PROGRAM}"));
    }
}

/// The script in a release that this version of the program wrote is this version's. What others wrote is not known.
pub fn script(manifest: &Manifest, problems: &mut Problems) {
    if let Some(file) = &manifest.verifier
        && manifest.program.as_deref() == Some(PROGRAM)
        && file.digest().ok() != Some(Digest::of(verifier::SCRIPT.as_bytes()))
    {
        problems.add(&file.path, "is not the script that this program writes");
    }
}

/// Every file that is not the checkout's, and which commit has them all, as a note.
pub fn check(manifest: &Manifest, project: &Project, problems: &mut Problems) -> String {
    let before = problems.0.len();
    let here = files_here(manifest, project, problems);
    files(manifest, &here, problems);
    match commit::find(&project.root, &manifest.repository) {
        Ok(commit::Found::Fits(commit)) => match problems.0.len() == before {
            true => format!("the recipe side is that of this checkout, and of commit {commit}"),
            false => format!("the recipe side is that of commit {commit}: check it out to compare with it"),
        },
        Ok(commit::Found::Nothing(count)) => match problems.0.len() == before {
            true => {
                format!("the recipe side is that of this checkout, and of no commit (of the {count} newest)")
            }
            false => {
                format!(
                    "no commit of this checkout has the recipe side of the release ({count} were looked at)"
                )
            }
        },
        Err(error) => format!("which commit fits the recipe side is not known: {error:#}"),
    }
}

/// What the checkout's own recipes would name.
fn files_here(manifest: &Manifest, project: &Project, problems: &mut Problems) -> Files {
    let mut here = Files::new();
    for step in manifest.steps() {
        // That there is no such recipe is told with the steps.
        let Ok(node) = step.node() else { continue };
        if project.node(&node).is_err() {
            continue;
        }
        match made_from(project, &node) {
            Ok(files) => {
                if !files.keys().eq(&step.made_from) {
                    let whose = format!("{}@{}", step.recipe, step.target);
                    let (here, there): (BTreeSet<_>, BTreeSet<_>) =
                        (files.keys().collect(), step.made_from.iter().collect());
                    let more = |list: Vec<&&String>, what: &str| match list.first() {
                        Some(path) => format!(" ({what} `{path}`)"),
                        None => String::new(),
                    };
                    problems.manifest(format!(
                        "{whose} was made from other files than this checkout has for it{}{}",
                        more(here.difference(&there).collect(), "without"),
                        more(there.difference(&here).collect(), "with"),
                    ));
                }
                here.extend(files);
            }
            Err(error) => problems.manifest(format!("{node}: {error:#}")),
        }
    }
    match Definition::files(&project.root, &manifest.name) {
        Ok(files) => here.extend(files),
        // Told with the contents of the release.
        Err(_) => return here,
    }
    for model in &manifest.models {
        let path = format!("models/{}.toml", model.conversion.name);
        if let Ok(digest) = Digest::of_file(&project.root.join(&path)) {
            here.insert(path, digest);
        }
    }
    here
}

/// Each file that differs, with the steps that it is a part of.
fn files(manifest: &Manifest, here: &Files, problems: &mut Problems) {
    let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for step in manifest.steps() {
        for path in &step.made_from {
            users.entry(path).or_default().push(format!("{}@{}", step.recipe, step.target));
        }
    }
    let whose = |path: &str| match users.get(path).map(Vec::as_slice) {
        None | Some([]) => "the release".to_owned(),
        Some([one]) => one.clone(),
        Some([one, rest @ ..]) => format!("{one} and {} more", rest.len()),
    };
    let paths: BTreeSet<&String> = here.keys().chain(manifest.repository.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        let text = match (manifest.repository.get(path), here.get(path)) {
            (Some(there), Some(here)) if there == here => continue,
            (Some(there), Some(here)) => format!(
                "`{path}` is not the file that {} was made from: its sha256 is {}, not {}",
                whose(path),
                here.hex(),
                there.hex()
            ),
            (Some(_), None) => {
                format!("`{path}`, which {} was made from, is not in this checkout", whose(path))
            }
            (None, _) => format!("`{path}` of this checkout was not there when the release was made"),
        };
        found.push(text);
    }
    let rest = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    found.into_iter().for_each(|text| problems.manifest(text));
    if rest > 0 {
        problems.manifest(format!("and {rest} more files differ from those of this checkout"));
    }
}

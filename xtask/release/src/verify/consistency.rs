//! Whether a manifest is one that could have been made: it names nothing unsafe, nothing twice, and does not
//! contradict itself.

use super::Problems;
use crate::{
    Artifact, File, Manifest, Model, Trust, archive_kind,
    names::{folded, why_unsafe},
};
use artifact::{WheelName, record_text};
use input::Source;
use std::collections::{BTreeMap, BTreeSet};
use store::{Digest, Entry, Tree};

/// Everything that a manifest can be told by itself.
pub fn check(manifest: &Manifest, trust: Option<&Trust>, problems: &mut Problems) {
    if why_unsafe(&manifest.name).is_some() || manifest.name.contains('/') {
        problems.manifest(format!("`{}` is not a name for a release", manifest.name));
    }
    if manifest.artifacts.is_empty() && manifest.models.is_empty() {
        problems.manifest("names no artifact and no model");
    }
    paths(manifest.files().map(|file| file.path.as_str()), "", problems);
    manifest.files().for_each(|file| digest(file, problems));
    for artifact in &manifest.artifacts {
        archive(artifact, problems);
    }
    for model in &manifest.models {
        self::model(model, problems);
    }
    licenses(manifest, problems);
    steps(manifest, problems);
    if !manifest.missing.is_sorted_by(|a, b| a < b) {
        problems.manifest("has a list of what is missing that is not sorted");
    }
    for (name, facts) in &manifest.inputs {
        if Digest::from_hex(&facts.sha256, facts.size).is_err() {
            problems.manifest(format!("input `{name}` has no sha256, but `{}`", facts.sha256));
        }
        let is_accepted = trust.is_some_and(|trust| trust.accepts_unpinned(name));
        if let (Source::Path { path, .. }, false) = (&facts.source, is_accepted) {
            problems.manifest(format!(
                "input `{name}` is unpinned: it was given on the machine that built the release (`{}`), and nobody else can check it",
                path.display()
            ));
        }
    }
}

/// Paths are safe, and no two of them are one file, here or where letters have no case.
pub fn paths<'a>(paths: impl Iterator<Item = &'a str>, whose: &str, problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for path in paths {
        safe_path(path, whose, problems);
        match seen.insert(folded(path), path) {
            Some(other) if other == path => problems.manifest(format!("{whose}names `{path}` twice")),
            Some(other) => problems.manifest(format!(
                "{whose}names `{other}` and `{path}`, which are one file where letters have no case or names are normalized"
            )),
            None => {}
        }
    }
    for (path, name) in &seen {
        let above = std::iter::successors(path.rsplit_once('/'), |(above, _)| above.rsplit_once('/'));
        for (above, _) in above {
            if let Some(file) = seen.get(above) {
                problems.manifest(format!("{whose}names `{name}` below the file `{file}`"));
            }
        }
    }
}

/// A path can be looked at and unpacked on every system.
pub fn safe_path(path: &str, whose: &str, problems: &mut Problems) {
    if let Some(why) = why_unsafe(path) {
        problems.manifest(format!("{whose}names `{path}`, which is not a safe path: {why}"));
    }
}

fn digest(file: &File, problems: &mut Problems) {
    if file.digest().is_err() {
        problems.manifest(format!("`{}` has no sha256, but `{}`", file.path, file.sha256));
    }
}

fn archive(artifact: &Artifact, problems: &mut Problems) {
    let title = artifact.title();
    match artifact.wheel() {
        Some(name) => wheel(artifact, &name, problems),
        None => {
            let name = format!("{title}.{}", archive_kind(&artifact.step.target).extension());
            if artifact.archive.path != name {
                problems.manifest(format!(
                    "the archive of {title} is named `{}` and should be named `{name}`",
                    artifact.archive.path
                ));
            }
        }
    }
    let whose = format!("`{title}` ");
    let names = artifact.files.iter().map(|file| file.path.as_str());
    paths(names.chain(artifact.links.keys().map(String::as_str)), &whose, problems);
    if !artifact.files.is_sorted_by(|a, b| a.path < b.path) {
        problems.manifest(format!("{whose}has files that are not sorted by path"));
    }
    artifact.files.iter().for_each(|file| digest(file, problems));
    for (path, target) in &artifact.links {
        if leads_out(path, target) {
            problems.manifest(format!("{whose}has the link `{path}`, which leads out of it to `{target}`"));
        }
    }
}

/// A wheel is of the artifact's version, and its RECORD lists what the manifest does.
fn wheel(artifact: &Artifact, name: &WheelName, problems: &mut Problems) {
    let title = name.stem();
    if name.version != artifact.version {
        problems.manifest(format!("the wheel `{title}` is of the version `{}` elsewhere", artifact.version));
    }
    let own = |file: &str| format!("{}/{file}", name.information());
    for path in [own("METADATA"), own("WHEEL")] {
        if !artifact.files.iter().any(|file| file.path == path) {
            problems.manifest(format!("the wheel `{title}` lacks `{path}`"));
        }
    }
    let record = own("RECORD");
    let (given, others): (Vec<_>, Vec<_>) = artifact.files.iter().partition(|file| file.path == record);
    let digests = others.into_iter().filter_map(|file| Some((file.path.as_str(), file.digest().ok()?)));
    let expected = Digest::of(record_text(digests, &record).as_bytes());
    if given.first().and_then(|file| file.digest().ok()) != Some(expected) {
        problems.manifest(format!("the wheel `{title}` has no RECORD of the files that it holds"));
    }
}

/// The files are those of one tree, in the model's directory.
fn model(model: &Model, problems: &mut Problems) {
    let title = model.conversion.title();
    let mut tree = Tree::new();
    for file in &model.files {
        let path = file.path.strip_prefix(&format!("{title}/"));
        let entry = file.digest().map(|digest| Entry::File { digest, executable: file.executable });
        match (path, entry) {
            (Some(path), Ok(entry)) if tree.insert(path, entry.clone()).is_ok() => {}
            _ => problems.manifest(format!("the model `{title}` can't have the file `{}`", file.path)),
        }
    }
    if !model.files.is_sorted_by(|a, b| a.path < b.path) {
        problems.manifest(format!("the model `{title}` has files that are not sorted by path"));
    }
    if tree.digest().is_ok_and(|root| root != model.outputs) {
        problems.manifest(format!("the files of the model `{title}` are not those of its outputs"));
    }
}

/// Whether a link's text names something outside of the archive.
fn leads_out(path: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') {
        return true;
    }
    let mut depth = path.matches('/').count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// `licenses/` has what the archives' `licenses/` have, and every archive has some.
fn licenses(manifest: &Manifest, problems: &mut Problems) {
    let mut expected = BTreeSet::new();
    for artifact in &manifest.artifacts {
        let before = expected.len();
        expected.extend(artifact.licenses());
        if expected.len() == before {
            problems.manifest(format!("`{}` has no license texts", artifact.title()));
        }
    }
    for model in &manifest.models {
        expected.extend(model.licenses(&manifest.inputs));
    }
    let listed: BTreeSet<File> = manifest.licenses.iter().cloned().collect();
    for file in expected.difference(&listed) {
        problems.manifest(format!("`licenses` lacks `{}`, which an archive or model has", file.path));
    }
    for file in listed.difference(&expected) {
        problems.manifest(format!("`licenses` has `{}`, which no archive or model has", file.path));
    }
    if !manifest.licenses.is_sorted() {
        problems.manifest("`licenses` are not sorted");
    }
}

/// Every environment, input and dependency that something refers to is there, and nothing else.
fn steps(manifest: &Manifest, problems: &mut Problems) {
    let all: Vec<_> = manifest.steps().collect();
    let mut known = BTreeSet::new();
    for step in &all {
        if let Err(error) = step.node() {
            problems.manifest(format!("has a step with a bad name: {error:#}"));
        }
        if !known.insert((step.recipe.as_str(), step.target.as_str())) {
            problems.manifest(format!("names the step {}@{} twice", step.recipe, step.target));
        }
    }
    let (mut environments, mut inputs) = (BTreeSet::new(), BTreeSet::new());
    for step in &all {
        let whose = format!("{}@{}", step.recipe, step.target);
        environments.insert(&step.environment);
        inputs.extend(&step.inputs);
        for name in step.dependencies.iter().filter(|name| !known.contains(&(name, step.target.as_str()))) {
            problems.manifest(format!("{whose} depends on `{name}`, which is not in the manifest"));
        }
    }
    inputs.extend(manifest.models.iter().flat_map(|model| &model.inputs));
    names("environment", &environments, manifest.environments.keys(), problems);
    names("input", &inputs, manifest.inputs.keys(), problems);
}

fn names<'a>(
    kind: &str,
    used: &BTreeSet<&'a String>,
    listed: impl Iterator<Item = &'a String>,
    problems: &mut Problems,
) {
    let listed: BTreeSet<_> = listed.collect();
    for name in used.difference(&listed) {
        problems.manifest(format!("does not say what the {kind} `{name}` is"));
    }
    for name in listed.difference(used) {
        problems.manifest(format!("lists the {kind} `{name}`, which no step uses"));
    }
}

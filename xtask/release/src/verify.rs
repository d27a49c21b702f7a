//! Checking a release: a function of files alone. Every problem is found and named.

use crate::{
    Manifest,
    manifest::{SCHEMA, lock_digest},
};
use anyhow::{Context, Result};
use artifact::{Kind, read_archive};
use build::{Node, Project};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};
use store::Digest;

/// More than any manifest is long.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, or what in the manifest.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.problem)
    }
}

/// Checks every file of a release directory against its manifest and checksums, every archive against the files that
/// the manifest lists, and, with `project`, the manifest against the locks of this repository. Errors: the directory or
/// its manifest can't be read at all.
pub fn verify(directory: &Path, project: Option<&Project>) -> Result<Vec<Problem>> {
    let mut problems = Problems::default();
    let path = directory.join("release.json");
    let size =
        std::fs::symlink_metadata(&path).with_context(|| format!("{} is no release", directory.display()))?;
    anyhow::ensure!(size.is_file() && size.len() <= LARGEST_MANIFEST, "{} is no manifest", path.display());
    let json = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: Manifest = match serde_json::from_str(&json) {
        Ok(manifest) => manifest,
        Err(error) => {
            problems.add("release.json", format!("is no manifest: {error}"));
            return Ok(problems.0);
        }
    };
    if manifest.schema != SCHEMA {
        problems.add(
            "release.json",
            format!("has the schema `{}`, not `{SCHEMA}`", manifest.schema.escape_debug()),
        );
    }
    if manifest.to_json()? != json {
        problems.add("release.json", "is not written canonically".to_owned());
    }
    match std::fs::read_to_string(directory.join("SHA256SUMS")) {
        Ok(text) if text == manifest.checksums(&json) => {}
        Ok(_) => problems.add("SHA256SUMS", "does not agree with release.json".to_owned()),
        Err(error) => problems.add("SHA256SUMS", format!("cannot be read: {error}")),
    }
    check_files(directory, &manifest, &mut problems)?;
    if let Some(project) = project {
        check_locks(&manifest, project, &mut problems);
    }
    Ok(problems.0)
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, file: &str, problem: String) {
        self.0.push(Problem { file: file.to_owned(), problem });
    }
}

fn check_files(directory: &Path, manifest: &Manifest, problems: &mut Problems) -> Result<()> {
    let mut expected = BTreeSet::from(["release.json".to_owned(), "SHA256SUMS".to_owned()]);
    for file in manifest.files() {
        if !is_safe(&file.path) {
            problems.add(&file.path.escape_debug().to_string(), "is no safe path".to_owned());
            continue;
        }
        if !expected.insert(file.path.clone()) {
            problems.add(&file.path, "stands in the manifest twice".to_owned());
        }
        let path = directory.join(&file.path);
        match std::fs::symlink_metadata(&path) {
            Err(_) => problems.add(&file.path, "is missing".to_owned()),
            Ok(metadata) if !metadata.is_file() => problems.add(&file.path, "is no regular file".to_owned()),
            Ok(metadata) if metadata.len() != file.size => {
                problems.add(&file.path, format!("has {} bytes, not {}", metadata.len(), file.size));
            }
            Ok(_) => {
                let found = Digest::of_file(&path)?.hex();
                if found != file.sha256 {
                    problems.add(&file.path, format!("changed: its sha256 is {found}, not {}", file.sha256));
                }
            }
        }
    }
    let mut found = Vec::new();
    list(directory, "", &mut found)?;
    for path in found.into_iter().filter(|path| !expected.contains(path)) {
        problems.add(&path, "is not in the manifest".to_owned());
    }
    for artifact in manifest.artifacts.iter().filter(|artifact| is_safe(&artifact.archive.path)) {
        let name = artifact.archive.path.as_str();
        let Some(kind) = Kind::of(name) else {
            problems.add(name, "is no archive".to_owned());
            continue;
        };
        let Ok(bytes) = std::fs::read(directory.join(name)) else { continue };
        let top = name.trim_end_matches(&format!(".{}", kind.extension()));
        let listed: BTreeMap<String, &str> = artifact
            .files
            .iter()
            .map(|file| (format!("{top}/{}", file.path), file.sha256.as_str()))
            .collect();
        match read_archive(&bytes, kind) {
            Err(error) => problems.add(name, format!("{error:#}")),
            Ok(members) => {
                let mut seen = BTreeSet::new();
                for (path, content) in members {
                    match listed.get(&path) {
                        None => problems.add(name, format!("holds `{path}`, which is not in the manifest")),
                        Some(sha256) if Digest::of(&content).hex() != *sha256 => {
                            problems.add(name, format!("holds another `{path}` than the manifest says"));
                        }
                        Some(_) => {}
                    }
                    seen.insert(path);
                }
                for path in listed.keys().filter(|path| !seen.contains(*path)) {
                    problems.add(name, format!("lacks `{path}`"));
                }
            }
        }
    }
    Ok(())
}

fn check_locks(manifest: &Manifest, project: &Project, problems: &mut Problems) {
    for (name, facts) in &manifest.inputs {
        match project.inputs.get(name) {
            None => problems.add("release.json", format!("input `{name}` is not in recipes/inputs.lock")),
            Some(input) => {
                let same = input.digest.hex() == facts.sha256
                    && input.digest.size == facts.size
                    && input.source == facts.source;
                if !same {
                    problems
                        .add("release.json", format!("input `{name}` is not the one of recipes/inputs.lock"));
                }
            }
        }
    }
    for (name, facts) in &manifest.environments {
        match lock_digest(project, name) {
            Ok(digest) if digest == facts.lock => {}
            _ => problems.add(
                "release.json",
                format!("environment `{name}` has not the lock of containers/{name}.lock"),
            ),
        }
    }
    let artifacts = manifest.artifacts.iter().map(|artifact| &artifact.step);
    for step in artifacts.chain(&manifest.checks).chain(&manifest.intermediates) {
        if project.node(&Node::new(&step.recipe, &step.target)).is_err() {
            problems.add("release.json", format!("there is no recipe `{}` for {}", step.recipe, step.target));
        }
    }
}

fn is_safe(path: &str) -> bool {
    !path.contains(['\0', '\n', '\\']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn list(directory: &Path, prefix: &str, found: &mut Vec<String>) -> Result<()> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), &path, found)?,
            false => found.push(path),
        }
    }
    found.sort();
    Ok(())
}

#[cfg(test)]
mod tests;

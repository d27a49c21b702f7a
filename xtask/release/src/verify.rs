//! Checking a release: a function of files alone. Every problem is found and named.

mod archives;
mod consistency;
mod files;
mod locks;
#[cfg(test)]
mod tests;

use crate::{Manifest, Missing, SCHEMA};
use anyhow::{Context, Result};
use builder::Project;
pub(crate) use files::{Found, check_checksums, check_files, list};
use serde::Serialize;
use std::{fmt, fs::File, io::Read, path::Path};

/// More than any manifest or list of checksums is long, in bytes.
const LARGEST_TEXT: u64 = 64 << 20;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, or the one that says so.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.problem)
    }
}

/// What was found so far.
#[derive(Default)]
pub(crate) struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds a problem. Names may come from a stranger: what would disturb a terminal is escaped.
    fn add(&mut self, file: &str, problem: impl fmt::Display) {
        let clean = |text: &str| {
            text.chars()
                .flat_map(
                    |c| if c.is_control() && c != '\n' { c.escape_default().collect() } else { vec![c] },
                )
                .collect()
        };
        self.0.push(Problem { file: clean(file), problem: clean(&problem.to_string()) });
    }

    /// Adds a problem of the manifest.
    fn manifest(&mut self, problem: impl fmt::Display) {
        self.add("release.json", problem);
    }
}

/// Checks a release directory:
///
/// - the manifest is of a known schema, canonical, and does not contradict itself;
/// - exactly the files that it names are there, regular files with its digests, and `SHA256SUMS` says the same;
/// - every archive holds exactly the members that it names, with its digests;
/// - with `project`: the inputs, environments, recipes, policies and the release's definition are those of this
///   repository.
///
/// Nothing is executed, unpacked to disk or fetched. Errors: the directory can't be read at all.
pub fn verify(directory: &Path, project: Option<&Project>) -> Result<Vec<Problem>> {
    anyhow::ensure!(directory.is_dir(), "{} is no release: there is no such directory", directory.display());
    let mut problems = Problems::default();
    let found = list(directory).with_context(|| format!("{} is no release", directory.display()))?;
    let Some((manifest, json)) = read_manifest(directory, &mut problems) else {
        return Ok(problems.0);
    };
    consistency::check(&manifest, &mut problems);
    check_checksums(directory, &manifest, &json, &mut problems);
    check_files(directory, &found, &manifest, &mut problems)?;
    archives::check(directory, &found, &manifest, &mut problems);
    if let Some(project) = project {
        locks::check(&manifest, project, &mut problems);
    }
    Ok(problems.0)
}

/// What a release that passes [`verify`] says that it lacks.
pub fn missing(directory: &Path) -> Result<Vec<Missing>> {
    let text = read_text(&directory.join("release.json"))?;
    let manifest: Manifest = serde_json::from_str(&text).context("the manifest is damaged")?;
    Ok(manifest.missing)
}

/// The manifest and its text, or nothing when it can't be made sense of.
fn read_manifest(directory: &Path, problems: &mut Problems) -> Option<(Manifest, String)> {
    let json = match read_text(&directory.join("release.json")) {
        Ok(json) => json,
        Err(error) => {
            problems.manifest(format!("{error:#}"));
            return None;
        }
    };
    // Another schema has other fields: say that, rather than which field is unknown.
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: String,
    }
    match serde_json::from_str::<Schema>(&json) {
        Ok(Schema { schema }) if schema != SCHEMA => {
            problems.manifest(format!(
                "has the schema `{}`, this program knows `{SCHEMA}`",
                schema.escape_debug()
            ));
            return None;
        }
        _ => {}
    }
    match serde_json::from_str::<Manifest>(&json) {
        Ok(manifest) => {
            if manifest.to_json().ok().as_ref() != Some(&json) {
                problems.manifest(
                    "is not written canonically (order, spacing, repeated keys, or a value written in another way)",
                );
            }
            Some((manifest, json))
        }
        Err(error) => {
            problems.manifest(format!("is no manifest: {error}"));
            None
        }
    }
}

/// A regular file's text. Errors: it is none, not UTF-8, or absurdly long.
fn read_text(path: &Path) -> Result<String> {
    let metadata = std::fs::symlink_metadata(path).context("is missing")?;
    anyhow::ensure!(metadata.is_file(), "is no regular file");
    anyhow::ensure!(metadata.len() <= LARGEST_TEXT, "has {} bytes, which is absurd", metadata.len());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_TEXT).read_to_string(&mut text))
        .context("cannot be read")?;
    Ok(text)
}

/// Whether a path stays below the directory that it is relative to, on every system, and can be written to a line.
fn is_safe(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && !part.ends_with([' ', '.']);
    path.split('/').all(part) && !path.contains(|c: char| c.is_control() || "\\:*?\"<>|".contains(c))
}

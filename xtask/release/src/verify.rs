//! Checking a release: a function of files alone. Every problem is found and named.

mod archives;
pub(crate) mod bom;
mod commit;
mod consistency;
mod facts;
mod files;
mod locks;
mod packed;
mod redundant;
mod repository;
mod signatures;
#[cfg(test)]
pub(crate) mod tampering;
#[cfg(test)]
mod tests;

use crate::{
    Artifact, FIRST_SCHEMA, Manifest, SCHEMA, SECOND_SCHEMA, Trust,
    names::printable,
    provenance::{collected, companions},
    trust,
};
use anyhow::{Context, Result};
use builder::Project;
pub(crate) use files::{Found, check_checksums, check_files, list};
use serde::Serialize;
use signatures::Beside;
use std::{fmt, fs::File, io::Read, path::Path};
use store::Digest;

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
    pub(crate) fn add(&mut self, file: &str, problem: impl fmt::Display) {
        self.0.push(Problem { file: printable(file), problem: printable(&problem.to_string()) });
    }

    /// Adds a problem of the manifest.
    fn manifest(&mut self, problem: impl fmt::Display) {
        self.add("release.json", problem);
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Files of the directory, `release.json` and `SHA256SUMS` among them.
    pub files: usize,
    /// Archives.
    pub artifacts: usize,
    /// Members of archives, each with its content.
    pub members: usize,
    /// Converted models.
    pub models: usize,
    /// Actions that the manifest names: of artifacts, checks and intermediates.
    pub steps: usize,
    /// Inputs that were compared with the locks.
    pub inputs: usize,
    /// Files of the repository that were compared with the checkout.
    pub repository: usize,
}

/// What [`verify`] can say of a release.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// SHA-256 of `release.json` in hexadecimal, which names everything else; nothing when it can't be read.
    pub manifest: Option<String>,
    /// Its schema.
    pub schema: Option<String>,
    /// Everything that is not as it should be. A release without problems passes.
    pub problems: Vec<Problem>,
    /// How much was looked at.
    pub counts: Counts,
    /// What a release that passes may still be wrong in.
    pub unchecked: Vec<String>,
    /// What is worth knowing and no problem.
    pub notes: Vec<String>,
    /// With a policy: who signed what. Keys that the policy does not name are nobody.
    pub signed: Vec<Signed>,
}

/// Who signed something, of the keys that a policy names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// `release`, the title of an artifact or model, or `SHA256SUMS`.
    pub what: String,
    /// The names that the policy has for the keys.
    pub by: Vec<String>,
    /// How many of how many were wanted; nothing where it may be unsigned.
    pub wanted: Option<String>,
}

/// What a release is held against, beside itself.
#[derive(Clone, Copy, Default)]
pub struct Check<'a> {
    /// A checkout: inputs, environments, recipes, scripts, patches, policies and the release's definition are those of it; Git
    /// is asked which commit has them.
    pub project: Option<&'a Project>,
    /// A policy: whose signatures count, and how many are needed.
    pub trust: Option<&'a Trust>,
    /// A directory `attestations/RELEASE/BUILDER/`, of which signatures count beside those in the release.
    pub attestations: Option<&'a Path>,
}

impl Verdict {
    /// Whether the release passes.
    pub fn passes(&self) -> bool {
        self.problems.is_empty()
    }

    /// The exit status of whoever tells the verdict: 0 when the release passes, else 1.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.passes())
    }
}

/// Checks a release directory:
///
/// - the manifest is of a known schema, canonical, and does not contradict itself;
/// - exactly the files that it names are there, regular files with its digests, and `SHA256SUMS` says the same;
/// - every archive is, byte for byte, the one that this program writes of the members that the manifest names;
/// - the bill of materials is, byte for byte, the one that this program writes of the manifest and the locks;
/// - with `project`: the inputs, environments, recipes, scripts, patches, policies and the release's definition are those
///   of this checkout; Git is asked which commit has them.
///
/// Nothing of the release is executed, unpacked to disk or fetched.
///
/// # Errors
/// If the directory can't be read at all.
pub fn verify(directory: &Path, project: Option<&Project>) -> Result<Verdict> {
    verify_with(directory, &Check { project, ..Check::default() })
}

/// The same, and the signatures beside it: each is around the statement that the release itself gives; with a policy, enough of the
/// right keys signed.
///
/// # Errors
/// If a directory can't be read at all.
pub fn verify_with(directory: &Path, check: &Check) -> Result<Verdict> {
    let project = check.project;
    let found = if directory.exists() { "a file" } else { "not there" };
    anyhow::ensure!(directory.is_dir(), "{} is not a release directory: it is {found}", directory.display());
    let mut problems = Problems::default();
    let mut verdict = Verdict::default();
    let found = list(directory).with_context(|| format!("{} is not a release", directory.display()))?;
    let Some((manifest, json)) = read_manifest(directory, &mut problems) else {
        verdict.problems = problems.0;
        return Ok(verdict);
    };
    verdict.manifest = Some(Digest::of(json.as_bytes()).hex());
    verdict.schema = Some(manifest.schema.clone());
    consistency::check(&manifest, check.trust, &mut problems);
    redundant::check(&manifest, &mut problems);
    facts::check(&manifest, &mut problems);
    check_checksums(directory, &manifest, &json, &mut problems);
    let companions = companions(&manifest, &json)?;
    check_files(directory, &found, &manifest, &companions, &mut problems)?;
    let mut beside = Beside::read(directory, &found, &manifest, &json, &companions, &mut problems);
    if let (Some(attestations), Some(sha256)) = (check.attestations, &verdict.manifest) {
        beside.collect(&collected(attestations, &manifest.name, sha256)?, &mut problems);
    }
    repository::script(&manifest, &mut problems);
    bom::check(directory, &manifest, project, &mut problems);
    let recipe =
        |artifact: &Artifact| project?.node(&artifact.step.node().ok()?).ok().map(|(recipe, _)| recipe);
    let members = archives::check(directory, &found, &manifest, &recipe, &mut problems);
    if let Some(project) = project {
        locks::check(&manifest, project, &mut problems);
        if manifest.schema != FIRST_SCHEMA {
            repository::program(&manifest, &mut problems);
            verdict.notes.push(repository::check(&manifest, project, &mut problems));
        }
    }
    verdict.counts = Counts {
        files: found.values().filter(|found| matches!(found, Found::File(_))).count(),
        artifacts: manifest.artifacts.len(),
        members,
        models: manifest.models.len(),
        steps: manifest.steps().count(),
        inputs: project.map_or(0, |_| manifest.inputs.len()),
        repository: project.map_or(0, |_| manifest.repository.len()),
    };
    verdict.notes.extend(notes(&manifest));
    verdict.unchecked = unchecked(&manifest, project.is_some());
    match check.trust {
        Some(trust) => {
            verdict.signed = trust::check(&manifest, trust, &beside.evidence, &mut problems);
            verdict.notes.push(format!("the policy has the SHA-256 {}", trust.sha256));
        }
        None => {
            let claims = beside.claims();
            verdict.unchecked.push(match claims.is_empty() {
                true => "who made the release: there is no signature".to_owned(),
                false => "whose the signatures are that are there: `--policy` checks them".to_owned(),
            });
            let claims = claims.into_iter().map(|claim| printable(&format!("signed, it says: {claim}")));
            verdict.notes.extend(claims);
        }
    }
    verdict.problems = problems.0;
    Ok(verdict)
}

fn notes(manifest: &Manifest) -> Vec<String> {
    let missing = manifest.missing.iter().map(|it| format!("it is partial: {} is missing", it.wanted));
    let imported = manifest.steps().filter_map(|step| {
        let from = step.imported.as_ref()?;
        Some(format!(
            "{}@{} was not built with the release: it was imported from {from}",
            step.recipe, step.target
        ))
    });
    missing.chain(imported).map(|note| printable(&note)).collect()
}

fn unchecked(manifest: &Manifest, has_checkout: bool) -> Vec<String> {
    let mut list = vec![
        "that the actions give these outputs, and that environments and intermediates are what the manifest says: \
         `verify --rebuild` builds them again"
            .to_owned(),
    ];
    if !has_checkout {
        list.push("inputs, recipes, scripts, patches and policies: no checkout was compared with".to_owned());
        list.push(
            "the packages of environments in `bom.cdx.json`: the locks of a checkout name them".to_owned(),
        );
    }
    if manifest.schema == FIRST_SCHEMA {
        list.push(format!(
            "which scripts, patches and sources of the repository the release was made from, and whether wheels and AARs \
             are packed from their outputs: the schema `{FIRST_SCHEMA}` does not say"
        ));
    }
    list
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
        Ok(Schema { schema }) if ![SCHEMA, SECOND_SCHEMA, FIRST_SCHEMA].contains(&&*schema) => {
            problems.manifest(format!(
                "has the schema `{schema}`, and this program knows `{SCHEMA}`, `{SECOND_SCHEMA}` and `{FIRST_SCHEMA}`"
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
            problems.manifest(format!("is not a manifest: {error}"));
            None
        }
    }
}

/// A regular file's text. Errors: it is none, not UTF-8, or absurdly long.
fn read_text(path: &Path) -> Result<String> {
    let metadata = std::fs::symlink_metadata(path).context("is missing")?;
    anyhow::ensure!(metadata.is_file(), "is not a regular file");
    anyhow::ensure!(metadata.len() <= LARGEST_TEXT, "has {} bytes, which is absurd", metadata.len());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST_TEXT).read_to_string(&mut text))
        .context("cannot be read")?;
    Ok(text)
}

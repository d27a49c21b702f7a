//! What is in the archives, against the manifest.

use super::{Found, Problems, is_safe};
use crate::{Artifact, Manifest};
use anyhow::{Context, Result};
use artifact::{Content, Kind, Limits, Member, list_archive};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
};

/// Members beyond the manifest's that are still named one by one.
const EXTRA: usize = 100;

/// Every archive holds exactly the members that the manifest names, with its digests.
pub fn check(
    directory: &Path,
    found: &BTreeMap<String, Found>,
    manifest: &Manifest,
    problems: &mut Problems,
) {
    for artifact in &manifest.artifacts {
        let name = artifact.archive.path.as_str();
        // What is missing, or leads elsewhere, was told before.
        if !is_safe(name) || !matches!(found.get(name), Some(Found::File(_))) {
            continue;
        }
        match members(directory, artifact) {
            Ok(members) => compare(artifact, members, problems),
            Err(error) => problems.add(name, format!("{error:#}")),
        }
    }
}

fn members(directory: &Path, artifact: &Artifact) -> Result<Vec<Member>> {
    let kind = Kind::of(&artifact.archive.path).context("has a name that no archive has")?;
    let file = File::open(directory.join(&artifact.archive.path)).context("cannot be read")?;
    // A forged archive may be a bomb: it may unpack to what the manifest lists, and little more.
    let bytes = artifact.files.iter().fold(1 << 20, |sum: u64, file| sum.saturating_add(file.size));
    let members = artifact.files.len() + artifact.links.len() + EXTRA;
    list_archive(file, kind, Limits { bytes, members })
}

fn compare(artifact: &Artifact, members: Vec<Member>, problems: &mut Problems) {
    let archive = artifact.archive.path.as_str();
    let top = artifact.top();
    let files = artifact.files.iter().map(|file| {
        // A digest that is none was told before; the member is named here once more, as different.
        let content = match file.digest() {
            Ok(digest) => Content::File { digest, executable: file.executable },
            Err(_) => Content::Directory,
        };
        (file.path.as_str(), content)
    });
    let links =
        artifact.links.iter().map(|(path, target)| (path.as_str(), Content::Link { target: target.clone() }));
    let expected: BTreeMap<String, Content> =
        files.chain(links).map(|(path, content)| (format!("{top}{path}"), content)).collect();
    let mut seen = BTreeSet::new();
    for member in members {
        let path = &member.path;
        match expected.get(path) {
            None => problems.add(archive, format!("holds `{path}`, which is not in the manifest")),
            Some(content) if *content != member.content => {
                let what = difference(content, &member.content);
                problems.add(archive, format!("holds another `{path}` than the manifest says: {what}"));
            }
            Some(_) => {}
        }
        if !seen.insert(member.path.clone()) {
            problems.add(archive, format!("holds `{path}` twice"));
        }
    }
    for path in expected.keys().filter(|path| !seen.contains(*path)) {
        problems.add(archive, format!("lacks `{path}`"));
    }
}

fn difference(expected: &Content, found: &Content) -> String {
    match (expected, found) {
        (Content::File { digest: a, .. }, Content::File { digest: b, .. }) if a != b => {
            format!("its sha256 is {}, not {}", b.hex(), a.hex())
        }
        (Content::File { .. }, Content::File { executable: true, .. }) => "it is executable".to_owned(),
        (Content::File { .. }, Content::File { .. }) => "it is not executable".to_owned(),
        (Content::Link { target: a }, Content::Link { target: b }) => {
            format!("it is a link to `{b}`, not to `{a}`")
        }
        _ => "it is of another kind".to_owned(),
    }
}

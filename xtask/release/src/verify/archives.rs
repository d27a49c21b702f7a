//! What is in the archives, against the manifest: the members, and every byte around them.

use super::{Found, Problems, packed};
use crate::{Artifact, Manifest, names::why_unsafe};
use anyhow::{Context, Result};
use artifact::{Content, Kind, Limits, Listing, Member, list_in_form};
use builder::Recipe;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
};

/// Members beyond the manifest's that are still named one by one.
const EXTRA: usize = 100;

/// Every archive is the one that this program writes of the members that the manifest names. Gives the number of members
/// that were read. `recipe` finds an artifact's recipe where there is a checkout.
pub fn check<'a>(
    directory: &Path,
    found: &BTreeMap<String, Found>,
    manifest: &Manifest,
    recipe: &dyn Fn(&Artifact) -> Option<&'a Recipe>,
    problems: &mut Problems,
) -> usize {
    let mut count = 0;
    for artifact in &manifest.artifacts {
        let name = artifact.archive.path.as_str();
        // What is missing, or leads elsewhere, was told before.
        if why_unsafe(name).is_some() || !matches!(found.get(name), Some(Found::File(_))) {
            continue;
        }
        match list(directory, artifact) {
            Ok(listing) => {
                count += listing.members.len();
                compare(artifact, &listing, problems);
                packed::check(artifact, &listing.kept, recipe(artifact), problems);
            }
            Err(error) => problems.add(name, format!("{error:#}")),
        }
    }
    count
}

fn list(directory: &Path, artifact: &Artifact) -> Result<Listing> {
    let kind = Kind::of(&artifact.archive.path).context("has a name that no archive has")?;
    let file = File::open(directory.join(&artifact.archive.path)).context("cannot be read")?;
    // A forged archive may be a bomb: it may unpack to what the manifest lists, and little more.
    let bytes = artifact.files.iter().fold(1 << 20, |sum: u64, file| sum.saturating_add(file.size));
    let members = artifact.files.len() + artifact.links.len() + EXTRA;
    list_in_form(&file, kind, Limits { bytes, members }, &packed::wanted(artifact))
}

fn compare(artifact: &Artifact, listing: &Listing, problems: &mut Problems) {
    let archive = artifact.archive.path.as_str();
    let before = problems.0.len();
    members(artifact, &listing.members, problems);
    if problems.0.len() > before {
        return;
    }
    let expected = packed::order(artifact);
    let found = listing.members.iter().map(|member| member.path.as_str());
    if let Some((there, here)) = found.zip(&expected).find(|(there, here)| there != here) {
        problems
            .add(archive, format!("has its members in another order: `{there}` where `{here}` should be"));
    } else if let Some(deviation) = &listing.deviation {
        problems
            .add(archive, format!("is not the archive that mlc-repro writes of these members: {deviation}"));
    }
}

fn members(artifact: &Artifact, found: &[Member], problems: &mut Problems) {
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
    for member in found {
        let path = &member.path;
        match expected.get(path) {
            None => problems.add(archive, format!("holds `{path}`, which is not in the manifest")),
            Some(content) if *content != member.content => {
                let what = difference(content, &member.content);
                problems.add(archive, format!("holds another `{path}` than the manifest says: {what}"));
            }
            Some(_) => {}
        }
        if !seen.insert(path) {
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

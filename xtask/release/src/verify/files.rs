//! What is in the directory, against the manifest and `SHA256SUMS`.

use super::{Problems, read_text};
use crate::{Manifest, names::why_unsafe, provenance::Companion};
use anyhow::{Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use store::Digest;

/// What stands at a path of a release directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A regular file, and its size in bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A link, a device, …
    Other,
}

/// Everything below a directory, links not followed. Errors: something can't be looked at.
pub(crate) fn list(directory: &Path) -> Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    let mut open = vec![String::new()];
    while let Some(prefix) = open.pop() {
        let path = directory.join(&prefix);
        let entries = std::fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
            let metadata =
                entry.metadata().with_context(|| format!("cannot look at {}", entry.path().display()))?;
            // A name that is not UTF-8 becomes one that no manifest may hold.
            let name = entry
                .file_name()
                .into_string()
                .unwrap_or_else(|name| format!("{}\u{0}", name.as_encoded_bytes().escape_ascii()));
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if metadata.is_dir() && !name.contains('\0') {
                open.push(name.clone());
            }
            let kind = match metadata.is_dir() {
                true => Found::Directory,
                false if metadata.is_file() => Found::File(metadata.len()),
                false => Found::Other,
            };
            found.insert(name, kind);
        }
    }
    Ok(found)
}

/// Every file of the manifest is there with its digest, and nothing else is but files that may stand `beside` them.
pub(crate) fn check_files(
    directory: &Path,
    found: &BTreeMap<String, Found>,
    manifest: &Manifest,
    beside: &BTreeMap<String, Companion>,
    problems: &mut Problems,
) -> Result<()> {
    let mut expected = BTreeSet::from(["release.json", "SHA256SUMS"]);
    expected.extend(
        beside.keys().map(String::as_str).filter(|name| matches!(found.get(*name), Some(Found::File(_)))),
    );
    // By digest, to tell a renamed file from a lost one.
    let mut lost: BTreeMap<&str, &str> = BTreeMap::new();
    for file in manifest.files() {
        let name = file.path.as_str();
        if why_unsafe(name).is_some() {
            // Told by the check of the manifest itself; never opened.
            continue;
        }
        expected.insert(name);
        match found.get(name) {
            None => {
                lost.insert(&file.sha256, name);
                problems.add(name, "is missing");
            }
            Some(Found::Directory | Found::Other) => problems.add(name, "is not a regular file"),
            Some(Found::File(size)) if *size != file.size => {
                problems.add(name, format!("changed: it has {size} bytes, not {}", file.size));
            }
            Some(Found::File(_)) => {
                let sha256 = Digest::of_file(&directory.join(name))?.hex();
                if sha256 != file.sha256 {
                    let owner = manifest.files().find(|other| other.sha256 == sha256);
                    let whose = owner.map_or_else(String::new, |other| format!(", that of `{}`", other.path));
                    problems
                        .add(name, format!("changed: its sha256 is {sha256}{whose}, not {}", file.sha256));
                }
            }
        }
    }
    for (name, kind) in found.iter().filter(|(name, _)| !expected.contains(name.as_str())) {
        match kind {
            Found::Directory => {
                let below = format!("{name}/");
                if !expected.iter().any(|path| path.starts_with(&below)) {
                    problems.add(name, "is a directory that the manifest does not name");
                }
            }
            Found::Other => problems.add(name, "is neither in the manifest nor a regular file"),
            Found::File(size) => {
                let renamed = manifest.files().any(|file| file.size == *size)
                    && !name.contains('\0')
                    && !lost.is_empty();
                let was = match renamed {
                    true => lost.get(Digest::of_file(&directory.join(name))?.hex().as_str()).copied(),
                    false => None,
                };
                match was {
                    Some(was) => {
                        problems.add(name, format!("is not in the manifest; it is `{was}`, renamed"))
                    }
                    None => problems.add(name, "is not in the manifest"),
                }
            }
        }
    }
    Ok(())
}

/// `SHA256SUMS` says what the manifest says, in its one way to be written.
pub(crate) fn check_checksums(directory: &Path, manifest: &Manifest, json: &str, problems: &mut Problems) {
    const FILE: &str = "SHA256SUMS";
    let text = match read_text(&directory.join(FILE)) {
        Ok(text) => text,
        Err(error) => return problems.add(FILE, format!("{error:#}")),
    };
    let canonical = manifest.checksums(json);
    if text == canonical {
        return;
    }
    let before = problems.0.len();
    let expected: BTreeMap<&str, &str> = canonical.lines().filter_map(parse).collect();
    let mut seen = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((name, sha256)) = parse(line) else {
            problems.add(FILE, format!("line {} is not a checksum", number + 1));
            continue;
        };
        if seen.insert(name, sha256).is_some() {
            problems.add(FILE, format!("names `{name}` twice"));
        }
        match expected.get(name) {
            None => problems.add(FILE, format!("names `{name}`, which is not in the manifest")),
            Some(other) if *other != sha256 => {
                problems.add(FILE, format!("has {sha256} for `{name}`, where it should be {other}"));
            }
            Some(_) => {}
        }
    }
    for name in expected.keys().filter(|name| !seen.contains_key(*name)) {
        problems.add(FILE, format!("does not name `{name}`"));
    }
    if problems.0.len() == before {
        problems.add(FILE, "is not written canonically (sorted by name, one newline after each line)");
    }
}

/// `HEX  NAME` to `(NAME, HEX)`.
fn parse(line: &str) -> Option<(&str, &str)> {
    let (sha256, name) = line.split_once("  ")?;
    (Digest::from_hex(sha256, 0).is_ok() && !name.is_empty()).then_some((name, sha256))
}

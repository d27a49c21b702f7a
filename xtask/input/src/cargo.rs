//! The crates of a `Cargo.lock`, kept as one packed tree that cargo takes for a directory source: a build without a network
//! gets all of them at once.
//!
//! Cargo itself fetches, so that its registries, mirrors and credentials count; each crate must have the checksum of its lock.

use crate::{Format, Input, Part, Source, index, pack, unpack};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};
use store::{Digest, Entry, Store, Tree};

/// More crates than any program that we build needs.
const MOST_CRATES: usize = 2_000;

/// A crate of a registry, written `NAME VERSION SHA256`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its file, hexadecimal.
    pub sha256: String,
}

impl TryFrom<String> for Crate {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [name, version, sha256] = words[..] else { bail!("`{text}` is not `NAME VERSION SHA256`") };
        // They become names of directories.
        let is_plain = |word: &str, also: &str| {
            word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
        };
        ensure!(is_plain(name, "_-") && is_plain(version, ".+-_"), "`{text}` names no crate");
        Digest::from_hex(sha256, 0).with_context(|| format!("`{text}` has a bad checksum"))?;
        Ok(Self { name: name.to_owned(), version: version.to_owned(), sha256: sha256.to_owned() })
    }
}

impl From<Crate> for String {
    fn from(value: Crate) -> Self {
        format!("{} {} {}", value.name, value.version, value.sha256)
    }
}

#[derive(Deserialize)]
struct CargoLock {
    #[serde(default, rename = "package")]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// The crates that a `Cargo.lock` takes from a registry, sorted. Errors: it is no such file; a package is from elsewhere than a
/// registry, or has no checksum; there is none at all.
pub fn read(path: &Path) -> Result<Vec<Crate>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lock: CargoLock =
        toml::from_str(&text).with_context(|| format!("{} is not a Cargo.lock", path.display()))?;
    let mut crates = Vec::new();
    for Package { name, version, source, checksum } in lock.packages {
        // What has no source is a directory beside the lock, which the recipe brings.
        let Some(source) = source else { continue };
        ensure!(
            source.starts_with("registry+") || source.starts_with("sparse+"),
            "{}: `{name}` comes from `{source}`, and only crates of a registry can be pinned by a Cargo.lock",
            path.display()
        );
        let checksum =
            checksum.with_context(|| format!("{}: `{name}` {version} has no checksum", path.display()))?;
        let line = format!("{name} {version} {checksum}");
        crates.push(Crate::try_from(line).with_context(|| format!("in {}", path.display()))?);
    }
    crates.sort();
    crates.dedup();
    check(&crates).with_context(|| format!("in {}", path.display()))?;
    Ok(crates)
}

/// What must hold for every list of crates.
pub fn check(crates: &[Crate]) -> Result<()> {
    ensure!(!crates.is_empty(), "there is no crate of a registry");
    ensure!(crates.len() <= MOST_CRATES, "there are more than {MOST_CRATES} crates");
    let sorted =
        crates.windows(2).all(|two| (&two[0].name, &two[0].version) < (&two[1].name, &two[1].version));
    ensure!(sorted, "the crates must be sorted, each version once");
    Ok(())
}

/// Fetches crates and packs them; what a lock holds.
pub fn resolve(store: &Store, name: &str, crates: Vec<Crate>) -> Result<Input> {
    let digest = assemble(store, &crates)?;
    Ok(Input { name: name.to_owned(), digest, source: Source::Cargo { crates } })
}

/// Fetches locked crates into the store. Errors: cargo can't get one; one has another checksum.
pub fn fetch(store: &Store, input: &Input) -> Result<()> {
    let Source::Cargo { crates } = &input.source else { bail!("`{}` is not a list of crates", input.name) };
    let packed = assemble(store, crates)?;
    ensure!(packed == input.digest, "the packed crates have sha256 {}, not that of the lock", packed.hex());
    Ok(())
}

fn assemble(store: &Store, crates: &[Crate]) -> Result<Digest> {
    let wanted: Vec<(&str, &str)> =
        crates.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect();
    let mut tree = Tree::new();
    for (one, file) in crates.iter().zip(index::crate_files(&wanted)?) {
        let Crate { name, version, sha256 } = one;
        let digest = store.put_file(&file)?;
        ensure!(
            digest.hex() == *sha256,
            "crate `{name}` {version} has sha256 {}, not that of the lock",
            digest.hex()
        );
        let part = Part { strip: 1, subtrees: Vec::new() };
        let content = unpack(store, &digest, Format::Tar, &part)
            .with_context(|| format!("in crate `{name}` {version}"))?;
        tree.merge(&format!("{name}-{version}"), &content)?;
        // Cargo wants this file in a directory source; the digest of the tree holds the files already.
        let checksums = BTreeMap::from([
            ("files", serde_json::Value::Object(serde_json::Map::new())),
            ("package", serde_json::Value::String(sha256.clone())),
        ]);
        let digest = store.put_bytes(&serde_json::to_vec(&checksums)?)?;
        let place = format!("{name}-{version}/.cargo-checksum.json");
        tree.insert(&place, Entry::File { digest, executable: false })?;
    }
    pack::pack(store, &tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4

[[package]]
name = "here"
version = "0.1.0"

[[package]]
name = "wasi"
version = "0.11.0+wasi-snapshot-preview1"
source = "registry+https://example.invalid/index"
checksum = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"

[[package]]
name = "adler2"
version = "2.0.0"
source = "registry+https://example.invalid/index"
checksum = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
"#;

    fn lock(text: &str) -> Result<Vec<Crate>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Cargo.lock");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_crates_of_registries_are_read_in_order() {
        let crates = lock(LOCK).unwrap();
        let names: Vec<_> = crates.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["adler2", "wasi"]);
        let line = String::from(crates[1].clone());
        assert_eq!(Crate::try_from(line).unwrap(), crates[1]);
    }

    #[test]
    fn what_a_lock_can_not_pin_is_refused() {
        let sum = "checksum = \"ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\"";
        for (from, to, expected) in [
            ("registry+https", "git+https", "only crates of a registry"),
            (sum, "", "has no checksum"),
            ("ed7002b4", "xx7002b4", "bad checksum"),
            ("\"adler2\"", "\"../adler2\"", "names no crate"),
            ("\"2.0.0\"", "\"2/0\"", "names no crate"),
            ("version = 4", "version = ", "is not a Cargo.lock"),
            (
                "name = \"adler2\"\nversion = \"2.0.0\"",
                "name = \"wasi\"\nversion = \"0.11.0+wasi-snapshot-preview1\"",
                "",
            ),
        ] {
            match lock(&LOCK.replace(from, to)) {
                // The same crate twice is once.
                Ok(crates) => assert!(expected.is_empty() && crates.len() == 1, "{crates:?}"),
                Err(error) => {
                    assert!(!expected.is_empty() && error.contains(expected), "{expected}: {error}")
                }
            }
        }
        assert!(lock("version = 4\n").unwrap_err().contains("no crate of a registry"));
        let twice = LOCK.replacen("ed7002b4", "ad7002b4", 1).replace(
            "\"adler2\"\nversion = \"2.0.0\"",
            "\"wasi\"\nversion = \"0.11.0+wasi-snapshot-preview1\"",
        );
        assert!(lock(&twice).unwrap_err().contains("each version once"));
    }
}

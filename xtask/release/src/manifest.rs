//! `release.json`: what a release holds, what it was made from, and how. No time, host, user or path of a machine.
//!
//! The text is canonical: keys sorted, two spaces of indentation, no floating-point numbers, one newline at the end.
//! [`crate::verify`] refuses any other writing of the same data.

use crate::Model;
use anyhow::{Context, Result};
use artifact::{Kind, WheelName};
use builder::{Cxx, Files, Node};
use input::Source;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::Digest;

/// The version of this format.
pub const SCHEMA: &str = "mlc-repro/release/3";

/// The version before: it has no bill of materials, and does not say what parts an artifact contains. It is still read.
pub const SECOND_SCHEMA: &str = "mlc-repro/release/2";

/// The first version: it also names no file of the repository, and what was packed as a wheel or AAR can't be held
/// against the outputs. It is still read.
pub const FIRST_SCHEMA: &str = "mlc-repro/release/1";

/// Who writes manifests, and in which version.
pub const PROGRAM: &str = concat!("mlc-repro ", env!("CARGO_PKG_VERSION"));

/// A release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`], [`SECOND_SCHEMA`] or [`FIRST_SCHEMA`].
    pub schema: String,
    /// [`PROGRAM`]: the name and version of the program that wrote it. Since the second schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The release's name.
    pub name: String,
    /// What is shipped, in the order of the definition.
    pub artifacts: Vec<Artifact>,
    /// What passed before: each a recipe that ran the artifacts.
    pub checks: Vec<Step>,
    /// What artifacts were built from and is not shipped.
    pub intermediates: Vec<Step>,
    /// Environments by name.
    pub environments: BTreeMap<String, EnvironmentFacts>,
    /// Locked inputs by name.
    pub inputs: BTreeMap<String, InputFacts>,
    /// The recipe side: files of the repository that the steps were made from ([`builder::made_from`]), and the
    /// definitions of the release and its models, by path. Since the second schema.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repository: Files,
    /// The script in the release directory that checks it without this program. Since the second schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<File>,
    /// The bill of materials ([`crate::BOM`]). Since the third schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bom: Option<File>,
    /// Converted models, in the order of the definition; left out when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// License texts, as files of the release directory.
    pub licenses: Vec<File>,
    /// What the release's definition asks for and this release lacks, since it was asked to be written all the same
    /// (`--partial`); left out when it is whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// What a partial release lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Missing {
    /// The artifact, check or model.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// The inputs that could not be had when the release was made.
    pub waits_for: Vec<String>,
}

/// Something that a release's definition asks for, by what it is known by there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wanted {
    /// An artifact or check.
    Step(Node),
    /// A converted model.
    Model {
        /// Its title ([`crate::Conversion::title`]).
        model: String,
    },
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Step(node) => node.fmt(f),
            Self::Model { model } => f.write_str(model),
        }
    }
}

/// A shipped artifact: an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// The archive in the release directory.
    pub archive: File,
    /// SPDX expression.
    pub license: String,
    /// The recipe's version.
    pub version: String,
    /// The policy that the files satisfy.
    pub policy: Option<PolicyFacts>,
    /// The C runtime and system headers that it was made with.
    pub sysroot: Option<String>,
    /// The checks (by recipe, for the same target) that ran it. Their environments say on what: `wine` is not Windows.
    pub checked_by: Vec<String>,
    /// The files in the archive, below its top directory, if it has one, sorted.
    pub files: Vec<File>,
    /// The symbolic links in the archive, with their texts.
    pub links: BTreeMap<String, String>,
    /// Of a wheel or an AAR, the step's outputs that it was packed from, sorted; else the outputs are the `files` and
    /// `links`, and this is left out. Since the second schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packed_from: Vec<File>,
    /// The C++ standard library that it was built with, where its recipe names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cxx: Option<Cxx>,
    /// What it contains of others, each with its license, sorted: one for each directory below its `licenses/`. Since
    /// the third schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Libraries that it bundles a copy of, with their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contains: BTreeMap<String, String>,
    /// Libraries that it needs beside it at run time, with the versions that it was built with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<String, String>,
    /// How it was made.
    pub step: Step,
}

/// Something that an artifact contains: linked in, or as headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The directory below the artifact's `licenses/`.
    pub name: String,
    /// SPDX expression.
    pub license: String,
    /// The locked input that holds its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

/// An action that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The recipe.
    pub recipe: String,
    /// The LLVM triple.
    pub target: String,
    /// Digest of the REAPI `Action`.
    pub action: Digest,
    /// Root of the output tree (REAPI `Directory`).
    pub outputs: Digest,
    /// The environment that it ran in.
    pub environment: String,
    /// Locked inputs of its own.
    pub inputs: Vec<String>,
    /// Recipes for the same target whose outputs it used.
    pub dependencies: Vec<String>,
    /// Paths in [`Manifest::repository`], sorted. Since the second schema.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_from: Vec<String>,
    /// Who made the outputs, when they were imported and not built here: a name that the importer gave. Left out of what
    /// was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<String>,
}

impl Step {
    /// What it was a step of. Errors: the manifest has no names there.
    pub fn node(&self) -> Result<Node> {
        Node::parse(&self.recipe, &self.target)
    }
}

/// What the files were examined for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFacts {
    /// `recipes/policies/NAME.toml`.
    pub name: String,
    /// The digest of its text, with what it includes ([`artifact::Policy::load`]).
    pub text: Digest,
}

/// A file by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path, relative.
    pub path: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Whether it is a program; left out when it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// What an environment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentFacts {
    /// Root of the tree (REAPI `Directory`).
    pub tree: Digest,
    /// The Nix archive's hash of the same tree.
    pub nar: String,
    /// The lock file that says which packages it is made of.
    pub lock: Digest,
}

/// What an input is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFacts {
    /// Where it comes from, in its ecosystem's terms.
    pub source: Source,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl File {
    /// A file at a path.
    pub fn new(path: &str, digest: &Digest) -> Self {
        Self { path: path.to_owned(), sha256: digest.hex(), size: digest.size, executable: false }
    }

    /// Its content. Errors: the manifest holds something else than a SHA-256.
    pub fn digest(&self) -> Result<Digest> {
        Digest::from_hex(&self.sha256, self.size)
    }
}

impl Artifact {
    /// The wheel's name, when it is one.
    pub fn wheel(&self) -> Option<WheelName> {
        let stem = self.archive.path.strip_suffix(".whl")?;
        WheelName::parse(stem)
    }

    /// `NAME-VERSION-TARGET`, or a wheel's name: the archive's name without extension, and the name below `licenses/`.
    pub fn title(&self) -> String {
        match self.wheel() {
            Some(wheel) => wheel.stem(),
            None => format!("{}-{}-{}", self.step.recipe, self.version, self.step.target),
        }
    }

    /// What every path in the archive begins with: the title. Wheels have no top directory.
    pub fn top(&self) -> String {
        match self.wheel() {
            Some(_) => String::new(),
            None => self.title() + "/",
        }
    }

    /// The license texts in the archive: where they stand in the release directory, and what they are.
    pub fn licenses(&self) -> impl Iterator<Item = File> {
        let title = self.title();
        let place = match self.wheel() {
            Some(wheel) => wheel.information() + "/licenses/",
            None => "licenses/".to_owned(),
        };
        self.files.iter().filter_map(move |file| {
            let rest = file.path.strip_prefix(&place)?;
            Some(File { path: format!("licenses/{title}/{rest}"), executable: false, ..file.clone() })
        })
    }
}

/// The kind of archive that a target's users can open with what their system has.
pub fn archive_kind(target: &str) -> Kind {
    if target.contains("-windows-") { Kind::Zip } else { Kind::TarGz }
}

impl Manifest {
    /// The canonical text.
    pub fn to_json(&self) -> Result<String> {
        let value = canonical(serde_json::to_value(self).context("cannot write the manifest")?);
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    /// Every step: of artifacts, checks and intermediates.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.artifacts.iter().map(|artifact| &artifact.step).chain(&self.checks).chain(&self.intermediates)
    }

    /// Every file of the release directory but the manifest and the checksums.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        let models = self.models.iter().flat_map(|model| &model.files);
        let archives = self.artifacts.iter().map(|artifact| &artifact.archive);
        archives.chain(models).chain(&self.licenses).chain(&self.verifier).chain(&self.bom)
    }

    /// Every file of the release directory, by its path. `json` is the manifest's own text.
    pub(crate) fn whole(&self, json: &str) -> BTreeMap<String, File> {
        let checksums = self.checksums(json);
        let own = [("release.json", json), ("SHA256SUMS", checksums.as_str())];
        let own = own.map(|(path, text)| File::new(path, &Digest::of(text.as_bytes())));
        self.files().cloned().chain(own).map(|file| (file.path.clone(), file)).collect()
    }

    /// `SHA256SUMS`: `HEX  PATH` lines sorted by path, as `sha256sum -c --strict` reads them. `json` is the manifest's
    /// own text.
    pub fn checksums(&self, json: &str) -> String {
        let mut lines: BTreeMap<&str, String> =
            self.files().map(|file| (file.path.as_str(), file.sha256.clone())).collect();
        lines.insert("release.json", Digest::of(json.as_bytes()).hex());
        lines.iter().map(|(path, sha256)| format!("{sha256}  {path}\n")).collect()
    }
}

/// The same value with all keys sorted.
pub(crate) fn canonical(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let map: BTreeMap<_, _> = map.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            serde_json::Value::Object(map.into_iter().collect())
        }
        serde_json::Value::Array(list) => list.into_iter().map(canonical).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    /// Whoever changes this text changes the format: raise [`SCHEMA`]. `UPDATE_TABLE=1` writes it.
    #[test]
    fn the_text_is_golden() {
        let (_directory, _store, manifest) = example::release();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/manifest/golden.json");
        let json = manifest.to_json().unwrap();
        if std::env::var_os("UPDATE_TABLE").is_some() {
            std::fs::write(path, &json).unwrap();
        }
        assert_eq!(json, std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn the_checksums_are_sorted_and_name_every_file() {
        let (_directory, _store, manifest) = example::release();
        let json = manifest.to_json().unwrap();
        let checksums = manifest.checksums(&json);
        let names: Vec<_> = checksums.lines().map(|line| &line[66..]).collect();
        assert_eq!(
            names,
            [
                "bom.cdx.json",
                example::ARCHIVE,
                "hello-1.0-x86_64-unknown-linux-gnu.tar.gz",
                "licenses/hello-1.0-x86_64-pc-windows-msvc/LICENSE",
                "licenses/hello-1.0-x86_64-unknown-linux-gnu/LICENSE",
                "release.json",
                "verify.py"
            ]
        );
        assert!(checksums.contains(&format!("{}  release.json\n", Digest::of(json.as_bytes()).hex())));
    }

    #[test]
    fn a_text_reads_back_and_unknown_fields_do_not() {
        let (_directory, _store, manifest) = example::release();
        let json = manifest.to_json().unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
        let more = json.replacen("{\n", "{\n  \"author\": \"me\",\n", 1);
        let error = serde_json::from_str::<Manifest>(&more).unwrap_err().to_string();
        assert!(error.contains("unknown field `author`"), "{error}");
    }
}

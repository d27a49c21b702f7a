//! Provenance: for each artifact and model, and for the release as a whole, one in-toto statement of what it was made from (SLSA
//! provenance, version 1), in an envelope with the signatures of all who built it.
//!
//! A statement is a function of `release.json` alone: no time, no host, no name of who signs. So builders who got the same
//! release sign the same bytes, and `verify` compares with what it writes itself.

mod attest;
mod collect;
mod statement;

pub use attest::{Attested, attest, clear, merge, sign_model, sign_models};
pub(crate) use attest::{comment, read};
pub use collect::{check_change, collected, release_name};

use crate::Manifest;
use anyhow::Result;
use signature::ModelStatement;
use std::collections::BTreeMap;

/// The directory of provenance in a release.
pub const DIRECTORY: &str = "provenance";

/// The signature of `SHA256SUMS`, for `minisign -V`.
pub const CHECKSUMS_SIGNATURE: &str = "SHA256SUMS.minisig";

/// The most that a file of a signature may have, in bytes.
pub const LARGEST: u64 = 64 << 20;

/// What the name of an envelope ends with.
const ENVELOPE: &str = ".intoto.jsonl";

/// Whether a path is of a signature, or of their directory.
pub fn is_signature(path: &str) -> bool {
    path == CHECKSUMS_SIGNATURE
        || path.strip_prefix(DIRECTORY).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What may stand in a release beside what its manifest names, by path: it is made after the manifest, and vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Companion {
    /// An envelope around this statement.
    Envelope {
        /// The artifact or model that it is about, by its title, or the release.
        about: About,
        /// The statement.
        statement: Vec<u8>,
    },
    /// A signature of `SHA256SUMS`.
    Checksums,
    /// A signature of the files of a model, for `model_signing`.
    Model(ModelStatement),
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The whole release.
    Release,
    /// An artifact, by its title.
    Artifact(String),
    /// A converted model, by its title.
    Model(String),
}

impl About {
    /// The title, or `release`.
    pub fn name(&self) -> &str {
        match self {
            Self::Release => "release",
            Self::Artifact(title) | Self::Model(title) => title,
        }
    }
}

/// Everything that may stand beside what a manifest names. `json` is the manifest's own text.
///
/// # Errors
/// If the manifest can't be written as JSON.
pub fn companions(manifest: &Manifest, json: &str) -> Result<BTreeMap<String, Companion>> {
    let mut companions = BTreeMap::from([(CHECKSUMS_SIGNATURE.to_owned(), Companion::Checksums)]);
    let mut add = |name: &str, about: About, statement: Vec<u8>| {
        let companion = Companion::Envelope { about, statement };
        companions.insert(format!("{DIRECTORY}/{name}{ENVELOPE}"), companion);
    };
    add("release", About::Release, statement::of_release(manifest, json)?);
    for artifact in &manifest.artifacts {
        let statement = statement::of_artifact(manifest, artifact);
        add(&artifact.archive.path, About::Artifact(artifact.title()), statement);
    }
    for model in &manifest.models {
        let title = model.conversion.title();
        add(&title, About::Model(title.clone()), statement::of_model(manifest, model));
    }
    for model in &manifest.models {
        let name = model.conversion.title();
        let files = model.files.iter().filter_map(|file| {
            Some((file.path.strip_prefix(&format!("{name}/"))?.to_owned(), file.sha256.clone()))
        });
        let statement = ModelStatement { files: files.collect(), name: name.clone() };
        companions.insert(format!("{DIRECTORY}/{name}.sig"), Companion::Model(statement));
    }
    Ok(companions)
}

#[cfg(test)]
mod others;
#[cfg(test)]
mod tests;

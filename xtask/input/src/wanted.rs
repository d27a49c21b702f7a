//! What `recipes/inputs.toml` asks for.

use crate::{MicrosoftSdk, Source, cargo};
use anyhow::Result;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// `recipes/inputs.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    #[serde(rename = "input")]
    pub inputs: Vec<Wanted>,
}

/// One entry of `recipes/inputs.toml`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Wanted {
    Pypi {
        name: String,
        package: String,
        version: String,
        file: String,
    },
    DebianSource {
        name: String,
        suite: String,
        package: String,
        suffix: String,
    },
    Crate {
        name: String,
        package: String,
        version: String,
    },
    /// The crates of a lock of cargo's, a path beside this file.
    Cargo {
        name: String,
        lock: PathBuf,
    },
    Npm {
        name: String,
        package: String,
        version: String,
    },
    Git {
        name: String,
        url: String,
        revision: String,
        #[serde(default)]
        submodules: Vec<String>,
    },
    Https {
        name: String,
        urls: Vec<String>,
        size: u64,
        sha256: String,
    },
    MicrosoftSdk {
        name: String,
        release: MicrosoftSdk,
    },
}

impl Wanted {
    pub fn name(&self) -> &str {
        match self {
            Self::Pypi { name, .. }
            | Self::DebianSource { name, .. }
            | Self::Crate { name, .. }
            | Self::Cargo { name, .. }
            | Self::Npm { name, .. }
            | Self::Git { name, .. }
            | Self::Https { name, .. }
            | Self::MicrosoftSdk { name, .. } => name,
        }
    }

    /// Errors: it can't be what it should be, whoever answers it.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::MicrosoftSdk { release, .. } => release.check(),
            _ => Ok(()),
        }
    }

    /// Whether it comes from elsewhere than the package registries, and so may stay pending.
    pub fn may_wait(&self) -> bool {
        matches!(self, Self::Git { .. } | Self::MicrosoftSdk { .. })
    }

    /// Whether a locked source is what is asked for, by an intent in `directory`. Errors: a lock that it names can't be read.
    pub fn is_answered_by(&self, source: &Source, directory: &Path) -> Result<bool> {
        Ok(match (self, source) {
            (Self::Cargo { lock, .. }, Source::Cargo { crates }) => {
                cargo::read(&directory.join(lock))? == *crates
            }
            (Self::Pypi { package, version, file, .. }, Source::Pypi { package: p, version: v, file: f }) => {
                (package, version, file) == (p, v, f)
            }
            (Self::DebianSource { package, .. }, Source::DebianSource { package: p, .. }) => package == p,
            (Self::Crate { package, version, .. }, Source::Crate { package: p, version: v }) => {
                (package, version) == (p, v)
            }
            (Self::Npm { package, version, .. }, Source::Npm { package: p, version: v }) => {
                (package, version) == (p, v)
            }
            (
                Self::Git { url, revision, submodules, .. },
                Source::Git { url: u, revision: r, submodules: locked, .. },
            ) => {
                let wanted: BTreeSet<&String> = submodules.iter().collect();
                (url, revision) == (u, r) && wanted.iter().copied().eq(locked.iter().map(|part| &part.path))
            }
            (Self::MicrosoftSdk { release, .. }, Source::MicrosoftSdk { release: locked, .. }) => {
                release == locked
            }
            (Self::Https { urls, .. }, Source::Https { urls: locked, .. }) => urls == locked,
            _ => false,
        })
    }
}

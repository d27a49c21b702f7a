//! `containers/NAME.toml`: the packages of an environment, and what maintainer scripts would have done, as data.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::path::Path;

/// An environment as it is asked for. Its packages, with versions and digests, stand in the lock beside it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What it is for, for listings.
    #[serde(default)]
    pub description: String,
    /// The Debian suite.
    #[serde(default)]
    pub suite: String,
    /// The Debian architecture.
    #[serde(default)]
    pub architecture: String,
    /// Packages, without versions.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Another file of fix-ups that come first, beside this one.
    pub include: Option<String>,
    /// Paths that are taken out, with all below them. A last component `*` takes every entry of a directory.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Directories that must exist, such as mount points.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Files with a text.
    #[serde(default, rename = "file")]
    pub files: Vec<TextFile>,
    /// Symbolic links.
    #[serde(default, rename = "link")]
    pub links: Vec<Link>,
    /// Files made of all files of a directory, in the order of their names.
    #[serde(default, rename = "concatenation")]
    pub concatenations: Vec<Concatenation>,
    /// Copies, with some bytes replaced.
    #[serde(default, rename = "copy")]
    pub copies: Vec<Copy>,
}

/// A file with a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFile {
    /// Where it stands.
    pub path: String,
    /// Its content.
    pub text: String,
    /// Whether it is a program.
    #[serde(default)]
    pub executable: bool,
}

/// A symbolic link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where it stands.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// A file made of others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concatenation {
    /// Where it stands.
    pub path: String,
    /// The directory whose files, in all its depth, are put one after the other.
    pub directory: String,
}

/// A copy of a file of the environment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copy {
    /// Where it stands.
    pub path: String,
    /// What is copied.
    pub from: String,
    /// Bytes to write over those at `offset`, as text.
    #[serde(default)]
    pub overwrite: String,
    /// Where `overwrite` goes.
    #[serde(default)]
    pub offset: usize,
    /// How many zero bytes follow `overwrite`.
    #[serde(default)]
    pub zeros: usize,
}

impl Definition {
    /// Reads a definition and what it includes.
    pub fn load(path: &Path) -> Result<Self> {
        let mut definition = Self::parse(path)?;
        ensure!(!definition.packages.is_empty(), "{} asks for no packages", path.display());
        if let Some(name) = definition.include.take() {
            let common = Self::parse(&path.with_file_name(&name))
                .with_context(|| format!("included by {}", path.display()))?;
            definition.prepend(common);
        }
        Ok(definition)
    }

    fn parse(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not an environment", path.display()))
    }

    fn prepend(&mut self, common: Self) {
        fn before<T>(list: &mut Vec<T>, mut first: Vec<T>) {
            first.append(list);
            *list = first;
        }
        before(&mut self.remove, common.remove);
        before(&mut self.directories, common.directories);
        before(&mut self.files, common.files);
        before(&mut self.links, common.links);
        before(&mut self.concatenations, common.concatenations);
        before(&mut self.copies, common.copies);
    }
}

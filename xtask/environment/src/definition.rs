//! `containers/NAME.toml`: the packages of an environment, and what maintainer scripts would have done, as data.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Variables that say what is built and how fast, so that no environment can set them.
const OF_A_BUILD: [&str; 3] = ["JOBS", "TARGET", "VERSION"];

/// An environment as it is asked for. Its packages, with versions and digests, stand in the lock beside it.
///
/// What is serialised are the fix-ups alone: they, and the packages of the lock, decide about the tree.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What it is for, for listings.
    #[serde(default, skip_serializing)]
    pub description: String,
    /// The Debian suite.
    #[serde(default, skip_serializing)]
    pub suite: String,
    /// More suites: where one has a newer version of a package, that is taken, as apt does (`trixie-updates`,
    /// `trixie-security`). Of a suite that is not automatic (backports), only what `suite_of` names is.
    #[serde(default, skip_serializing)]
    pub suites: Vec<String>,
    /// Source packages whose packages come from another suite: `rustc = "trixie-backports"` for the compiler, its library and
    /// cargo.
    #[serde(default, skip_serializing)]
    pub suite_of: BTreeMap<String, String>,
    /// The Debian architecture.
    #[serde(default, skip_serializing)]
    pub architecture: String,
    /// Packages, without versions.
    #[serde(default, skip_serializing)]
    pub packages: Vec<String>,
    /// The variables of everything that runs in it, such as PATH: builds, shells, images.
    #[serde(default, skip_serializing)]
    pub variables: BTreeMap<String, String>,
    /// Another file of variables and fix-ups that come first, beside this one.
    #[serde(skip_serializing)]
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
#[derive(Clone, Debug, Deserialize, Serialize)]
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
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where it stands.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// A file made of others.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Concatenation {
    /// Where it stands.
    pub path: String,
    /// The directory whose files, in all its depth, are put one after the other.
    pub directory: String,
}

/// A copy of a file of the environment.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// Reads a definition and what it includes. Errors: the file can't be read, has keys that are not known, or asks for
    /// no packages; the included one has anything but variables and fix-ups; a variable can't be set by an environment.
    pub fn load(path: &Path) -> Result<Self> {
        let mut definition = Self::parse(path)?;
        ensure!(!definition.packages.is_empty(), "{} asks for no packages", path.display());
        let named = definition.suite_of.iter().flat_map(|(source, suite)| [source, suite]);
        for name in definition.suites.iter().chain(named) {
            let is_name = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+_./".contains(&byte));
            ensure!(
                is_name,
                "{} has `{}`, which is neither a suite nor a source package",
                path.display(),
                name.escape_debug()
            );
        }
        if let Some(name) = definition.include.take() {
            let path = path.with_file_name(&name);
            let common = Self::parse(&path).with_context(|| format!("included by {}", path.display()))?;
            let only_fix_ups = common.packages.is_empty() && common.include.is_none();
            ensure!(
                only_fix_ups,
                "{} is included, so it may hold variables and fix-ups only",
                path.display()
            );
            definition.prepend(common);
        }
        for name in definition.variables.keys() {
            ensure!(
                !name.is_empty() && !name.contains(['=', '\0']) && !OF_A_BUILD.contains(&name.as_str()),
                "{} sets the variable `{}`, which an environment can't set",
                path.display(),
                name.escape_debug()
            );
        }
        Ok(definition)
    }

    fn parse(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not an environment", path.display()))
    }

    /// The fix-ups as one canonical text, for keys.
    pub(crate) fn fix_ups(&self) -> Result<String> {
        toml::to_string(self).context("cannot write the fix-ups as TOML")
    }

    fn prepend(&mut self, common: Self) {
        fn before<T>(list: &mut Vec<T>, mut first: Vec<T>) {
            first.append(list);
            *list = first;
        }
        let own = std::mem::replace(&mut self.variables, common.variables);
        self.variables.extend(own);
        before(&mut self.remove, common.remove);
        before(&mut self.directories, common.directories);
        before(&mut self.files, common.files);
        before(&mut self.links, common.links);
        before(&mut self.concatenations, common.concatenations);
        before(&mut self.copies, common.copies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(own: &str, common: &str) -> Result<Definition> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("own.toml"), own)?;
        std::fs::write(directory.path().join("common.toml"), common)?;
        Definition::load(&directory.path().join("own.toml"))
    }

    #[test]
    fn included_fix_ups_come_first() {
        let definition = load(
            "include = 'common.toml'\npackages = ['bash']\ndirectories = ['b']",
            "directories = ['a']\n[[link]]\npath = 'l'\ntarget = 't'",
        )
        .unwrap();
        assert_eq!(definition.directories, ["a", "b"]);
        assert_eq!(definition.links.len(), 1);
    }

    #[test]
    fn own_variables_replace_included_ones() {
        let definition = load(
            "include = 'common.toml'\npackages = ['bash']\nvariables = { PATH = '/own' }",
            "variables = { PATH = '/common', TZ = 'UTC' }",
        )
        .unwrap();
        let found: Vec<_> =
            definition.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(found, ["PATH=/own", "TZ=UTC"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (own, common, expected) in [
            ("", "", "asks for no packages"),
            ("packages = ['bash']\nfixup = 1", "", "unknown field `fixup`"),
            ("packages = ['bash']\ninclude = 'gone.toml'", "", "gone.toml"),
            ("packages = ['bash']\ninclude = 'common.toml'", "packages = ['dash']", "fix-ups only"),
            ("packages = ['bash']\ninclude = 'common.toml'", "include = 'own.toml'", "fix-ups only"),
            ("packages = ['bash']\nvariables = { JOBS = '1' }", "", "the variable `JOBS`"),
            ("packages = ['bash']\nvariables = { 'A=B' = '1' }", "", "the variable `A=B`"),
            ("packages = ['bash']\n[[copy]]\npath = 'a'", "", "missing field `from`"),
        ] {
            let error = format!("{:#}", load(own, common).unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn the_key_is_made_of_fix_ups_alone() {
        let text = |own: &str| load(own, "").unwrap().fix_ups().unwrap();
        let plain = text("packages = ['bash']");
        assert_eq!(
            plain,
            text(
                "packages = ['bash', 'dash']\ndescription = 'd'\nsuite = 's'\nsuites = ['u']\nvariables = { A = '1' }\nsuite_of = { bash = 't' }"
            )
        );
        assert_ne!(plain, text("packages = ['bash']\ndirectories = ['tmp']"));
        assert_ne!(plain, text("packages = ['bash']\n[[copy]]\npath = 'a'\nfrom = 'b'\nzeros = 1"));
    }
}

//! What a package says of itself: the core metadata, version 2.4.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Metadata as recipes give it; names follow `pyproject.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Metadata {
    /// The project's name.
    pub name: String,
    /// One line on what it is.
    pub summary: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Versions of Python that it runs on, as a version specifier.
    pub requires_python: String,
    /// What it needs, each a requirement of PEP 508.
    #[serde(default)]
    pub dependencies: Vec<String>,
    /// File names of libraries that a dependency brings and loads first, so that neither the wheel nor the system needs to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependency_libraries: Vec<String>,
    /// What it needs for more: extra to requirements.
    #[serde(default)]
    pub optional_dependencies: BTreeMap<String, Vec<String>>,
    /// Trove classifiers.
    #[serde(default)]
    pub classifiers: Vec<String>,
    /// Links: label to address.
    #[serde(default)]
    pub urls: BTreeMap<String, String>,
    /// Commands: name to `module:function`.
    #[serde(default)]
    pub scripts: BTreeMap<String, String>,
    /// The file of the tree that describes the project, in Markdown. It is not installed.
    pub readme: Option<String>,
}

impl Metadata {
    /// The name as file names have it. Errors: it is not a name of a project.
    pub(super) fn distribution(&self) -> Result<String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let ends = |c: char| c.is_ascii_alphanumeric();
        ensure!(
            self.name.chars().all(fine) && self.name.starts_with(ends) && self.name.ends_with(ends),
            "`{}` is not a name of a Python project",
            self.name.escape_debug()
        );
        let parts = self.name.split(['-', '_', '.']).filter(|part| !part.is_empty());
        Ok(parts.collect::<Vec<_>>().join("_").to_lowercase())
    }

    /// The text of METADATA. `licenses` are the license files below `.dist-info/licenses/`.
    pub(super) fn text(
        &self,
        version: &str,
        license: &str,
        licenses: &[String],
        readme: Option<&str>,
    ) -> Result<String> {
        ensure!(is_version(version), "`{version}` is not a version as PEP 440 writes it");
        ensure!(!license.is_empty(), "there is no license expression (SPDX)");
        ensure!(!licenses.is_empty(), "there is no license text below `licenses/`");
        let mut fields = vec![
            ("Metadata-Version", "2.4".to_owned()),
            ("Name", self.name.clone()),
            ("Version", version.to_owned()),
            ("Summary", self.summary.clone()),
        ];
        // One field for all of them, separated by commas.
        fields.extend((!self.keywords.is_empty()).then(|| ("Keywords", self.keywords.join(","))));
        fields.extend(self.author.iter().map(|author| ("Author", author.clone())));
        fields.extend(self.urls.iter().map(|(label, url)| ("Project-URL", format!("{label}, {url}"))));
        fields.push(("License-Expression", license.to_owned()));
        fields.extend(licenses.iter().map(|file| ("License-File", file.clone())));
        fields.extend(self.classifiers.iter().map(|classifier| ("Classifier", classifier.clone())));
        fields.push(("Requires-Python", self.requires_python.clone()));
        fields.extend(self.dependencies.iter().map(|one| ("Requires-Dist", one.clone())));
        for (extra, requirements) in &self.optional_dependencies {
            fields.push(("Provides-Extra", extra.clone()));
            for one in requirements {
                // A condition of the requirement's own must hold as well.
                let marker = match one.split_once(';') {
                    Some((one, marker)) => {
                        format!("{}; ({}) and extra == '{extra}'", one.trim(), marker.trim())
                    }
                    None => format!("{one}; extra == '{extra}'"),
                };
                fields.push(("Requires-Dist", marker));
            }
        }
        if readme.is_some() {
            fields.push(("Description-Content-Type", "text/markdown; charset=UTF-8".to_owned()));
        }
        let mut text = String::new();
        for (name, value) in fields {
            ensure!(
                !value.is_empty() && !value.contains(['\n', '\r']),
                "`{name}` of a wheel's metadata is empty or has several lines"
            );
            text += &format!("{name}: {value}\n");
        }
        if let Some(readme) = readme {
            text += &format!("\n{readme}");
        }
        Ok(text)
    }

    /// The text of `entry_points.txt`, when there are commands.
    pub(super) fn entry_points(&self) -> Option<String> {
        let lines: String = self.scripts.iter().map(|(name, place)| format!("{name} = {place}\n")).collect();
        (!lines.is_empty()).then(|| format!("[console_scripts]\n{lines}"))
    }
}

/// Whether `text` is a version in PEP 440's normal form: `1.2rc1.post2.dev3+local.1`.
fn is_version(text: &str) -> bool {
    let number = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'))
    };
    let (public, local) = text.split_once('+').map_or((text, None), |(public, local)| (public, Some(local)));
    let local_is_fine = local.is_none_or(|local| {
        local.split('.').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
    });
    let mut rest = public;
    for mark in [".dev", ".post"] {
        if let Some((before, count)) = rest.split_once(mark) {
            if !number(count) {
                return false;
            }
            rest = before;
        }
    }
    if let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let (before, release) = rest.split_at(at);
        let count = ["rc", "a", "b"].iter().find_map(|kind| release.strip_prefix(kind));
        if !count.is_some_and(number) {
            return false;
        }
        rest = before;
    }
    local_is_fine && rest.split('.').all(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_pep_440() {
        for (text, expected) in [
            ("0.1.15.post2", true),
            ("0.25.dev0", true),
            ("1.0rc1", true),
            ("1.0a1.post2.dev3+cu12.1", true),
            ("1", true),
            ("", false),
            ("1.", false),
            ("v1", false),
            ("1.0-2", false),
            ("01.0", false),
            ("1.0c1", false),
            ("1.0.dev", false),
            ("1+", false),
            ("1+A", false),
        ] {
            assert_eq!(is_version(text), expected, "{text}");
        }
    }
}

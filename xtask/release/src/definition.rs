//! `releases/NAME.toml`: which artifacts, for which targets, and what must pass first.

use crate::{Conversion, Wanted};
use anyhow::{Context, Result, bail, ensure};
use builder::{Files, Node, Project, RecipeName, Triple};
use serde::Deserialize;
use std::{collections::BTreeSet, path::Path};
use store::{Digest, Unknown, check_name};

/// A release as it is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The name, equal to the file's.
    pub name: String,
    /// Releases that this one holds all of.
    #[serde(default)]
    include: Vec<String>,
    /// What is shipped.
    #[serde(default, rename = "artifact")]
    artifacts: Vec<Selection>,
    /// Recipes whose outputs are reports: a release is made only when they succeed.
    #[serde(default, rename = "check")]
    checks: Vec<Selection>,
    /// Models that are converted and shipped.
    #[serde(default, rename = "model")]
    pub models: Vec<Conversion>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    recipe: RecipeName,
    targets: Vec<Triple>,
}

impl Definition {
    /// Reads `releases/NAME.toml`.
    ///
    /// Errors: there is none of this name; it is malformed, names no artifact, or something twice; a release that it
    /// includes, or one that is included itself includes others.
    pub fn load(root: &Path, name: &str) -> Result<Self> {
        let mut definition = Self::read(root, name)?;
        for other in std::mem::take(&mut definition.include) {
            let included =
                Self::read(root, &other).with_context(|| format!("included by release `{name}`"))?;
            ensure!(included.include.is_empty(), "release `{other}` is included, so it may include no other");
            definition.artifacts.splice(0..0, included.artifacts);
            definition.checks.splice(0..0, included.checks);
            definition.models.splice(0..0, included.models);
        }
        definition.check().with_context(|| format!("in releases/{name}.toml"))?;
        Ok(definition)
    }

    fn read(root: &Path, name: &str) -> Result<Self> {
        check_name("release", name)?;
        let path = root.join("releases").join(format!("{name}.toml"));
        if !path.exists() {
            let known = Self::names(root).unwrap_or_default();
            bail!(Unknown::new("release", name, known.iter().map(String::as_str)));
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let definition: Self =
            toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
        ensure!(definition.name == name, "{} is named `{}` inside", path.display(), definition.name);
        Ok(definition)
    }

    fn check(&self) -> Result<()> {
        let is_empty = self.artifacts.is_empty() && self.models.is_empty();
        ensure!(!is_empty, "the release names no artifact and no model");
        let mut titles = BTreeSet::new();
        for model in &self.models {
            let title = model.title();
            ensure!(titles.insert(title.clone()), "the release names the model {title} twice");
        }
        let mut seen = BTreeSet::new();
        for selection in self.artifacts.iter().chain(&self.checks) {
            for target in &selection.targets {
                let is_new = seen.insert((&selection.recipe, target));
                ensure!(is_new, "the release names {}@{target} twice", selection.recipe);
            }
        }
        Ok(())
    }

    /// The files that a definition is read from: its own and those of what it includes, by path in the repository.
    ///
    /// # Errors
    /// There is no such release, or one of them can't be read.
    pub fn files(root: &Path, name: &str) -> Result<Files> {
        let names = Self::read(root, name)?.include;
        let paths =
            names.iter().map(String::as_str).chain([name]).map(|name| format!("releases/{name}.toml"));
        paths.map(|path| Ok((path.clone(), Digest::of_file(&root.join(&path))?))).collect()
    }

    /// The definitions of a repository. Errors: one of them is malformed.
    pub fn all(root: &Path) -> Result<Vec<Self>> {
        Self::names(root)?.iter().map(|name| Self::load(root, name)).collect()
    }

    /// The names of the releases of a repository, sorted.
    pub fn names(root: &Path) -> Result<Vec<String>> {
        let directory = root.join("releases");
        let mut names = Vec::new();
        for entry in
            std::fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?
        {
            let path = entry?.path();
            let is_toml = path.extension().is_some_and(|extension| extension == "toml");
            if let (true, Some(name)) = (is_toml, path.file_stem().and_then(|stem| stem.to_str())) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Asks for one thing less. Gives whether it was asked for.
    pub fn leave_out(&mut self, wanted: &Wanted) -> bool {
        match wanted {
            Wanted::Step(Node { recipe, target }) => {
                let mut was_there = false;
                for selection in self.artifacts.iter_mut().chain(&mut self.checks) {
                    if selection.recipe == *recipe {
                        let before = selection.targets.len();
                        selection.targets.retain(|other| other != target);
                        was_there |= selection.targets.len() < before;
                    }
                }
                was_there
            }
            Wanted::Model { model } => {
                let before = self.models.len();
                self.models.retain(|conversion| conversion.title() != *model);
                self.models.len() < before
            }
        }
    }

    /// The artifacts. Errors: a recipe or target that does not exist, or whose outputs may not leave this machine.
    pub fn artifacts(&self, project: &Project) -> Result<Vec<Node>> {
        let nodes = nodes(&self.artifacts, project)?;
        nodes.iter().try_for_each(|node| project.check_may_leave(node))?;
        Ok(nodes)
    }

    /// The checks. Errors: a recipe or target that does not exist.
    pub fn checks(&self, project: &Project) -> Result<Vec<Node>> {
        nodes(&self.checks, project)
    }
}

fn nodes(selections: &[Selection], project: &Project) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for selection in selections {
        let recipe = project.recipe(&selection.recipe)?;
        for triple in &selection.targets {
            recipe.target(triple)?;
            nodes.push(Node::new(&recipe.name, triple));
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Definition> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("releases")).unwrap();
        std::fs::write(directory.path().join("releases/tvm.toml"), text).unwrap();
        Definition::load(directory.path(), "tvm")
    }

    const ARTIFACT: &str = "[[artifact]]\nrecipe = \"tvm-ffi\"\ntargets = [\"x86_64-unknown-linux-gnu\"]\n";

    #[test]
    fn mistakes_are_named() {
        assert!(load(&format!("name = \"tvm\"\n{ARTIFACT}")).is_ok());
        for (text, expected) in [
            (format!("name = \"tvm2\"\n{ARTIFACT}"), "is named `tvm2` inside"),
            ("name = \"tvm\"\n".to_owned(), "names no artifact and no model"),
            (format!("name = \"tvm\"\n{ARTIFACT}{ARTIFACT}"), "names tvm-ffi@x86_64-unknown-linux-gnu twice"),
            (format!("name = \"tvm\"\nspeed = 1\n{ARTIFACT}"), "unknown field `speed`"),
        ] {
            let error = format!("{:#}", load(&text).unwrap_err());
            assert!(error.contains(expected), "{expected} is not in: {error}");
        }
    }

    #[test]
    fn an_included_release_is_held_whole() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("releases")).unwrap();
        let write = |name: &str, text: &str| {
            let text = format!("name = \"{name}\"\n{text}");
            std::fs::write(directory.path().join(format!("releases/{name}.toml")), text).unwrap();
        };
        write("tvm", ARTIFACT);
        write(
            "mlc",
            &format!("include = [\"tvm\"]\n{}", ARTIFACT.replace("x86_64-unknown-linux-gnu", "wasm32")),
        );
        let targets: Vec<_> = Definition::load(directory.path(), "mlc")
            .unwrap()
            .artifacts
            .into_iter()
            .flat_map(|selection| selection.targets)
            .collect();
        assert_eq!(targets, ["x86_64-unknown-linux-gnu", "wasm32"]);
        write("again", &format!("include = [\"tvm\"]\n{ARTIFACT}"));
        write("deep", "include = [\"mlc\"]\n");
        write("lost", "include = [\"gone\"]\n");
        for (name, expected) in [
            ("again", "names tvm-ffi@x86_64-unknown-linux-gnu twice"),
            ("deep", "release `mlc` is included, so it may include no other"),
            ("lost", "included by release `lost`: there is no release `gone`"),
        ] {
            let error = format!("{:#}", Definition::load(directory.path(), name).unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn a_name_can_not_lead_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["", "../recipes/x", "/etc/passwd", ".hidden"] {
            let error = Definition::load(directory.path(), name).unwrap_err().to_string();
            assert!(error.contains("release"), "{error}");
        }
        let error = Definition::load(directory.path(), "tvm").unwrap_err().to_string();
        assert!(error.contains("there is no release `tvm`"), "{error}");
    }
}

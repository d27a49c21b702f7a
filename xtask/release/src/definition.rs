//! `releases/NAME.toml`: which artifacts, for which targets, and what must pass first.

use anyhow::{Context, Result, ensure};
use build::{Node, Project};
use serde::Deserialize;
use std::path::Path;

/// A release as it is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The name, equal to the file's.
    pub name: String,
    /// What is shipped.
    #[serde(default, rename = "artifact")]
    artifacts: Vec<Selection>,
    /// Recipes whose outputs are reports: a release is made only when they succeed.
    #[serde(default, rename = "check")]
    checks: Vec<Selection>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    recipe: String,
    targets: Vec<String>,
}

impl Definition {
    /// Reads `releases/NAME.toml`.
    pub fn load(root: &Path, name: &str) -> Result<Self> {
        let path = root.join("releases").join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("there is no release `{name}` ({} can't be read)", path.display()))?;
        let definition: Self =
            toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
        ensure!(definition.name == name, "{} is named `{}` inside", path.display(), definition.name);
        ensure!(!definition.artifacts.is_empty(), "{} names no artifact", path.display());
        Ok(definition)
    }

    /// The artifacts. Errors: a recipe or target that does not exist.
    pub fn artifacts(&self, project: &Project) -> Result<Vec<Node>> {
        nodes(&self.artifacts, project)
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
            nodes.push(Node::new(&selection.recipe, triple));
        }
    }
    Ok(nodes)
}

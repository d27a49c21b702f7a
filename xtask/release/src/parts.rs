//! What an artifact contains of others, by the directories below its `licenses/`, and what follows for its license.

use crate::{Artifact, Manifest, Step, manifest::Part};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use spdx::{Expression, Licensee};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use store::hinted;

/// The table's place in the repository.
pub const TABLE: &str = "recipes/licenses.toml";

/// `recipes/licenses.toml`: what the directories below `licenses/` are of.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Table(BTreeMap<String, Row>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// SPDX expression.
    license: String,
    /// The locked inputs that may hold its source.
    #[serde(default)]
    inputs: Vec<String>,
}

impl Table {
    /// Reads the table. Errors: it is malformed, or a license is not an SPDX expression; without the file it is empty.
    pub fn load(root: &Path) -> Result<Self> {
        let path = root.join(TABLE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let table: Self =
            toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
        for (name, row) in &table.0 {
            Expression::parse(&row.license)
                .map_err(|error| anyhow::anyhow!("{error}"))
                .with_context(|| format!("`{name}` in {TABLE} has no SPDX expression as its license"))?;
        }
        Ok(table)
    }

    /// The parts of an artifact, sorted by name. `manifest` has every step. Errors: its `licenses/` has a directory that
    /// the table lacks.
    pub fn parts(&self, artifact: &Artifact, manifest: &Manifest) -> Result<Vec<Part>> {
        let made_of = inputs(&artifact.step, manifest);
        let mut parts = Vec::new();
        for name in names(artifact) {
            let Some(row) = self.0.get(&name) else {
                bail!(hinted(
                    format!(
                        "`{}` has texts in `licenses/{name}/`, and {TABLE} does not say what `{name}` is",
                        artifact.title()
                    ),
                    "add it, with \
                     its license as an SPDX expression"
                ))
            };
            let input = row.inputs.iter().find(|input| made_of.contains(input.as_str())).cloned();
            parts.push(Part { name, license: row.license.clone(), input });
        }
        Ok(parts)
    }
}

/// The inputs of a step and of all that it depends on.
fn inputs<'a>(step: &'a Step, manifest: &'a Manifest) -> BTreeSet<&'a str> {
    let mut open = vec![step];
    let (mut seen, mut inputs) = (BTreeSet::new(), BTreeSet::new());
    while let Some(step) = open.pop() {
        if seen.insert(&step.recipe) {
            inputs.extend(step.inputs.iter().map(String::as_str));
            let below = manifest
                .steps()
                .filter(|it| it.target == step.target && step.dependencies.contains(&it.recipe));
            open.extend(below);
        }
    }
    inputs
}

/// The directories below an artifact's `licenses/`.
pub fn names(artifact: &Artifact) -> BTreeSet<String> {
    let below = format!("licenses/{}/", artifact.title());
    let name = |path: &str| Some(path.strip_prefix(&below)?.split_once('/')?.0.to_owned());
    artifact.licenses().filter_map(|text| name(&text.path)).collect()
}

/// The license of an artifact whose own is `own`: with those of its parts, or of a wheel what its recipe says.
///
/// # Errors
/// If one of them is not an SPDX expression.
pub fn license(own: &str, artifact: &Artifact) -> Result<String> {
    match artifact.wheel() {
        Some(_) => Ok(own.to_owned()),
        None => combined([own].into_iter().chain(artifact.parts.iter().map(|part| part.license.as_str()))),
    }
}

/// The identifier of a license that SPDX lists, whatever the case of its letters.
pub fn spdx_id(name: &str) -> Option<&'static str> {
    spdx::identifiers::LICENSES.iter().map(|license| license.name).find(|id| id.eq_ignore_ascii_case(name))
}

/// Whether a text is an SPDX expression in its strict form.
pub fn is_expression(text: &str) -> bool {
    Expression::parse(text).is_ok()
}

/// What holds for something made of parts with these licenses: all of them, each once, sorted. A choice of which one
/// alternative is asked for anyway asks for nothing more.
///
/// # Errors
/// If one of them is not an SPDX expression.
pub fn combined<'a>(licenses: impl IntoIterator<Item = &'a str>) -> Result<String> {
    let (mut single, mut choices) = (BTreeSet::new(), BTreeSet::new());
    for license in licenses {
        let expression = Expression::parse(license)
            .map_err(|error| anyhow::anyhow!("`{license}` is not an SPDX expression: {}", error.reason))?;
        let text = expression.to_string();
        // In a list joined by AND each requirement stands for itself.
        match text.contains(" OR ") {
            true => _ = choices.insert(text),
            false => single.extend(expression.requirements().map(|one| one.req.to_string())),
        }
    }
    ensure!(!single.is_empty() || !choices.is_empty(), "there is no license");
    let taken: Vec<Licensee> = single.iter().filter_map(|one| Licensee::parse(one).ok()).collect();
    let is_taken = |choice: &String| {
        Expression::parse(choice)
            .is_ok_and(|choice| choice.evaluate(|req| taken.iter().any(|it| it.satisfies(req))))
    };
    choices.retain(|choice| !is_taken(choice));
    let is_alone = single.len() + choices.len() == 1;
    let bracketed = |text: &String| match !is_alone && text.contains(' ') {
        true => format!("({text})"),
        false => text.clone(),
    };
    Ok(single.iter().chain(&choices).map(bracketed).collect::<Vec<_>>().join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_licenses_hold_and_a_choice_that_is_made_is_gone() {
        for (licenses, expected) in [
            (&["MIT"][..], "MIT"),
            (&["Apache-2.0 WITH LLVM-exception"], "Apache-2.0 WITH LLVM-exception"),
            (&["MIT OR Apache-2.0"], "MIT OR Apache-2.0"),
            (&["Apache-2.0", "MIT OR Apache-2.0", "Apache-2.0"], "Apache-2.0"),
            (&["BSD-3-Clause", "MIT OR Apache-2.0"], "BSD-3-Clause AND (MIT OR Apache-2.0)"),
            (
                &["BSD-3-Clause AND MIT", "Apache-2.0 WITH LLVM-exception", "Apache-2.0"],
                "Apache-2.0 AND (Apache-2.0 WITH LLVM-exception) AND BSD-3-Clause AND MIT",
            ),
            // With the exception more is allowed than without: it is no way to take Apache-2.0.
            (
                &["Apache-2.0 WITH LLVM-exception", "MIT OR Apache-2.0"],
                "(Apache-2.0 WITH LLVM-exception) AND (MIT OR Apache-2.0)",
            ),
        ] {
            assert_eq!(combined(licenses.iter().copied()).unwrap(), expected);
        }
        assert!(combined(["my own"]).is_err());
        assert!(combined([]).is_err());
    }

    #[test]
    fn a_directory_of_licenses_that_the_table_lacks_is_an_error() {
        let (directory, _store, mut manifest) = crate::example::release();
        let text = crate::File::new("licenses/greeting/LICENSE", &store::Digest::of(b"text"));
        manifest.artifacts[0].files.push(text);
        let artifact = &manifest.artifacts[0];
        let error = Table::default().parts(artifact, &manifest).unwrap_err().to_string();
        assert!(error.contains("does not say what `greeting` is"), "{error}");
        let root = directory.path();
        std::fs::create_dir(root.join("recipes")).unwrap();
        let load = |text: &str| {
            std::fs::write(root.join(TABLE), text).unwrap();
            Table::load(root)
        };
        let table = load("[greeting]\nlicense = \"MIT\"\ninputs = [\"other\", \"hello-source\"]\n").unwrap();
        let parts = table.parts(artifact, &manifest).unwrap();
        assert_eq!((parts[0].license.as_str(), parts[0].input.as_deref()), ("MIT", Some("hello-source")));
        let error = format!("{:#}", load("[greeting]\nlicense = \"mine\"\n").unwrap_err());
        assert!(error.contains("`greeting` in recipes/licenses.toml has no SPDX expression"), "{error}");
    }

    #[test]
    fn a_model_cards_license_is_spdxs_where_there_is_one() {
        assert_eq!(spdx_id("apache-2.0"), Some("Apache-2.0"));
        assert_eq!(spdx_id("qwen-research"), None);
    }
}

//! `ci/steps.toml`: the steps, what affects each, and what each needs.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::{collections::BTreeSet, path::Path};

/// All steps, in their order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    #[serde(rename = "step")]
    steps: Vec<Step>,
}

/// A step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it is called.
    pub name: String,
    /// Why it is there.
    pub why: String,
    /// The program and its arguments; run in the top directory. A word that is [`Step::THIS`] stands for the program that runs.
    pub command: Vec<String>,
    /// Files that can change its outcome: paths of the repository, a directory for all below it. Empty: every file.
    #[serde(default)]
    paths: Vec<String>,
    /// Steps without which it can't run.
    #[serde(default)]
    needs: Vec<String>,
    /// Whether it is left out unless it is asked for, by its name or with all others of its kind.
    #[serde(default)]
    nightly: bool,
}

/// Which steps are asked for.
#[derive(Default)]
pub struct Selection<'a> {
    /// By name; empty: all.
    pub names: &'a [String],
    /// All but these.
    pub skip: &'a [String],
    /// This one and those after it.
    pub from: Option<&'a str>,
    /// Nightly ones as well.
    pub nightly: bool,
}

impl Steps {
    /// Reads `ci/steps.toml`.
    ///
    /// # Errors
    /// When it can't be read or is malformed, names a step twice, or has a step that needs one which is not before it.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("ci/steps.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is malformed", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let all: Self = toml::from_str(text)?;
        let mut before = BTreeSet::new();
        for step in &all.steps {
            ensure!(!step.command.is_empty(), "the step `{}` has no command", step.name);
            let missing = step.needs.iter().find(|name| !before.contains(name.as_str()));
            if let Some(name) = missing {
                bail!("the step `{}` needs `{name}`, which does not stand before it", step.name);
            }
            ensure!(before.insert(step.name.as_str()), "there are two steps `{}`", step.name);
        }
        Ok(all)
    }

    /// The steps that are asked for.
    ///
    /// # Errors
    /// When a name is not a step's, or nothing is left.
    pub fn select(&self, selection: &Selection<'_>) -> Result<Vec<&Step>> {
        let Selection { names, skip, from, nightly } = *selection;
        for name in names.iter().chain(skip).map(String::as_str).chain(from) {
            let known: Vec<_> = self.steps.iter().map(|step| step.name.as_str()).collect();
            ensure!(known.contains(&name), store::Unknown::new("step", name, known));
        }
        let steps = self.steps.iter();
        let steps = steps.skip_while(|step| from.is_some_and(|from| step.name != from));
        let is_wanted = |step: &&Step| match names.is_empty() {
            true => !step.nightly || nightly || from == Some(&step.name),
            false => names.contains(&step.name),
        };
        let steps: Vec<_> = steps.filter(is_wanted).filter(|step| !skip.contains(&step.name)).collect();
        ensure!(!steps.is_empty(), "no step is left to run");
        Ok(steps)
    }

    /// Those of `wanted` that changes of these files can affect, and what they need.
    ///
    /// # Errors
    /// When a step needs one that is not wanted.
    pub fn affected<'a>(&'a self, wanted: &[&'a Step], files: &[String]) -> Result<Vec<&'a Step>> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for step in wanted.iter().rev() {
            if names.contains(step.name.as_str()) || step.is_affected(files) {
                names.insert(&step.name);
                names.extend(step.needs.iter().map(String::as_str));
            }
        }
        let steps: Vec<_> =
            wanted.iter().copied().filter(|step| names.contains(step.name.as_str())).collect();
        let is_chosen = |name: &&&str| !steps.iter().any(|step| step.name == **name);
        if let Some(name) = names.iter().find(is_chosen) {
            bail!(store::hinted(
                format!("a step that the changes affect needs `{name}`, which is left out"),
                "do not skip it"
            ));
        }
        Ok(steps)
    }
}

impl Step {
    /// In a command: the program that runs the steps, which is not compiled again for them.
    pub const THIS: &str = "xtask";

    fn is_affected(&self, files: &[String]) -> bool {
        let is_below = |file: &String, path: &String| {
            file.strip_prefix(path.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.paths.is_empty() || files.iter().any(|file| self.paths.iter().any(|path| is_below(file, path)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]
mod tests {
    use super::*;

    const STEPS: &str = r#"
        [[step]]
        name = "format"
        why = ""
        command = ["true"]

        [[step]]
        name = "test"
        why = ""
        command = ["true"]
        paths = ["xtask", "Cargo.lock"]

        [[step]]
        name = "release"
        why = ""
        command = ["true"]
        paths = ["recipes"]

        [[step]]
        name = "verify"
        why = ""
        command = ["true"]
        paths = ["docs/auditing.md"]
        needs = ["release"]
    "#;

    fn names(steps: &[&Step]) -> Vec<String> {
        steps.iter().map(|step| step.name.clone()).collect()
    }

    fn select(names: &[&str], skip: &[&str], from: Option<&str>) -> Result<Vec<String>> {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let steps = Steps::parse(STEPS)?;
        let (names, skip) = (owned(names), owned(skip));
        let selection = Selection { names: &names, skip: &skip, from, nightly: false };
        Ok(steps.select(&selection)?.iter().map(|step| step.name.clone()).collect())
    }

    #[test]
    fn steps_are_chosen_by_name_and_place() {
        assert_eq!(select(&[], &[], None).unwrap(), ["format", "test", "release", "verify"]);
        assert_eq!(select(&["verify", "format"], &[], None).unwrap(), ["format", "verify"]);
        assert_eq!(select(&[], &["test"], Some("test")).unwrap(), ["release", "verify"]);
        let unknown = select(&[], &["tset"], None).unwrap_err().to_string();
        assert!(unknown.contains("step `tset`"), "{unknown}");
        assert!(select(&["test"], &["test"], None).unwrap_err().to_string().contains("no step is left"));
    }

    #[test]
    fn what_is_nightly_runs_when_it_is_asked_for() {
        let text =
            format!("{STEPS}\n[[step]]\nname = 'reachable'\nwhy = ''\ncommand = ['true']\nnightly = true\n");
        let steps = Steps::parse(&text).unwrap();
        let count = |selection: &Selection<'_>| steps.select(selection).unwrap().len();
        assert_eq!(count(&Selection::default()), 4);
        assert_eq!(count(&Selection { nightly: true, ..Selection::default() }), 5);
        let names = ["reachable".to_owned()];
        assert_eq!(count(&Selection { names: &names, ..Selection::default() }), 1);
    }

    #[test]
    fn changes_bring_the_steps_that_they_affect_and_what_these_need() {
        let steps = Steps::parse(STEPS).unwrap();
        let all = steps.select(&Selection::default()).unwrap();
        let affected = |files: &[&str]| {
            let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
            names(&steps.affected(&all, &files).unwrap())
        };
        assert_eq!(affected(&[]), ["format"]);
        assert_eq!(affected(&["README.md", "xtasks/x", "Cargo.lock.orig"]), ["format"]);
        assert_eq!(affected(&["xtask/cli/src/main.rs"]), ["format", "test"]);
        assert_eq!(affected(&["recipes/x.toml"]), ["format", "release"]);
        assert_eq!(affected(&["docs/auditing.md"]), ["format", "release", "verify"]);
        let skip = ["release".to_owned()];
        let some = steps.select(&Selection { skip: &skip, ..Selection::default() }).unwrap();
        let error = steps.affected(&some, &["docs/auditing.md".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("needs `release`, which is left out"), "{error}");
    }

    #[test]
    fn mistakes_in_the_file_are_told() {
        for (text, expected) in [
            ("[[step]]\nname = 'a'\nwhy = ''\ncommand = []", "has no command"),
            ("[[step]]\nname = 'a'\nwhy = ''\ncommand = ['x']\nneeds = ['b']", "needs `b`"),
        ] {
            let error = Steps::parse(text).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Steps::parse(&STEPS.replace("\"test\"", "\"format\"")).is_err());
    }
}

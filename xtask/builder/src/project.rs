//! The repository as data: recipes, environments, locks, patches.

use crate::{
    node::Node,
    recipe::{self, Recipe, Source, Target},
};
use anyhow::{Context, Result, bail, ensure};
use artifact::Policy;
use environment::Definition;
use input::{Given, Input, Lock, Source as Origin, Unavailable};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use store::{Digest, Store, Unknown, WithHint, check_name, hinted};

/// A checkout of this repository.
pub struct Project {
    /// The top directory.
    pub root: PathBuf,
    /// Recipes by name.
    pub recipes: BTreeMap<String, Recipe>,
    /// `recipes/inputs.lock`.
    pub inputs: Lock,
    /// What the user gave in the place of locked inputs, by name.
    given: BTreeMap<String, Given>,
}

impl Project {
    /// Reads the recipes and the lock of their inputs. Errors: one is malformed; the checkout has Windows' line ends, which
    /// would change the digests of all that is taken from it.
    pub fn load(root: &Path) -> Result<Self> {
        input::check_line_ends(root)?;
        let mut recipes: BTreeMap<String, Recipe> = BTreeMap::new();
        for file in recipe::find(root)? {
            let recipe = Recipe::load(root, &file)?;
            if let Some(other) = recipes.get(recipe.name.as_str()) {
                bail!("two recipes are named `{}`: {} and {file}", recipe.name, other.file);
            }
            recipes.insert(recipe.name.to_string(), recipe);
        }
        let inputs = Lock::load(&root.join("recipes/inputs.lock"))?;
        Ok(Self { root: root.to_owned(), recipes, inputs, given: BTreeMap::new() })
    }

    /// Lets a file or directory of this machine take the place of a locked input. It counts as the locked one when it is
    /// that, byte for byte; else it is known as unpinned from here on, and gives false. Errors: no recipe asks for an
    /// input of this name; it can't be read; it lacks what they take of it.
    pub fn give(&mut self, store: &Store, name: &str, path: &Path) -> Result<bool> {
        let sources = self.recipes.values().flat_map(|recipe| {
            recipe.sources.iter().chain(recipe.targets.iter().flat_map(|target| &target.sources))
        });
        let (own, other): (Vec<&Source>, Vec<&Source>) = sources
            .filter(|source| source.input.is_some())
            .partition(|source| source.input.as_deref() == Some(name));
        ensure!(
            !own.is_empty(),
            Unknown::new("input", name, other.iter().filter_map(|source| source.input.as_deref()))
        );
        own.into_iter().try_for_each(|source| check_given(source, name, path))?;
        let given = Given::take(store, name, path, self.inputs.get(name))?;
        let pinned = given.pinned;
        self.given.insert(name.to_owned(), given);
        Ok(pinned)
    }

    /// A recipe by name. Errors: there is none; the message lists those there are.
    pub fn recipe(&self, name: &str) -> Result<&Recipe> {
        self.recipes
            .get(name)
            .with_context(|| Unknown::new("recipe", name, self.recipes.keys().map(String::as_str)))
    }

    /// The recipe and target of a node.
    pub fn node(&self, node: &Node) -> Result<(&Recipe, &Target)> {
        let recipe = self.recipe(&node.recipe)?;
        Ok((recipe, recipe.target(&node.target)?))
    }

    /// What a node is composed of, in order; optional inputs only when they were given.
    pub fn sources(&self, node: &Node) -> Result<Vec<&Source>> {
        let (recipe, target) = self.node(node)?;
        let is_given = |name: &String| self.given.contains_key(name);
        let all = recipe.sources.iter().chain(&target.sources);
        Ok(all.filter(|source| !source.optional || source.input.as_ref().is_some_and(is_given)).collect())
    }

    /// An input by name: the one that was given, else the locked one. Errors: it is neither given nor locked.
    pub fn input(&self, name: &str) -> Result<&Input> {
        match self.given.get(name) {
            Some(given) => Ok(&given.input),
            None => self.locked(name),
        }
    }

    /// Inputs by name. Errors: as of [`Project::input`]; those that nobody could reach are all in one [`Unavailable`].
    pub fn all_inputs<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Vec<&Input>> {
        let (mut inputs, mut lacking, mut hints) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for name in names {
            match self.input(name) {
                Ok(input) => inputs.push(input),
                Err(error) => {
                    let unavailable: Unavailable = error.downcast()?;
                    lacking.insert(name.to_owned(), unavailable.problems);
                    hints.extend(unavailable.hints);
                }
            }
        }
        if lacking.is_empty() {
            return Ok(inputs);
        }
        let (names, problems): (_, Vec<_>) = lacking.into_iter().unzip();
        Err(Unavailable { names, problems: problems.join("\n"), hints: hints.into_iter().collect() }.into())
    }

    /// The inputs that a node is composed of. Errors: as of [`Project::all_inputs`].
    pub fn inputs_of(&self, node: &Node) -> Result<Vec<&Input>> {
        self.all_inputs(self.sources(node)?.into_iter().filter_map(|source| source.input.as_deref()))
    }

    /// What a manifest says of an input: the lock's entry, unless something else was given. Of that, where it was on
    /// this machine is nobody's business, and would differ on the next one.
    pub fn provenance(&self, name: &str) -> Result<Input> {
        match self.given.get(name) {
            Some(Given { input, pinned: false }) => {
                let source = match &input.source {
                    Origin::Path { path, directory } => Origin::Path {
                        path: path.file_name().map(PathBuf::from).unwrap_or_default(),
                        directory: *directory,
                    },
                    other => other.clone(),
                };
                Ok(Input { source, ..input.clone() })
            }
            _ => self.locked(name).cloned(),
        }
    }

    fn locked(&self, name: &str) -> Result<&Input> {
        if self.inputs.pending.iter().any(|pending| pending == name) {
            let problems = format!(
                "`{name}` could not be reached when recipes/inputs.lock was written, so nobody knows its digest"
            );
            let hint = format!(
                "run `cargo xtask lock update inputs` where its address in recipes/inputs.toml answers (with `--accept-license` if it has a license to accept), or give a copy with `--input {name}=DIR`"
            );
            return Err(Unavailable { names: vec![name.to_owned()], problems, hints: vec![hint] }.into());
        }
        self.inputs.get(name).with_hint(|| {
            hinted(
                format!("input `{name}` is not in recipes/inputs.lock"),
                "add it to recipes/inputs.toml and run `cargo xtask lock update`",
            )
        })
    }

    /// The definition of an environment and its lock.
    pub fn environment(&self, name: &str) -> Result<(Definition, Lock)> {
        let path = self.root.join("containers").join(format!("{name}.toml"));
        if check_name("environment", name).is_err() || !path.is_file() {
            let known = self.environments()?;
            bail!(Unknown::new("environment", name, known.iter().map(String::as_str)));
        }
        Ok((Definition::load(&path)?, Lock::load(&path.with_extension("lock"))?))
    }

    /// The policy `recipes/policies/NAME.toml` with those that it includes, and the digest of its rules. Errors as
    /// [`Policy::load`].
    pub fn policy(&self, name: &str) -> Result<(Policy, Digest)> {
        Policy::load(&self.root.join("recipes/policies").join(format!("{name}.toml")))
    }

    /// The names of all environments, sorted.
    pub fn environments(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.root.join("containers")).context("cannot list containers/")? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "lock") {
                names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Looks, before gigabytes are taken, whether a directory can be what a source takes parts of.
fn check_given(source: &Source, name: &str, path: &Path) -> Result<()> {
    // With more than the directory at the top of its archive taken off, the parts stand somewhere below.
    if !path.is_dir() || source.strip > 1 {
        return Ok(());
    }
    let Some(lacks) = source.subtrees.iter().find(|part| !path.join(part).exists()) else { return Ok(()) };
    Err(hinted(
        format!("{} is not what `{name}` should be: it has no `{lacks}`", path.display()),
        format!("give the directory that holds it, as in `--input {name}=DIR`"),
    )
    .into())
}

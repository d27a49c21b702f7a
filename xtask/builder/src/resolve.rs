//! From a node of the plan to an action: the input tree is composed, the command is written down, the key follows.

use crate::{
    made_from::{Files, made_from},
    node::Node,
    patch,
    portable::Parts,
    project::Project,
    recipe::{Recipe, Source},
};
use anyhow::{Context, Result};
use environment::Environment;
use input::{FetchOptions, Input, Part, Source as Origin};
use serde::Serialize;
use std::collections::BTreeMap;
use store::{Action, Digest, Entry, Progress, Store, Tree};

/// Raised when the way input trees are composed changes, so that no older composition is taken for a new one.
pub(crate) const COMPOSITION: &str = "2";

/// Tells scripts how many processors they may use. It is not part of an action: without it, a script takes all (`nproc`).
pub const JOBS: &str = "JOBS";

/// A node that is ready to run, or to be found in the cache.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What it was resolved from.
    pub node: Node,
    /// What runs.
    pub action: Action,
    /// The cache key: the action's digest.
    pub key: Digest,
    /// Where it runs.
    pub environment: Environment,
    /// Root of what stands at `/build/src`.
    pub sources: Digest,
    /// Names of the locked inputs in it (its own, not its dependencies').
    pub inputs: Vec<String>,
    /// Files of the repository that it is made from.
    pub made_from: Files,
    /// Whether environment and sources are here; else they are known by the word of others, and it can't run.
    pub whole: bool,
}

/// What is needed of the trees that an action is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Their digests, for the key: others may have said them.
    Key,
    /// All of them.
    Whole,
}

/// The variables of whatever runs in an environment: those of the environment, and for a recipe what it is and for whom.
/// Builds, shells and images have them from here.
pub fn variables(environment: &Environment, node: Option<(&Recipe, &Node)>) -> BTreeMap<String, String> {
    let mut variables = environment.variables.clone();
    if let Some((recipe, node)) = node {
        variables.insert("TARGET".to_owned(), node.target.to_string());
        variables.insert("VERSION".to_owned(), recipe.version.clone());
    }
    variables
}

/// Makes actions of nodes.
pub struct Resolver<'a> {
    /// The repository.
    pub project: &'a Project,
    /// Where trees are composed.
    pub store: &'a Store,
    /// How inputs are fetched.
    pub fetch: &'a FetchOptions,
    /// Told about fetching.
    pub progress: &'a dyn Progress,
    /// How much of the sources is needed.
    pub depth: Depth,
}

impl Resolver<'_> {
    /// Resolves a node whose dependencies are built. `dependencies` are names and output trees.
    ///
    /// # Errors
    /// An input can't be had or unpacked, a patch does not fit, a file of the repository can't be read.
    pub fn resolve(
        &self,
        node: &Node,
        environment: &Environment,
        dependencies: &[(String, Digest)],
    ) -> Result<Resolved> {
        let (project, store) = (self.project, self.store);
        let composition = Composition::read(project, Some(store), node, dependencies)?;
        let work = composition.work(project)?;
        let promise = match self.depth {
            Depth::Key => store.promised(&work, self.progress)?,
            Depth::Whole => None,
        };
        let (sources, whole) = match promise {
            Some(promise) => (promise.outputs, promise.whole),
            None => (store.once(&work, || self.compose(&composition))?, true),
        };
        let (recipe, _) = project.node(node)?;
        let parts = Parts { environment: environment.root, sources };
        let action = parts
            .action(store, variables(environment, Some((recipe, node))))
            .with_context(|| format!("cannot run `{node}` in the environment `{}`", environment.name))?;
        Ok(Resolved {
            node: node.clone(),
            key: action.digest(),
            action,
            environment: environment.clone(),
            sources,
            inputs: composition.inputs().map(str::to_owned).collect(),
            made_from: made_from(project, node)?,
            whole,
        })
    }

    fn compose(&self, composition: &Composition) -> Result<Digest> {
        let (project, store) = (self.project, self.store);
        let inputs = project.all_inputs(composition.inputs())?;
        input::fetch(store, &inputs, &self.fetch.clone().with_lock(&project.inputs), self.progress)?;
        let unpack = |source: &Source, name: &str| unpack(project, store, source, name);
        composition.compose(store, store, unpack)?.write(store)
    }
}

/// All that stands at `/build/src` of a node, before it is put together.
pub(crate) struct Composition<'a> {
    node: &'a Node,
    script: Digest,
    contributions: Vec<Contribution<'a>>,
    /// The place of each dependency below `dependencies/`, and its tree.
    dependencies: Vec<(&'a str, Digest)>,
}

impl<'a> Composition<'a> {
    /// Reads what the repository has of it, and keeps that if there is a store to keep it in.
    pub(crate) fn read(
        project: &'a Project,
        store: Option<&Store>,
        node: &'a Node,
        dependencies: &'a [(String, Digest)],
    ) -> Result<Self> {
        let (recipe, target) = project.node(node)?;
        let script = input::read_text(&project.root.join(target.script())).with_context(|| {
            format!("cannot read the script `{}` of recipe `{}`", target.script(), recipe.name)
        })?;
        let sources = project.sources(node)?;
        // All that nobody could reach is told at once.
        project.inputs_of(node)?;
        Ok(Self {
            node,
            script: match store {
                Some(store) => store.put_bytes(script.as_bytes())?,
                None => Digest::of(script.as_bytes()),
            },
            contributions: sources
                .into_iter()
                .map(|source| Contribution::read(project, store, source))
                .collect::<Result<_>>()?,
            dependencies: dependencies
                .iter()
                .map(|(name, outputs)| (project.place(name), *outputs))
                .collect(),
        })
    }

    /// Names of the inputs, in their order.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &str> {
        self.contributions.iter().filter_map(|contribution| contribution.source.input.as_deref())
    }

    /// The work of composing, by all that its result depends on.
    pub(crate) fn work(&self, project: &Project) -> Result<Action> {
        let mut words = vec!["compose".to_owned(), COMPOSITION.to_owned()];
        words.extend(["script".to_owned(), self.script.to_string()]);
        for contribution in &self.contributions {
            words.extend(["source".to_owned(), contribution.describe(project)?]);
        }
        for (place, outputs) in &self.dependencies {
            words.extend(["dependency".to_owned(), (*place).to_owned(), outputs.to_string()]);
        }
        Ok(Action::named(words))
    }

    /// Puts it together. `unpack` gives what a source takes of its input; patched texts go to `blobs`.
    pub(crate) fn compose(
        &self,
        store: &Store,
        blobs: &dyn patch::Blobs,
        unpack: impl Fn(&Source, &str) -> Result<Tree>,
    ) -> Result<Tree> {
        let mut tree = Tree::new();
        tree.insert("recipe.sh", Entry::File { digest: self.script, executable: false })?;
        for contribution in &self.contributions {
            contribution
                .add(blobs, &unpack, &mut tree)
                .with_context(|| format!("cannot compose `{}` of {}", contribution.source.path, self.node))?;
        }
        for (place, outputs) in &self.dependencies {
            tree.merge(&format!("dependencies/{place}"), &Tree::read(store, outputs)?)?;
        }
        Ok(tree)
    }
}

/// A source, and what it takes from this repository. Those files are read once: the key and the tree are made of the same
/// bytes, also when somebody saves a file meanwhile.
struct Contribution<'a> {
    source: &'a Source,
    /// What stands in the repository, at its place.
    project: Tree,
    /// Names and texts, in the order in which they apply.
    patches: Vec<(String, Vec<u8>)>,
}

impl<'a> Contribution<'a> {
    fn read(project: &Project, store: Option<&Store>, source: &'a Source) -> Result<Self> {
        let tree = match &source.project {
            Some(path) => project_tree(project, store, path, &source.path)?,
            None => Tree::new(),
        };
        let paths = match &source.patches {
            Some(directory) => patch::list(&project.root.join("patches").join(directory))?,
            None => Vec::new(),
        };
        let patches = paths
            .into_iter()
            .map(|path| {
                let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                Ok((path.display().to_string(), text))
            })
            .collect::<Result<_>>()?;
        Ok(Self { source, project: tree, patches })
    }

    /// What it contributes, by content, as text of keys: JSON, its names in this order.
    fn describe(&self, project: &Project) -> Result<String> {
        #[derive(Serialize)]
        struct Described<'a> {
            input: Option<Digest>,
            project: Option<Digest>,
            path: &'a str,
            strip: usize,
            subtrees: &'a [String],
            patches: Vec<Digest>,
        }
        let source = self.source;
        let input = source.input.as_deref().map(|name| project.input(name)).transpose()?;
        let described = Described {
            input: input.map(|input| input.digest),
            project: match input {
                Some(_) => None,
                None => Some(self.project.digest()?),
            },
            path: &source.path,
            strip: source.strip,
            subtrees: &source.subtrees,
            patches: self.patches.iter().map(|(_, text)| Digest::of(text)).collect(),
        };
        serde_json::to_string(&described).context("cannot write a source as JSON")
    }

    fn add(
        &self,
        blobs: &dyn patch::Blobs,
        unpack: &impl Fn(&Source, &str) -> Result<Tree>,
        tree: &mut Tree,
    ) -> Result<()> {
        let source = self.source;
        let Some(name) = &source.input else { return tree.merge("", &self.project) };
        let mut unpacked = unpack(source, name)?;
        for (name, text) in &self.patches {
            patch::apply(blobs, &mut unpacked, name, text)?;
        }
        tree.merge(&source.path, &unpacked)
    }
}

/// What a source takes of its input, unpatched.
pub fn unpack(project: &Project, store: &Store, source: &Source, name: &str) -> Result<Tree> {
    let (input, part) = part(project, source, name)?;
    input::unpack(store, &input.digest, input.format(), &part).with_context(|| format!("in input `{name}`"))
}

/// The same, where it was unpacked before.
pub(crate) fn unpacked(
    project: &Project,
    store: &Store,
    source: &Source,
    name: &str,
) -> Result<Option<Tree>> {
    let (input, part) = part(project, source, name)?;
    input::unpacked(store, &input.digest, input.format(), &part)
}

fn part<'a>(project: &'a Project, source: &Source, name: &str) -> Result<(&'a Input, Part)> {
    let input = project.input(name)?;
    // A directory that was given has no directory above it, as archives have.
    let is_directory = matches!(input.source, Origin::Path { directory: true, .. });
    let strip = source.strip.saturating_sub(usize::from(is_directory));
    Ok((input, Part { strip, subtrees: source.subtrees.clone() }))
}

/// A directory or file of the repository, at `place`.
///
/// No file of it is executable: a checkout on a file system of Windows has all or none so, and keys must not tell.
fn project_tree(project: &Project, store: Option<&Store>, path: &str, place: &str) -> Result<Tree> {
    let full = project.root.join(path);
    let mut tree = Tree::new();
    if !full.is_dir() {
        let digest = store.map_or_else(|| Digest::of_file(&full), |store| store.put_file(&full))?;
        tree.insert(place, Entry::File { digest, executable: false })?;
        return Ok(tree);
    }
    let found = store.map_or_else(|| Tree::of_directory(&full), |store| store.import(&full))?;
    for (path, entry) in found.iter() {
        let entry = match entry {
            Entry::File { digest, .. } => Entry::File { digest: *digest, executable: false },
            other => other.clone(),
        };
        tree.insert(&format!("{place}/{path}"), entry)?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path};
    use store::Silent;

    const TARGET: &str = "x86_64-unknown-linux-gnu";

    /// A repository with one recipe, and an environment in a store.
    struct Place {
        directory: tempfile::TempDir,
        store: Store,
        environment: Environment,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(&directory.path().join("store")).unwrap();
            let mut root = Tree::new();
            for path in ["build/out", "build/src", "build/work"] {
                root.insert(path, Entry::Directory).unwrap();
            }
            let environment = Environment {
                name: "linux".into(),
                root: root.write(&store).unwrap(),
                packages: Vec::new(),
                variables: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
            };
            let place = Self { directory, store, environment };
            place.write("recipes/inputs.lock", "version = 1\n");
            place.write("containers/linux.toml", "packages = ['bash']\n");
            place.write("recipes/packages/hello/build.sh", "true\n");
            place.write("own/program.py", "print()\n");
            place.write("own/data/table", "1 2\n");
            place.recipe("1.0", "");
            place
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn recipe(&self, version: &str, more: &str) {
            let text = format!(
                "name = 'hello'\nversion = '{version}'\n[[source]]\nproject = '/own'\npath = 'own'\n{more}
                [[target]]\ntriple = '{TARGET}'\nenvironment = 'linux'\n"
            );
            self.write("recipes/packages/hello/recipe.toml", &text);
        }

        fn resolve(&self, dependencies: &[(String, Digest)]) -> Result<Resolved> {
            let project = Project::load(self.directory.path())?;
            let fetch = FetchOptions { offline: true, ..FetchOptions::default() };
            let resolver = Resolver {
                project: &project,
                store: &self.store,
                fetch: &fetch,
                progress: &Silent,
                depth: Depth::Whole,
            };
            resolver.resolve(&Node::parse("hello", TARGET).unwrap(), &self.environment, dependencies)
        }

        fn key(&self) -> Digest {
            self.resolve(&[]).unwrap().key
        }
    }

    fn set_modes(directory: &Path, file_mode: u32) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => set_modes(&path, file_mode),
                false => std::fs::set_permissions(&path, Permissions::from_mode(file_mode)).unwrap(),
            }
        }
    }

    #[test]
    fn modes_of_the_checkout_are_no_part_of_a_key() {
        let place = Place::new();
        let key = place.key();
        for mode in [0o777, 0o444, 0o644] {
            for directory in ["own", "recipes"] {
                set_modes(&place.directory.path().join(directory), mode);
            }
            assert_eq!(place.key(), key, "{mode:o}");
        }
    }

    #[test]
    fn all_that_a_build_sees_is_part_of_its_key() {
        let place = Place::new();
        let mut keys = vec![place.key()];
        let outputs =
            place.store.import(&place.directory.path().join("own")).unwrap().write(&place.store).unwrap();
        keys.push(place.resolve(&[("other".to_owned(), outputs)]).unwrap().key);
        place.write("own/data/table", "1 3\n");
        keys.push(place.key());
        place.write("recipes/packages/hello/build.sh", "false\n");
        keys.push(place.key());
        place.recipe("1.1", "");
        keys.push(place.key());
        place.recipe("1.1", "[[source]]\nproject = '/own/data'\npath = 'more'");
        keys.push(place.key());
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    /// Keys are the same in every version of the program and on every machine, until [`COMPOSITION`] is raised.
    #[test]
    fn a_key_is_made_of_text_that_is_defined() {
        let place = Place::new();
        let resolved = place.resolve(&[]).unwrap();
        let variables: Vec<_> =
            resolved.action.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(variables, ["PATH=/usr/bin", "TARGET=x86_64-unknown-linux-gnu", "VERSION=1.0"]);
        assert_eq!(resolved.key.hex(), "9d5112fa87af5c3c14b9b0fc7d6c42e370ac3da88e52fd904568cacfa8d02b01");
        let project = Project::load(place.directory.path()).unwrap();
        let node = Node::parse("hello", TARGET).unwrap();
        let composition = Composition::read(&project, Some(&place.store), &node, &[]).unwrap();
        let own = place.store.import(&place.directory.path().join("own")).unwrap();
        let mut tree = Tree::new();
        tree.merge("own", &own).unwrap();
        let described = format!(
            r#"{{"input":null,"project":"{}","path":"own","strip":0,"subtrees":[],"patches":[]}}"#,
            tree.digest().unwrap()
        );
        let script = Digest::of(b"true\n").to_string();
        assert_eq!(
            composition.work(&project).unwrap().arguments,
            ["compose", COMPOSITION, "script", &script, "source", &described]
        );
    }

    #[test]
    fn line_ends_of_windows_are_told_early() {
        let place = Place::new();
        place.write("recipes/packages/hello/build.sh", "true\r\n");
        let error = format!("{:#}", place.resolve(&[]).unwrap_err());
        assert!(error.contains("recipes/packages/hello/build.sh has Windows line ends"), "{error}");
    }
}

//! From a node of the plan to an action: the input tree is composed, the command is written down, the key follows.

use crate::{
    made_from::{Files, made_from},
    patch,
    plan::Node,
    project::Project,
    recipe::Source,
};
use anyhow::{Context, Result};
use environment::Environment;
use input::{FetchOptions, Part, Source as Origin};
use std::collections::BTreeMap;
use store::{Action, Digest, Entry, Progress, Store, Tree};

/// Raised when the way input trees are composed changes, so that no older composition is taken for a new one.
const COMPOSITION: &str = "1";

/// The time that every build takes for now: 1980-01-01, the first that a zip file can hold.
pub const SOURCE_DATE_EPOCH: u64 = 315_532_800;

/// A node that is ready to run, or to be found in the cache.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What it was resolved from.
    pub node: Node,
    /// What runs.
    pub action: Action,
    /// The cache key.
    pub key: Digest,
    /// Where it runs.
    pub environment: Environment,
    /// Names of the locked inputs in it (its own, not its dependencies').
    pub inputs: Vec<String>,
    /// Files of the repository that it is made from.
    pub made_from: Files,
}

/// Resolves a node whose dependencies are built. `dependencies` are names and output trees.
pub fn resolve(
    project: &Project,
    store: &Store,
    node: &Node,
    environment: &Environment,
    dependencies: &[(String, Digest)],
    fetch: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Resolved> {
    let (recipe, target) = project.node(node)?;
    let sources = project.sources(node)?;
    let inputs = project.all_inputs(sources.iter().filter_map(|source| source.input.as_deref()))?;

    let script = std::fs::read(project.root.join(&target.script))
        .with_context(|| format!("cannot read the script `{}` of recipe `{}`", target.script, recipe.name))?;
    let mut key =
        vec!["compose".to_owned(), COMPOSITION.to_owned(), format!("script {}", store.put_bytes(&script)?)];
    let sources: Vec<Contribution> = sources
        .into_iter()
        .map(|source| Contribution::read(project, store, source))
        .collect::<Result<_>>()?;
    for source in &sources {
        key.push(source.describe(project, store)?);
    }
    for (name, outputs) in dependencies {
        let name = project.place(name);
        key.push(format!("dependency {name} {outputs}"));
    }
    let input_root = store.once(&Action::named(key), || {
        input::fetch(store, &inputs, fetch, progress)?;
        let mut tree = Tree::new();
        let digest = store.put_bytes(&script)?;
        tree.insert("recipe.sh", Entry::File { digest, executable: false })?;
        for source in &sources {
            source
                .add(project, store, &mut tree)
                .with_context(|| format!("cannot compose `{}` of {node}", source.source.path))?;
        }
        for (name, outputs) in dependencies {
            let name = project.place(name);
            tree.merge(&format!("dependencies/{name}"), &Tree::read(store, outputs)?)?;
        }
        tree.write(store)
    })?;

    let variables = BTreeMap::from(
        [
            ("HOME", "/build/work".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("PATH", "/usr/lib/llvm-18/bin:/usr/bin:/bin".to_owned()),
            ("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH.to_string()),
            ("TARGET", node.target.clone()),
            ("TZ", "UTC".to_owned()),
            ("VERSION", recipe.version.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let action = Action {
        arguments: ["/bin/bash", "-euo", "pipefail", "/build/src/recipe.sh"].map(str::to_owned).into(),
        variables,
        properties: [("environment".to_owned(), environment.root.to_string())].into(),
        input_root: Some(input_root),
    };
    Ok(Resolved {
        node: node.clone(),
        key: action.digest(),
        action,
        environment: environment.clone(),
        inputs: inputs.iter().map(|input| input.name.clone()).collect(),
        made_from: made_from(project, node)?,
    })
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
    fn read(project: &Project, store: &Store, source: &'a Source) -> Result<Self> {
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

    /// What it contributes, by content.
    fn describe(&self, project: &Project, store: &Store) -> Result<String> {
        let source = self.source;
        let content = match &source.input {
            Some(input) => format!("input {}", project.input(input)?.digest),
            None => format!("project {}", self.project.write(store)?),
        };
        let patches: Vec<_> = self.patches.iter().map(|(_, text)| Digest::of(text).to_string()).collect();
        Ok(format!("source {content} {:?} {} {:?} {patches:?}", source.path, source.strip, source.subtrees))
    }

    fn add(&self, project: &Project, store: &Store, tree: &mut Tree) -> Result<()> {
        let source = self.source;
        let Some(name) = &source.input else { return tree.merge("", &self.project) };
        let mut unpacked = unpack(project, store, source, name)?;
        for (name, text) in &self.patches {
            patch::apply(store, &mut unpacked, name, text)?;
        }
        tree.merge(&source.path, &unpacked)
    }
}

/// What a source takes of its input, unpatched.
pub fn unpack(project: &Project, store: &Store, source: &Source, name: &str) -> Result<Tree> {
    let input = project.input(name)?;
    // A directory that was given has no directory above it, as archives have.
    let is_directory = matches!(input.source, Origin::Path { directory: true, .. });
    let strip = source.strip.saturating_sub(usize::from(is_directory));
    let part = Part { strip, subtrees: source.subtrees.clone() };
    input::unpack(store, &input.digest, input.format(), &part).with_context(|| format!("in input `{name}`"))
}

/// A directory or file of the repository, at `place`.
fn project_tree(project: &Project, store: &Store, path: &str, place: &str) -> Result<Tree> {
    let full = project.root.join(path);
    let mut tree = Tree::new();
    if full.is_dir() {
        tree.merge(place, &store.import(&full)?)?;
    } else {
        let digest = store.put_file(&full)?;
        tree.insert(place, Entry::File { digest, executable: false })?;
    }
    Ok(tree)
}

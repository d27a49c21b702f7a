//! A small project and its release, for tests: a library for two targets, what it is built from, and a check.

use crate::{Definition, Manifest, assemble};
use builder::{Built, Node, Outcome, Plan, Project, Resolved};
use environment::Environment;
use input::{Input, Lock, Source};
use std::{collections::BTreeMap, path::Path, time::Duration};
use store::{Action, ActionResult, Digest, Entry, Store, Tree};
use tempfile::TempDir;

/// The archive for Windows.
pub const ARCHIVE: &str = "hello-1.0-x86_64-pc-windows-msvc.zip";

const WINDOWS: &str = "x86_64-pc-windows-msvc";

const HELLO: &str = r#"
name = "hello"
version = "1.0"
license = "MIT"
[[source]]
input = "hello-source"
path = "hello"
[[target]]
triple = "x86_64-pc-windows-msvc"
environment = "windows"
sysroot = "open-msvc"
policy = "hello"
dependencies = ["start-up"]
script = "recipes/hello.sh"
[[target]]
triple = "x86_64-unknown-linux-gnu"
environment = "linux"
script = "recipes/hello.sh"
"#;

const START_UP: &str = r#"
name = "start-up"
version = "1"
[[target]]
triple = "x86_64-pc-windows-msvc"
environment = "windows"
script = "recipes/start-up.sh"
"#;

const SMOKE_TEST: &str = r#"
name = "smoke-test"
version = "1"
[[target]]
triple = "x86_64-pc-windows-msvc"
environment = "wine"
dependencies = ["hello"]
script = "recipes/smoke-test.sh"
"#;

const RELEASE: &str = r#"
name = "test"
[[artifact]]
recipe = "hello"
targets = ["x86_64-pc-windows-msvc", "x86_64-unknown-linux-gnu"]
[[check]]
recipe = "smoke-test"
targets = ["x86_64-pc-windows-msvc"]
"#;

/// The repository in `directory/project`, a store in `directory/store`, and the manifest of the release.
pub fn release() -> (TempDir, Store, Manifest) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let project = project(directory.path());
    let definition = Definition::load(&project.root, "test").unwrap();
    let mut goals = definition.artifacts(&project).unwrap();
    goals.extend(definition.checks(&project).unwrap());
    let plan = Plan::new(&project, &goals).unwrap();
    let outcomes: Vec<_> =
        plan.nodes.iter().map(|node| Outcome::Built(Box::new(built(&project, &store, node)))).collect();
    let manifest = assemble(&project, &store, &definition, &plan, &outcomes, &[], Vec::new()).unwrap();
    (directory, store, manifest)
}

/// Writes the repository.
pub fn project(directory: &Path) -> Project {
    let root = directory.join("project");
    let source = Source::Crate { package: "hello".into(), version: "1.0".into() };
    let input = Input { name: "hello-source".into(), digest: Digest::of(b"source"), source };
    let lock = Lock { inputs: vec![input], ..Lock::default() }.to_toml().unwrap();
    for (path, text) in [
        ("recipes/hello.toml", HELLO),
        ("recipes/start-up.toml", START_UP),
        ("recipes/smoke-test.toml", SMOKE_TEST),
        ("recipes/inputs.lock", lock.as_str()),
        ("recipes/policies/hello.toml", "required = [\"bin/hello.dll\"]\n"),
        ("releases/test.toml", RELEASE),
        ("containers/linux.lock", "# linux\n"),
        ("containers/windows.lock", "# windows\n"),
        ("containers/wine.lock", "# wine\n"),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Project::load(&root).unwrap()
}

fn built(project: &Project, store: &Store, node: &Node) -> Built {
    let (recipe, target) = project.node(node).unwrap();
    let files: &[(&str, &str, bool)] = match (node.recipe.as_str(), node.target.as_str()) {
        ("hello", WINDOWS) => &[("bin/hello.dll", "library", false), ("licenses/LICENSE", "license", false)],
        ("hello", _) => &[
            ("bin/hello", "program", true),
            ("lib/libhello.so.1", "library", false),
            ("licenses/LICENSE", "license", false),
        ],
        (_, _) => &[("report.txt", "ok", false)],
    };
    let mut outputs = tree(store, files);
    if files.len() == 3 {
        outputs.insert("lib/libhello.so", Entry::Symlink { target: "libhello.so.1".into() }).unwrap();
    }
    let name = target.environment.as_str();
    let root = tree(store, &[("etc/hostname", name, false)]).write(store).unwrap();
    let action = Action::named([node.to_string()]);
    Built {
        resolved: Resolved {
            node: node.clone(),
            key: action.digest(),
            action,
            environment: Environment {
                name: name.into(),
                root,
                packages: Vec::new(),
                variables: BTreeMap::new(),
            },
            sources: Tree::new().write(store).unwrap(),
            inputs: recipe.sources.iter().filter_map(|source| source.input.clone()).collect(),
            made_from: builder::Files::new(),
        },
        result: ActionResult { outputs: outputs.write(store).unwrap(), log: None },
        wheel: None,
        aar: None,
        cached: false,
        time: Duration::ZERO,
    }
}

fn tree(store: &Store, files: &[(&str, &str, bool)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text, executable) in files {
        let digest = store.put_bytes(text.as_bytes()).unwrap();
        tree.insert(path, Entry::File { digest, executable: *executable }).unwrap();
    }
    tree
}

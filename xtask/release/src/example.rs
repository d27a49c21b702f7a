//! A small project and its releases, for tests: a library for two targets, what it is built from, and a check; and the
//! same library as a wheel and an AAR.

use crate::{Definition, Manifest, assemble};
use artifact::{Kind, write_aar, write_archive, write_wheel};
use builder::{Built, Node, Outcome, Plan, Project, Resolved, made_from};
use environment::Environment;
use input::{Input, Lock, Source};
use std::{collections::BTreeMap, path::Path, time::Duration};
use store::{Action, ActionResult, Digest, Entry, Store, Tree};
use tempfile::TempDir;

/// The archive for Windows.
pub const ARCHIVE: &str = "hello-1.0-x86_64-pc-windows-msvc.zip";

/// The archive for Linux.
pub const LINUX: &str = "hello-1.0-x86_64-unknown-linux-gnu.tar.gz";

/// The wheel of the release `packed`.
pub const WHEEL: &str = "hello-1.0-py3-none-any.whl";

/// The archive with the AAR of the release `packed`.
pub const AAR: &str = "hello-aar-1.0-aarch64-linux-android.tar.gz";

const WINDOWS: &str = "x86_64-pc-windows-msvc";

const FILES: [(&str, &str); 21] = [
    (
        "recipes/packages/hello/recipe.toml",
        r#"
name = "hello"
version = "1.0"
license = "MIT"
[[source]]
input = "hello-source"
path = "hello"
patches = "hello"
[[source]]
project = "/recipes/lib"
path = "lib"
[[target]]
triple = "x86_64-pc-windows-msvc"
environment = "windows"
sysroot = "open-msvc"
policy = "hello"
dependencies = ["start-up"]
cxx = "libc++"
[[target]]
triple = "x86_64-unknown-linux-gnu"
environment = "linux"
"#,
    ),
    ("recipes/packages/hello/build.sh", "make\n"),
    ("recipes/lib/helper.sh", "help() { true; }\n"),
    ("patches/hello/0001-greet.patch", "Why: it is polite.\n"),
    (
        "recipes/toolchain/start-up/recipe.toml",
        r#"
name = "start-up"
version = "1"
[[source]]
project = "/sysroot"
path = "sysroot"
[[target]]
triple = "x86_64-pc-windows-msvc"
environment = "windows"
"#,
    ),
    ("recipes/toolchain/start-up/build.sh", "cc\n"),
    ("sysroot/start.c", "int main(void);\n"),
    (
        "recipes/checks/smoke/recipe.toml",
        r#"
name = "smoke-test"
version = "1"
[[target]]
triple = "x86_64-pc-windows-msvc"
environment = "wine"
dependencies = ["hello"]
script = "run.sh"
"#,
    ),
    ("recipes/checks/smoke/run.sh", "wine hello\n"),
    (
        "recipes/packages/hello-wheel/recipe.toml",
        r#"
name = "hello-wheel"
version = "1.0"
license = "MIT"
[wheel]
name = "hello"
summary = "says hello"
requires-python = ">=3.9"
readme = "README.md"
[[target]]
triple = "x86_64-unknown-linux-gnu"
environment = "linux"
script = "/recipes/packages/hello/build.sh"
tag = "py3-none-any"
contains = { hello = "1.0" }
"#,
    ),
    (
        "recipes/packages/hello-aar/recipe.toml",
        r#"
name = "hello-aar"
version = "1.0"
license = "MIT"
[aar]
group = "org.example"
artifact = "hello"
description = "says hello"
url = "https://example.org"
package = "org.example"
min_sdk = 28
min_compile_sdk = 28
[[target]]
triple = "aarch64-linux-android"
environment = "linux"
script = "/recipes/packages/hello/build.sh"
"#,
    ),
    ("recipes/policies/hello.toml", "include = [\"base\"]\nrequired = [\"bin/hello.dll\"]\n"),
    ("recipes/policies/base.toml", "forbidden = [\"/home/\"]\n"),
    (
        "releases/test.toml",
        r#"
name = "test"
[[artifact]]
recipe = "hello"
targets = ["x86_64-pc-windows-msvc", "x86_64-unknown-linux-gnu"]
[[check]]
recipe = "smoke-test"
targets = ["x86_64-pc-windows-msvc"]
"#,
    ),
    (
        "releases/packed.toml",
        r#"
name = "packed"
[[artifact]]
recipe = "hello-wheel"
targets = ["x86_64-unknown-linux-gnu"]
[[artifact]]
recipe = "hello-aar"
targets = ["aarch64-linux-android"]
"#,
    ),
    ("containers/linux.toml", "packages = [\"gcc\"]\n"),
    ("containers/windows.toml", "packages = [\"clang\"]\n"),
    ("containers/wine.toml", "packages = [\"wine\"]\n"),
    ("containers/linux.lock", LINUX_LOCK),
    ("containers/windows.lock", "# windows\nversion = 1\n"),
    ("containers/wine.lock", "# wine\nversion = 1\n"),
];

const LINUX_LOCK: &str = r#"# linux
version = 1

[[input]]
name = "gcc"
kind = "debian"
package = "gcc"
version = "14"
architecture = "amd64"
pool = "pool/main/g/gcc/gcc_14_amd64.deb"
size = 3
sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
"#;

/// The repository in `directory/project`, a store in `directory/store`, and the manifest of the release `test`.
pub fn release() -> (TempDir, Store, Manifest) {
    release_of("test")
}

/// The same for any release of the project: `test`, or `packed` with a wheel and an AAR.
pub fn release_of(name: &str) -> (TempDir, Store, Manifest) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let project = project(directory.path());
    let definition = Definition::load(&project.root, name).unwrap();
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
    for (path, text) in FILES.into_iter().chain([("recipes/inputs.lock", lock.as_str())]) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Project::load(&root).unwrap()
}

fn outputs(store: &Store, node: &Node) -> Tree {
    let jar = |name: &str, text: &[u8]| {
        let mut classes = Tree::new();
        let digest = store.put_bytes(text).unwrap();
        classes.insert(name, Entry::File { digest, executable: false }).unwrap();
        write_archive(store, &classes, "org", Kind::Zip).unwrap()
    };
    match (node.recipe.as_str(), node.target.as_str()) {
        ("hello", WINDOWS) => {
            tree(store, &[("bin/hello.dll", "library", false), ("licenses/LICENSE", "license", false)])
        }
        ("hello", _) => {
            let mut tree = tree(
                store,
                &[
                    ("bin/hello", "program", true),
                    ("lib/libhello.so.1", "library", false),
                    ("licenses/LICENSE", "license", false),
                ],
            );
            tree.insert("lib/libhello.so", Entry::Symlink { target: "libhello.so.1".into() }).unwrap();
            tree
        }
        ("hello-wheel", _) => tree(
            store,
            &[
                ("README.md", "# Hello\n", false),
                ("hello/__init__.py", "print('hello')\n", false),
                ("hello/run", "hello\n", true),
                ("licenses/LICENSE", "license", false),
            ],
        ),
        ("hello-aar", _) => {
            let mut tree =
                tree(store, &[("licenses/LICENSE", "license", false), ("proguard.txt", "-keep\n", false)]);
            let class = jar("A.class", &[0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 52, 0, 1]);
            tree.insert("classes.jar", Entry::File { digest: class, executable: false }).unwrap();
            let source = jar("A.java", b"class A {}\n");
            tree.insert("sources.jar", Entry::File { digest: source, executable: false }).unwrap();
            tree
        }
        (_, _) => tree(store, &[("report.txt", "ok", false)]),
    }
}

fn built(project: &Project, store: &Store, node: &Node) -> Built {
    let (recipe, target) = project.node(node).unwrap();
    let outputs = outputs(store, node);
    let wheel = recipe.wheel.as_ref().map(|metadata| {
        let tag = target.tag.as_ref().unwrap();
        let (name, digest) =
            write_wheel(store, &outputs, metadata, &recipe.version, &recipe.license, tag).unwrap();
        let mut tree = Tree::new();
        tree.insert(&name.file_name(), Entry::File { digest, executable: false }).unwrap();
        tree.write(store).unwrap()
    });
    let aar = recipe.aar.as_ref().map(|metadata| {
        let tree = write_aar(store, &outputs, metadata, &recipe.version, &recipe.license).unwrap();
        tree.write(store).unwrap()
    });
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
            made_from: made_from(project, node).unwrap(),
            whole: true,
        },
        result: ActionResult { outputs: outputs.write(store).unwrap(), log: None },
        wheel,
        aar,
        cached: false,
        imported: None,
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

//! What a node is made from as one digest, known before anything is fetched or built: the key under which a CI service may
//! keep a node's results between its jobs.

use crate::{made_from::made_from, node::Node, project::Project, resolve::COMPOSITION};
use anyhow::Result;
use std::fmt::Write as _;
use store::Digest;

/// The digest of all that a node and its dependencies are made from: files of the repository, locked inputs, locks of
/// environments. Two checkouts with the same fingerprint make the same action of the node.
///
/// It is not an action's digest, and nothing is trusted for it: a file that is kept under it is checked when it is taken.
///
/// # Errors
/// As [`made_from`]; also if a lock of an environment can't be read.
pub fn fingerprint(project: &Project, node: &Node) -> Result<Digest> {
    let (_, target) = project.node(node)?;
    let mut text = format!("composition {COMPOSITION}\nnode {node}\n");
    for (path, digest) in made_from(project, node)? {
        let _ = writeln!(text, "file {digest} {path}");
    }
    for name in project.sources(node)?.iter().filter_map(|source| source.input.as_deref()) {
        match project.input(name) {
            Ok(input) => _ = writeln!(text, "input {} {name}", input.digest),
            // It has no digest yet: once it has, the node is another one.
            Err(_) => _ = writeln!(text, "input pending {name}"),
        }
    }
    let lock = project.root.join("containers").join(format!("{}.lock", target.environment));
    let _ = writeln!(text, "environment {}", Digest::of_file(&lock)?);
    for name in &target.dependencies {
        let dependency = fingerprint(project, &Node::new(name, &node.target))?;
        let _ = writeln!(text, "dependency {dependency} {name}");
    }
    Ok(Digest::of(text.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn of(root: &Path, recipe: &str) -> Digest {
        fingerprint(&Project::load(root).unwrap(), &Node::parse(recipe, "t").unwrap()).unwrap()
    }

    #[test]
    fn it_changes_with_what_the_node_or_a_dependency_is_made_from_and_with_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let recipe = |name: &str, more: &str| {
            format!("name = '{name}'\nversion = '1'\n[[target]]\ntriple = 't'\nenvironment = 'linux'\n{more}")
        };
        write(root, "recipes/inputs.lock", "version = 1\n");
        write(root, "containers/linux.toml", "packages = ['bash']");
        write(root, "containers/linux.lock", "version = 1\n");
        for name in ["base", "other"] {
            write(root, &format!("recipes/packages/{name}/recipe.toml"), &recipe(name, ""));
            write(root, &format!("recipes/packages/{name}/build.sh"), "true");
        }
        write(root, "recipes/packages/top/recipe.toml", &recipe("top", "dependencies = ['base']\n"));
        write(root, "recipes/packages/top/build.sh", "true");
        let before = ["base", "other", "top"].map(|name| of(root, name));
        assert_eq!(before, ["base", "other", "top"].map(|name| of(root, name)));
        write(root, "recipes/packages/base/build.sh", "false");
        assert_ne!(of(root, "base"), before[0]);
        assert_eq!(of(root, "other"), before[1]);
        assert_ne!(of(root, "top"), before[2]);
        write(root, "recipes/packages/base/build.sh", "true");
        assert_eq!(of(root, "top"), before[2]);
        write(root, "containers/linux.lock", "version = 1\n# another\n");
        for (name, before) in ["base", "other", "top"].iter().zip(before) {
            assert_ne!(of(root, name), before);
        }
    }
}

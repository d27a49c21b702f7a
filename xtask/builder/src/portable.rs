//! The form of an action that any worker of the Remote Execution API can run as it is.
//!
//! Its input tree is the whole root file system: the environment, with `/build/src`, `/build/work` and `/build/out` in it. From
//! an action's `input_root` both are reached by path: [`Parts::of`] gives the sources (`build/src`), and the environment as it
//! was assembled (`build` emptied). Backends of our own lay these two out apart; that is a matter of speed, not of content.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use store::{Action, Digest, Entry, Store, Tree, hinted};

/// How every build is started: with no signal ignored, whatever the worker hands down.
const COMMAND: [&str; 8] = [
    "/usr/bin/env",
    "--chdir=/build/work",
    "--default-signal",
    "--",
    "/bin/bash",
    "-euo",
    "pipefail",
    "/build/src/recipe.sh",
];

/// What an action is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Root of the environment, as it was assembled.
    pub environment: Digest,
    /// Root of what stands at `/build/src`.
    pub sources: Digest,
}

impl Parts {
    /// The parts of an action that a command is run for. Errors: it is work of our own, or was written by a version of
    /// mlc-repro whose actions had another form; its input tree is not in the store.
    pub fn of(store: &Store, action: &Action) -> Result<Self> {
        let root = action.input_root.filter(|_| action.output_paths == ["out"]);
        let root = root.context("this is not an action that holds its environment")?;
        let sources = store.subdirectory(&root, "build/src")?;
        let sources = sources.context("the action has no directory /build/src")?;
        let environment = store.graft_digest(&root, "build", &empty()?.digest()?)?;
        Ok(Self { environment, sources })
    }

    /// The action that runs `recipe.sh` of the sources in the environment; its input tree is kept. Errors: the environment has
    /// something of its own in `/build`, or is not in the store.
    pub fn action(&self, store: &Store, variables: BTreeMap<String, String>) -> Result<Action> {
        // Of an environment that is known by its root alone, this is not here.
        empty()?.write(store)?;
        self.make(store, variables, Store::graft)
    }

    /// The same, without keeping anything: its digest is the key all the same.
    pub fn look(&self, store: &Store, variables: BTreeMap<String, String>) -> Result<Action> {
        self.make(store, variables, Store::graft_digest)
    }

    fn make(
        &self,
        store: &Store,
        variables: BTreeMap<String, String>,
        graft: impl Fn(&Store, &Digest, &str, &Digest) -> Result<Digest>,
    ) -> Result<Action> {
        let empty = empty()?.digest()?;
        ensure!(
            store.subdirectory(&self.environment, "build")? == Some(empty),
            hinted(
                "the environment needs the directories build/src, build/work and build/out, and nothing else in build",
                "`directories` in containers/common.toml makes them"
            )
        );
        let build = graft(store, &empty, "src", &self.sources)?;
        Ok(Action {
            arguments: COMMAND.map(str::to_owned).into(),
            variables,
            input_root: Some(graft(store, &self.environment, "build", &build)?),
            working_directory: "build".to_owned(),
            output_paths: vec!["out".to_owned()],
        })
    }
}

/// What stands at `/build`, with nothing in its directories.
fn empty() -> Result<Tree> {
    let mut tree = Tree::new();
    for name in ["out", "src", "work"] {
        tree.insert(name, Entry::Directory)?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(store: &Store, files: &[(&str, &str)], directories: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in files {
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable: false }).unwrap();
        }
        for path in directories {
            tree.insert(path, Entry::Directory).unwrap();
        }
        tree
    }

    const LAYOUT: [&str; 3] = ["build/out", "build/src", "build/work"];

    #[test]
    fn an_action_holds_environment_and_sources_and_gives_them_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let environment = tree(&store, &[("usr/bin/env", "env")], &LAYOUT).write(&store).unwrap();
        let sources = tree(&store, &[("recipe.sh", "true")], &[]).write(&store).unwrap();
        let parts = Parts { environment, sources };
        let action = parts.action(&store, [("A".to_owned(), "1".to_owned())].into()).unwrap();
        let whole = tree(
            &store,
            &[("usr/bin/env", "env"), ("build/src/recipe.sh", "true")],
            &["build/out", "build/work"],
        );
        assert_eq!(Tree::read(&store, &action.input_root.unwrap()).unwrap(), whole);
        assert_eq!(parts.look(&store, action.variables.clone()).unwrap(), action);
        assert_eq!(Parts::of(&store, &action).unwrap(), parts);
        assert!(Parts::of(&store, &Action::named(["work of our own"])).is_err());
    }

    #[test]
    fn an_environment_leaves_build_to_builds() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let sources = Tree::new().write(&store).unwrap();
        for environment in [
            tree(&store, &[("usr/bin/env", "env")], &[]),
            tree(&store, &[("build/src/hidden", "x")], &LAYOUT),
            tree(&store, &[], &["build/out", "build/src", "build/work", "build/more"]),
        ] {
            let environment = environment.write(&store).unwrap();
            let error =
                Parts { environment, sources }.action(&store, BTreeMap::new()).unwrap_err().to_string();
            assert!(error.contains("nothing else in build"), "{error}");
        }
    }
}

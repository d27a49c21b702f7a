//! Which sysroot targets are made with: the one that their recipes name, or another of the same shape (`--sysroot`).

use crate::{plan::Node, project::Project, recipe::Sysroot};
use anyhow::{Result, bail, ensure};

impl Project {
    /// Lets a sysroot stand wherever the one that it can stand for is asked for. The name of one that recipes name anyway
    /// changes nothing. Errors: there is no such sysroot.
    pub fn use_sysroot(&mut self, name: &str) -> Result<()> {
        let targets = || self.recipes.values().flat_map(|recipe| &recipe.targets);
        let mut others = self.recipes.values().filter_map(|recipe| Some((recipe, recipe.sysroot.as_ref()?)));
        let Some((recipe, sysroot)) = others.clone().find(|(_, sysroot)| sysroot.name == name) else {
            let mut known: Vec<&str> = others.by_ref().map(|(_, sysroot)| sysroot.name.as_str()).collect();
            known.extend(targets().filter_map(|target| target.sysroot.as_deref()));
            known.sort_unstable();
            known.dedup();
            ensure!(known.contains(&name), "there is no sysroot `{name}`; there are: {}", known.join(", "));
            return Ok(());
        };
        let (stand_in, Sysroot { instead_of, recipe: replaced, cxx, .. }) =
            (recipe.name.clone(), sysroot.clone());
        for recipe in self.recipes.values_mut() {
            for target in &mut recipe.targets {
                if target.sysroot.as_ref() == Some(&instead_of) {
                    target.sysroot = Some(name.to_owned());
                    target.cxx = cxx.or(target.cxx);
                }
                for dependency in target.dependencies.iter_mut().filter(|name| **name == replaced) {
                    dependency.clone_from(&stand_in);
                }
            }
        }
        Ok(())
    }

    /// Where the outputs of a recipe stand for those who depend on it: below `dependencies/`, under this name.
    pub fn place<'a>(&'a self, recipe: &'a str) -> &'a str {
        let sysroot = self.recipes.get(recipe).and_then(|recipe| recipe.sysroot.as_ref());
        sysroot.map_or(recipe, |sysroot| &sysroot.recipe)
    }

    /// Errors: the outputs of a node may not leave this machine, neither in a release nor as a copy: it is a sysroot of somebody
    /// else's, or holds an input whose licence does not let it be passed on.
    pub fn check_may_leave(&self, node: &Node) -> Result<()> {
        let private = self
            .sources(node)?
            .into_iter()
            .filter_map(|source| self.inputs.get(source.input.as_deref()?))
            .find(|input| !input.source.may_be_passed_on());
        if let Some(input) = private {
            bail!(
                "`{node}` stays on this machine: the licence of `{}` does not let it be passed on\n  hint: what is built with it may be",
                input.name
            );
        }
        ensure!(
            self.recipe(&node.recipe)?.sysroot.is_none(),
            "`{node}` stays on this machine: it is somebody else's sysroot\n  hint: what is built with it may be passed on"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Plan;

    fn project() -> (tempfile::TempDir, Project) {
        let directory = tempfile::tempdir().unwrap();
        let recipes = directory.path().join("recipes");
        std::fs::create_dir(&recipes).unwrap();
        let target = "[[target]]\ntriple = \"x86_64-pc-windows-msvc\"\nenvironment = \"windows\"\n";
        for (name, before, after) in [
            ("open-sysroot", "", ""),
            (
                "other-sysroot",
                "[sysroot]\nname = \"other\"\ninstead_of = \"open\"\nrecipe = \"open-sysroot\"\ncxx = \"msvc-stl\"\n",
                "",
            ),
            ("hello", "", "sysroot = \"open\"\ncxx = \"libc++\"\ndependencies = [\"open-sysroot\"]\n"),
        ] {
            let text = format!("name = \"{name}\"\nversion = \"1\"\n{before}{target}{after}");
            let package = recipes.join("packages").join(name);
            std::fs::create_dir_all(&package).unwrap();
            std::fs::write(package.join("recipe.toml"), text).unwrap();
        }
        std::fs::write(recipes.join("inputs.lock"), "version = 1\n").unwrap();
        let project = Project::load(directory.path()).unwrap();
        (directory, project)
    }

    fn plan(project: &Project) -> Vec<String> {
        let plan = Plan::new(project, &[Node::new("hello", "x86_64-pc-windows-msvc")]).unwrap();
        plan.nodes.into_iter().map(|node| node.recipe).collect()
    }

    #[test]
    fn another_sysroot_stands_in_the_same_place() {
        let (_directory, mut project) = project();
        project.use_sysroot("open").unwrap();
        assert_eq!(plan(&project), ["open-sysroot", "hello"]);
        project.use_sysroot("other").unwrap();
        assert_eq!(plan(&project), ["other-sysroot", "hello"]);
        assert_eq!(project.place("other-sysroot"), "open-sysroot");
        assert_eq!(project.place("hello"), "hello");
        let hello = Node::new("hello", "x86_64-pc-windows-msvc");
        assert_eq!(project.node(&hello).unwrap().1.sysroot.as_deref(), Some("other"), "what a manifest says");
        assert_eq!(project.node(&hello).unwrap().1.cxx, Some(crate::Cxx::MsvcStl), "what comes with it");
        let error = project.use_sysroot("third").unwrap_err().to_string();
        assert_eq!(error, "there is no sysroot `third`; there are: other");
    }

    #[test]
    fn somebody_elses_sysroot_stays_here() {
        let (_directory, project) = project();
        let target = "x86_64-pc-windows-msvc";
        project.check_may_leave(&Node::new("hello", target)).unwrap();
        project.check_may_leave(&Node::new("open-sysroot", target)).unwrap();
        let error = project.check_may_leave(&Node::new("other-sysroot", target)).unwrap_err().to_string();
        assert!(error.starts_with("`other-sysroot@x86_64-pc-windows-msvc` stays on this machine"), "{error}");
    }
}

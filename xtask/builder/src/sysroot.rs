//! Which sysroot targets are made with: the one that their recipes name, or another of the same shape (`--sysroot`).

use crate::{node::Node, project::Project, recipe::Sysroot};
use anyhow::{Result, bail, ensure};
use store::{Unknown, hinted};

impl Project {
    /// Lets a sysroot stand wherever the one that it can stand for is asked for. The name of one that recipes name anyway
    /// changes nothing. Errors: there is no such sysroot.
    pub fn use_sysroot(&mut self, name: &str) -> Result<()> {
        let targets = || self.recipes.values().flat_map(|recipe| &recipe.targets);
        let mut others = self.recipes.values().filter_map(|recipe| Some((recipe, recipe.sysroot.as_ref()?)));
        let Some((recipe, sysroot)) = others.clone().find(|(_, sysroot)| sysroot.name == name) else {
            let mut known: Vec<&str> = others.by_ref().map(|(_, sysroot)| sysroot.name.as_str()).collect();
            known.extend(targets().filter_map(|target| target.sysroot.as_deref()));
            ensure!(known.contains(&name), Unknown::new("sysroot", name, known));
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
        sysroot.map_or(recipe, |sysroot| sysroot.recipe.as_str())
    }

    /// Errors: the outputs of a node may not leave this machine, neither in a release nor as a copy: it is a sysroot of somebody
    /// else's, or holds an input whose license does not let it be passed on.
    pub fn check_may_leave(&self, node: &Node) -> Result<()> {
        let private = self
            .sources(node)?
            .into_iter()
            .filter_map(|source| self.inputs.get(source.input.as_deref()?))
            .find(|input| !input.source.may_be_passed_on());
        if let Some(input) = private {
            let message = format!(
                "`{node}` stays on this machine: the license of `{}` does not let it be passed on",
                input.name
            );
            bail!(hinted(message, "what is built with it may be"));
        }
        ensure!(
            self.recipe(&node.recipe)?.sysroot.is_none(),
            hinted(
                format!("`{node}` stays on this machine: it is somebody else's sysroot"),
                "what is built with it may be passed on"
            )
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
        let plan = Plan::new(project, &["hello@x86_64-pc-windows-msvc".parse().unwrap()]).unwrap();
        plan.nodes.into_iter().map(|node| node.recipe.to_string()).collect()
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
        let hello: Node = "hello@x86_64-pc-windows-msvc".parse().unwrap();
        assert_eq!(project.node(&hello).unwrap().1.sysroot.as_deref(), Some("other"), "what a manifest says");
        assert_eq!(project.node(&hello).unwrap().1.cxx, Some(crate::Cxx::MsvcStl), "what comes with it");
        let error = project.use_sysroot("third").unwrap_err().to_string();
        assert_eq!(error, "there is no sysroot `third`; there is `other`");
    }

    #[test]
    fn somebody_elses_sysroot_stays_here() {
        let (_directory, project) = project();
        let node = |recipe: &str| Node::parse(recipe, "x86_64-pc-windows-msvc").unwrap();
        project.check_may_leave(&node("hello")).unwrap();
        project.check_may_leave(&node("open-sysroot")).unwrap();
        let error = project.check_may_leave(&node("other-sysroot")).unwrap_err().to_string();
        assert!(error.starts_with("`other-sysroot@x86_64-pc-windows-msvc` stays on this machine"), "{error}");
    }
}

//! The repository's own part of a node: which of its files the node is made from, by content.

use crate::{node::Node, patch, project::Project};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use store::Digest;

/// Files by their path in the repository, with `/` on every host.
pub type Files = BTreeMap<String, Digest>;

/// The files of the repository that a node is made from, its dependencies' aside.
///
/// They are the recipe with its libraries, its script, the files and directories that it takes from the repository, its patches, its policy
/// with all that this includes, and the definition of its environment. Locks are not among them: a manifest names each
/// input and the digest of each environment's lock. A symbolic link counts by its text, as in Git.
///
/// # Errors
/// If the node does not exist, a file cannot be read, or a path leads out of the repository.
pub fn made_from(project: &Project, node: &Node) -> Result<Files> {
    let (recipe, target) = project.node(node)?;
    let mut reader = Reader { root: &project.root, files: Files::new() };
    reader.add(&recipe.file)?;
    for library in recipe.lib_files.iter().chain(&target.lib_files) {
        reader.add(library)?;
    }
    reader.add(target.script())?;
    for source in project.sources(node)? {
        if let Some(path) = &source.project {
            reader.add_all(path)?;
        }
        if let Some(directory) = &source.patches {
            for path in patch::list(&project.root.join("patches").join(directory))? {
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.with_context(|| format!("the name of {} is not UTF-8", path.display()))?;
                reader.add(&format!("patches/{directory}/{name}"))?;
            }
        }
    }
    if let Some(policy) = &target.policy {
        reader.add_with_included("recipes/policies", policy)?;
    }
    reader.add_with_included("containers", &target.environment)?;
    Ok(reader.files)
}

struct Reader<'a> {
    root: &'a Path,
    files: Files,
}

/// What a policy or an environment includes: names without an extension, or one file name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Included {
    Many(Vec<String>),
    One(String),
}

#[derive(Deserialize)]
struct Including {
    include: Option<Included>,
}

impl Reader<'_> {
    /// Adds one file or link.
    fn add(&mut self, path: &str) -> Result<()> {
        let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        ensure!(plain, "`{path}` is not a path inside the repository");
        let full = self.root.join(path);
        let metadata =
            std::fs::symlink_metadata(&full).with_context(|| format!("cannot read {}", full.display()))?;
        let digest = if metadata.is_symlink() {
            let text =
                std::fs::read_link(&full).with_context(|| format!("cannot read {}", full.display()))?;
            Digest::of(text.as_os_str().as_encoded_bytes())
        } else {
            ensure!(metadata.is_file(), "{} is neither a file nor a symbolic link", full.display());
            Digest::of_file(&full)?
        };
        self.files.insert(path.to_owned(), digest);
        Ok(())
    }

    /// Adds a file, or all files of a directory.
    fn add_all(&mut self, path: &str) -> Result<()> {
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let full = self.root.join(&path);
            if !std::fs::symlink_metadata(&full).is_ok_and(|metadata| metadata.is_dir()) {
                self.add(&path)?;
                continue;
            }
            for entry in
                std::fs::read_dir(&full).with_context(|| format!("cannot list {}", full.display()))?
            {
                let name = entry.with_context(|| format!("cannot list {}", full.display()))?.file_name();
                let name = name
                    .to_str()
                    .with_context(|| format!("a name in {} is not UTF-8", full.display()))?
                    .to_owned();
                open.push(format!("{path}/{name}"));
            }
        }
        Ok(())
    }

    /// Adds `DIRECTORY/NAME.toml` and every file beside it that it includes, however far down.
    fn add_with_included(&mut self, directory: &str, name: &str) -> Result<()> {
        let mut open = vec![format!("{directory}/{name}.toml")];
        while let Some(path) = open.pop() {
            if self.files.contains_key(&path) {
                continue;
            }
            self.add(&path)?;
            let full = self.root.join(&path);
            let text =
                std::fs::read_to_string(&full).with_context(|| format!("cannot read {}", full.display()))?;
            let Including { include } =
                toml::from_str(&text).with_context(|| format!("{} is malformed", full.display()))?;
            let names = match include {
                None => Vec::new(),
                Some(Included::Many(names)) => names.iter().map(|name| format!("{name}.toml")).collect(),
                Some(Included::One(name)) => vec![name],
            };
            let beside = PathBuf::from(&path);
            let beside = beside.parent().and_then(Path::to_str).unwrap_or(directory);
            open.extend(names.iter().map(|name| format!("{beside}/{name}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Project) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let project = Project::load(directory.path()).unwrap();
        (directory, project)
    }

    const RECIPE: &str = "name = 'hello'\nversion = '1'\n\
        [[source]]\ninput = 'upstream'\npath = 'a'\npatches = 'upstream'\n\
        [[source]]\nproject = '/sysroot'\npath = 'b'\n\
        [[source]]\nproject = '/LICENSE'\npath = 'c'\n\
        [[target]]\ntriple = 't'\nenvironment = 'linux'\nlib = ['x']\npolicy = 'hello'\n";

    const FILES: [(&str, &str); 14] = [
        ("recipes/packages/hello/recipe.toml", RECIPE),
        ("recipes/packages/hello/build.sh", "true"),
        ("recipes/packages/hello/other.sh", "false"),
        ("recipes/lib/x.toml", "[[source]]\nproject = 'x.sh'\npath = 'd'\n"),
        ("recipes/lib/x.sh", "x"),
        ("recipes/inputs.lock", "version = 1\n"),
        ("recipes/policies/hello.toml", "include = ['base/one']"),
        ("recipes/policies/base/one.toml", "include = ['two']"),
        ("recipes/policies/base/two.toml", ""),
        ("containers/linux.toml", "include = 'common.toml'\npackages = ['bash']"),
        ("containers/common.toml", ""),
        ("patches/upstream/0001-mend.patch", "patch"),
        ("sysroot/include/x.h", "x"),
        ("LICENSE", "license"),
    ];

    #[test]
    fn every_file_is_there_and_no_other() {
        let (directory, project) = project(&FILES);
        std::os::unix::fs::symlink("include/x.h", directory.path().join("sysroot/link")).unwrap();
        let files = made_from(&project, &Node::parse("hello", "t").unwrap()).unwrap();
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "LICENSE",
                "containers/common.toml",
                "containers/linux.toml",
                "patches/upstream/0001-mend.patch",
                "recipes/lib/x.sh",
                "recipes/lib/x.toml",
                "recipes/packages/hello/build.sh",
                "recipes/packages/hello/recipe.toml",
                "recipes/policies/base/one.toml",
                "recipes/policies/base/two.toml",
                "recipes/policies/hello.toml",
                "sysroot/include/x.h",
                "sysroot/link",
            ]
        );
        assert_eq!(files["recipes/packages/hello/build.sh"], Digest::of(b"true"));
        assert_eq!(files["sysroot/link"], Digest::of(b"include/x.h"));
    }

    #[test]
    fn nothing_outside_of_the_repository_is_read() {
        let (_directory, mut project) = project(&FILES);
        for bad in ["../secret", "/etc/hostname", "a//b"] {
            let recipe = project.recipes.get_mut("hello").unwrap();
            recipe.sources[2].project = Some(bad.into());
            let error = made_from(&project, &Node::parse("hello", "t").unwrap()).unwrap_err().to_string();
            assert!(error.contains("is not a path inside the repository"), "{error}");
        }
    }
}

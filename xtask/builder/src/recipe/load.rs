//! Where recipes stand, and how one is read with the libraries that it shares with others.

use super::{Recipe, Source};
use anyhow::{Context, Result, bail, ensure};
use artifact::Metadata;
use serde::{Deserialize, de::DeserializeOwned};
use std::path::Path;

/// The directories that hold a directory for each package.
const SHELVES: [&str; 3] = ["packages", "toolchain", "checks"];

/// The script of a recipe that names none.
const SCRIPT: &str = "build.sh";

/// `recipes/lib/NAME.toml`: what several recipes share. Paths in it are from `recipes/lib`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Library {
    /// Libraries that it is made of too.
    #[serde(default)]
    lib: Vec<String>,
    /// The script of recipes that name none.
    script: Option<String>,
    /// What the Python package of recipes that say nothing of it says of itself.
    wheel: Option<Metadata>,
    #[serde(default, rename = "source")]
    sources: Vec<Source>,
}

/// What stands in `recipes/` itself: what inputs are asked for, and what `licenses/` of artifacts hold.
const TABLES: [&str; 2] = ["inputs.toml", "licenses.toml"];

/// The recipe files of a repository, sorted, from its top.
///
/// # Errors
/// A directory cannot be listed; a recipe stands outside of a package's directory.
pub(crate) fn find(root: &Path) -> Result<Vec<String>> {
    let recipes = root.join("recipes");
    for name in names(&recipes).context("is this the repository?")? {
        if name.ends_with(".toml") && !TABLES.contains(&name.as_str()) {
            let stem = name.trim_end_matches(".toml");
            bail!(
                "recipes/{name} is not in a package's directory; move it to recipes/packages/{stem}/recipe.toml, and its script to build.sh beside it"
            );
        }
    }
    let mut files = Vec::new();
    for shelf in SHELVES.into_iter().filter(|shelf| recipes.join(shelf).is_dir()) {
        for package in names(&recipes.join(shelf))? {
            let directory = recipes.join(shelf).join(&package);
            if directory.is_dir() {
                let tables = names(&directory)?.into_iter().filter(|name| name.ends_with(".toml"));
                files.extend(tables.map(|name| format!("recipes/{shelf}/{package}/{name}")));
            } else if package.ends_with(".toml") {
                bail!("recipes/{shelf}/{package} is not in a package's directory");
            }
        }
    }
    Ok(files)
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Result<Vec<String>> {
    let reading = || format!("cannot list {}", directory.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let name =
            name.to_str().with_context(|| format!("a name in {} is not UTF-8", directory.display()))?;
        names.push(name.to_owned());
    }
    names.sort();
    Ok(names)
}

impl Recipe {
    /// Reads and checks a recipe, with the libraries that it names. `file` is from the top of the repository.
    ///
    /// # Errors
    /// It or a library can't be read or is malformed; a path leads out of the repository.
    pub fn load(root: &Path, file: &str) -> Result<Self> {
        let mut recipe: Self = read(root, file, "a recipe")?;
        file.clone_into(&mut recipe.file);
        recipe.complete(root).with_context(|| format!("in recipe {}", root.join(file).display()))?;
        Ok(recipe)
    }

    /// Adds what stands elsewhere, and makes all paths ones from the top of the repository.
    fn complete(&mut self, root: &Path) -> Result<()> {
        let (directory, name) = self.file.rsplit_once('/').unwrap_or_default();
        let package = directory.rsplit('/').next().unwrap_or_default();
        let is_check = directory.starts_with("recipes/checks/") && self.name == *format!("{package}-test");
        ensure!(
            name != "recipe.toml" || self.name == *package || is_check,
            "recipe.toml of `{directory}` is named `{package}`{}, but its `name` is `{}`",
            if directory.starts_with("recipes/checks/") { " or the same with `-test`" } else { "" },
            self.name
        );
        let directory = directory.to_owned();
        for source in self.sources.iter_mut().chain(self.targets.iter_mut().flat_map(|it| &mut it.sources)) {
            source.resolve(&directory)?;
        }
        let mut shared = Shared { root, files: Vec::new(), sources: Vec::new(), script: None, wheel: None };
        for name in &self.lib {
            shared.add(name, &mut Vec::new())?;
        }
        self.wheel = self.wheel.take().or(shared.wheel);
        self.sources.extend(shared.sources);
        self.lib_files = shared.files;
        let script = match (&self.script, shared.script) {
            (Some(script), _) => path_from(&directory, script)?,
            (None, Some(script)) => script,
            (None, None) => path_from(&directory, SCRIPT)?,
        };
        for target in &mut self.targets {
            let mut shared =
                Shared { root, files: Vec::new(), sources: Vec::new(), script: None, wheel: None };
            for name in &target.lib {
                shared.add(name, &mut Vec::new())?;
            }
            target.sources.extend(shared.sources);
            target.lib_files = shared.files;
            target.script = match (target.script.as_str(), shared.script) {
                ("", None) => script.clone(),
                ("", Some(script)) => script,
                (script, _) => path_from(&directory, script)?,
            };
        }
        self.script = Some(script);
        self.check()
    }
}

impl Source {
    fn resolve(&mut self, directory: &str) -> Result<()> {
        if let Some(project) = &mut self.project {
            *project = path_from(directory, project)?;
        }
        Ok(())
    }
}

/// What the libraries of a recipe or target bring along, each once.
struct Shared<'a> {
    root: &'a Path,
    files: Vec<String>,
    sources: Vec<Source>,
    script: Option<String>,
    wheel: Option<Metadata>,
}

impl Shared<'_> {
    fn add(&mut self, name: &str, above: &mut Vec<String>) -> Result<()> {
        ensure!(!above.iter().any(|it| it == name), "library `{name}` includes itself");
        let file = format!("recipes/lib/{name}.toml");
        check(&file)?;
        if self.files.contains(&file) {
            return Ok(());
        }
        let library: Library = read(self.root, &file, "a library of recipes")?;
        above.push(name.to_owned());
        for name in &library.lib {
            self.add(name, above)?;
        }
        above.pop();
        for mut source in library.sources {
            source.resolve("recipes/lib")?;
            self.sources.push(source);
        }
        if let (None, Some(script)) = (&self.script, library.script) {
            self.script = Some(path_from("recipes/lib", &script)?);
        }
        self.wheel = self.wheel.take().or(library.wheel);
        self.files.push(file);
        Ok(())
    }
}

fn read<T: DeserializeOwned>(root: &Path, file: &str, what: &str) -> Result<T> {
    let path = root.join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not {what}", path.display()))
}

/// A path that a file in `directory` names, from the top of the repository.
fn path_from(directory: &str, path: &str) -> Result<String> {
    let full = match (path.strip_prefix('/'), path.starts_with("lib/")) {
        (Some(from_top), _) => from_top.to_owned(),
        (None, true) => format!("recipes/{path}"),
        (None, false) => format!("{directory}/{path}"),
    };
    check(&full).with_context(|| format!("cannot use `{path}`"))?;
    Ok(full)
}

/// Errors: a path from the top of the repository is not inside of it, or is written in another way than the plain one.
fn check(path: &str) -> Result<()> {
    let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    ensure!(plain && !path.contains(['\\', '\0']), "`{path}` is not a path inside the repository");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const TARGET: &str = "[[target]]\ntriple = 'x86_64-unknown-linux-gnu'\nenvironment = 'linux'\n";

    fn repository(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join("recipes").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    fn load(files: &[(&str, &str)]) -> Result<Recipe> {
        Recipe::load(repository(files).path(), "recipes/packages/hello/recipe.toml")
    }

    fn sources(recipe: &Recipe) -> Vec<(&str, &str)> {
        let all = recipe.sources.iter().chain(&recipe.targets[0].sources);
        all.map(|source| (source.project.as_deref().unwrap_or_default(), source.path.as_str())).collect()
    }

    #[test]
    fn paths_are_from_the_package_its_libraries_or_the_top() {
        let text = format!(
            "name = 'hello'\nversion = '1'\n{}{TARGET}",
            ["src", "lib/take.sh", "/sysroot"]
                .map(|path| format!("[[source]]\nproject = '{path}'\npath = 'x'\n"))
                .concat()
        );
        let recipe = load(&[("packages/hello/recipe.toml", &text)]).unwrap();
        let paths: Vec<_> = sources(&recipe).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["recipes/packages/hello/src", "recipes/lib/take.sh", "sysroot"]);
        assert_eq!(recipe.targets[0].script(), "recipes/packages/hello/build.sh");
        for bad in ["../other/src", "/etc/../x", "a//b", "./x", "//x"] {
            let text = format!("name = 'hello'\nversion = '1'\nscript = '{bad}'\n{TARGET}");
            let error = format!("{:#}", load(&[("packages/hello/recipe.toml", &text)]).unwrap_err());
            assert!(error.contains("is not a path inside the repository"), "{error}");
        }
    }

    #[test]
    fn a_library_brings_its_sources_and_what_it_includes_once() {
        let text = format!(
            "name = 'hello'\nversion = '1'\nlib = ['cmake', 'all']\n{TARGET}lib = ['ndk']\nscript = 'ndk.sh'\n"
        );
        let source = |path: &str| format!("[[source]]\nproject = '{path}'\npath = '{path}'\n");
        let files = [
            ("packages/hello/recipe.toml", text.as_str()),
            ("lib/cmake.toml", &source("cmake.sh")),
            ("lib/all.toml", &format!("lib = ['cmake']\nscript = 'all.sh'\n{}", source("all"))),
            ("lib/ndk.toml", &source("/ndk")),
        ];
        let recipe = load(&files).unwrap();
        let expected = [("recipes/lib/cmake.sh", "cmake.sh"), ("recipes/lib/all", "all"), ("ndk", "/ndk")];
        assert_eq!(sources(&recipe), expected);
        assert_eq!(recipe.lib_files, ["recipes/lib/cmake.toml", "recipes/lib/all.toml"]);
        assert_eq!(recipe.targets[0].lib_files, ["recipes/lib/ndk.toml"]);
        assert_eq!(recipe.script.as_deref(), Some("recipes/lib/all.sh"));
        assert_eq!(recipe.targets[0].script(), "recipes/packages/hello/ndk.sh");
    }

    #[test]
    fn mistakes_with_libraries_are_named() {
        for (lib, library, expected) in [
            ("loop", "lib = ['loop']", "library `loop` includes itself"),
            ("../x", "", "`recipes/lib/../x.toml` is not a path inside the repository"),
            ("loop", "name = 'x'", "unknown field `name`"),
            ("other", "", "cannot read"),
        ] {
            let text = format!("name = 'hello'\nversion = '1'\nlib = ['{lib}']\n{TARGET}");
            let files = [("packages/hello/recipe.toml", text.as_str()), ("lib/loop.toml", library)];
            let error = format!("{:#}", load(&files).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn recipes_are_found_in_directories_of_packages_alone() {
        let here = repository(&[
            ("inputs.toml", ""),
            ("licenses.toml", ""),
            ("checks/smoke/recipe.toml", ""),
            ("checks/smoke/program.toml", ""),
            ("checks/smoke/src/data.toml", ""),
            ("packages/hello/recipe.toml", ""),
            ("policies/hello.toml", ""),
            ("lib/cmake.toml", ""),
        ]);
        let expected = [
            "recipes/packages/hello/recipe.toml",
            "recipes/checks/smoke/program.toml",
            "recipes/checks/smoke/recipe.toml",
        ];
        assert_eq!(find(here.path()).unwrap(), expected);
        for stray in ["hello.toml", "packages/hello.toml"] {
            let error = find(repository(&[(stray, "")]).path()).unwrap_err().to_string();
            assert!(error.contains(&format!("recipes/{stray} is not in a package's directory")), "{error}");
        }
        let error = format!("{:#}", find(tempfile::tempdir().unwrap().path()).unwrap_err());
        assert!(error.contains("is this the repository?"), "{error}");
    }
}

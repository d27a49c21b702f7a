//! Recipes: how an artifact is made from inputs, as data in `recipes/packages/NAME/recipe.toml` and its neighbours.

mod load;

pub(crate) use load::find;

use crate::name::{License, RecipeName, Triple};
use anyhow::{Context, Result, ensure};
use artifact::{AarMetadata, Metadata};
use environment::Limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{Unknown, check_name};

/// A recipe: a TOML file in a directory below `recipes/packages`, `recipes/toolchain` or `recipes/checks`.
///
/// Paths in it are from its own directory; `lib/NAME` is `recipes/lib/NAME`, and `/NAME` is from the top of the repository.
/// Once it is loaded, all of them are from the top.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The name. That of `recipe.toml` is its directory's, or in `checks` also the directory's with `-test`.
    pub name: RecipeName,
    /// The version that names the artifact.
    pub version: String,
    /// SPDX expression over everything contained.
    #[serde(default)]
    pub license: License,
    /// A sentence for listings.
    #[serde(default)]
    pub description: String,
    /// What a Python package says of itself. With it the outputs are packed as a wheel ([`artifact::write_wheel`] says how they
    /// stand), which is what dependents and releases get.
    pub wheel: Option<Metadata>,
    /// What an Android library says of itself. With it the outputs are packed as an AAR ([`artifact::write_aar`] says how they
    /// stand), which is what dependents and releases get, with its POM and module metadata.
    pub aar: Option<AarMetadata>,
    /// What `--sysroot` calls the outputs, and in whose place they stand then. They stay on the machine that made them.
    pub sysroot: Option<Sysroot>,
    /// The script, unless a target has its own; `build.sh` when neither it nor a library says.
    pub script: Option<String>,
    /// Libraries (`recipes/lib/NAME.toml`) whose sources it has too, after its own.
    #[serde(default)]
    pub lib: Vec<String>,
    /// What one of its builds needs, where `--limit` gives builds less. No part of any key.
    #[serde(default)]
    pub limits: Limits,
    /// What is composed into `/build/src` for every target.
    #[serde(default, rename = "source")]
    pub sources: Vec<Source>,
    /// One way to build it for each target.
    #[serde(rename = "target")]
    pub targets: Vec<Target>,
    /// Its own file, from the top of the repository.
    #[serde(skip)]
    pub file: String,
    /// The files of the libraries that all its targets take, from the top of the repository.
    #[serde(skip)]
    pub lib_files: Vec<String>,
}

/// Headers, libraries and a CMake toolchain file that can take the place of another sysroot of the same shape.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysroot {
    /// What `--sysroot` and manifests call it.
    pub name: String,
    /// The name of the one that it can stand for.
    pub instead_of: String,
    /// The recipe of that one: who depends on it finds this one at `/build/src/dependencies/RECIPE`.
    pub recipe: RecipeName,
    /// The C++ standard library that comes with it; targets that are made with it have this one, whatever they say.
    pub cxx: Option<Cxx>,
}

/// One part of the input tree at `/build/src`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A locked input, unpacked. Exactly one of `input` and `project` is given.
    pub input: Option<String>,
    /// Whether the input is there only when the user gives it (`--input NAME=PATH`): no lock has it, and without it the build
    /// does without.
    #[serde(default)]
    pub optional: bool,
    /// A file or directory of this repository ([`Recipe`] says from where).
    pub project: Option<String>,
    /// Where it stands below `/build/src`.
    pub path: String,
    /// Leading path components to take off an unpacked input.
    #[serde(default)]
    pub strip: usize,
    /// The parts of the unpacked input (after `strip`) to keep; all of it when empty.
    #[serde(default)]
    pub subtrees: Vec<String>,
    /// A directory below `patches/`, whose numbered patches apply strictly, in order.
    pub patches: Option<String>,
}

/// How a recipe is built for one target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The LLVM triple.
    pub triple: Triple,
    /// The environment (`containers/NAME.toml`) that it runs in.
    pub environment: String,
    /// The script, when it is another than the recipe's. Once loaded it is always known ([`Target::script`]).
    #[serde(default)]
    script: String,
    /// Libraries whose sources this target has too.
    #[serde(default)]
    pub lib: Vec<String>,
    /// The files of these libraries, from the top of the repository.
    #[serde(skip)]
    pub lib_files: Vec<String>,
    /// Recipes whose outputs for the same triple stand at `/build/src/dependencies/NAME`.
    #[serde(default)]
    pub dependencies: Vec<RecipeName>,
    /// The policy (`recipes/policies/NAME.toml`) that the outputs must satisfy.
    pub policy: Option<String>,
    /// Which C runtime and system headers it was made with (`open-msvc`, `debian-trixie`), for the manifest.
    pub sysroot: Option<String>,
    /// The wheel's compatibility tag: Python, ABI and platform.
    pub tag: Option<String>,
    /// The C++ standard library that the outputs are built with: `libc++`, `libstdc++` or `msvc-stl`. Left out where no
    /// C++ crosses a library's border. Artifacts of a release with different ones for one target can't share a process.
    pub cxx: Option<Cxx>,
    /// Libraries of other recipes or projects that the outputs bundle a copy of, with their versions. The artifact itself
    /// counts as one of its recipe's name and version; a release has one version of each for a target.
    #[serde(default)]
    pub contains: BTreeMap<String, String>,
    /// Libraries that the outputs need beside them at run time, with the versions that they were built with.
    #[serde(default)]
    pub needs: BTreeMap<String, String>,
    /// Further sources for this target alone.
    #[serde(default, rename = "source")]
    pub sources: Vec<Source>,
}

/// A C++ standard library. Objects of one can't be handed to code that was built with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cxx {
    /// LLVM's.
    #[serde(rename = "libc++")]
    Libcxx,
    /// GCC's.
    #[serde(rename = "libstdc++")]
    Libstdcxx,
    /// Microsoft's.
    #[serde(rename = "msvc-stl")]
    MsvcStl,
}

impl std::fmt::Display for Cxx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Libcxx => "libc++",
            Self::Libstdcxx => "libstdc++",
            Self::MsvcStl => "msvc-stl",
        })
    }
}

impl Target {
    /// The script, from the top of the repository.
    pub fn script(&self) -> &str {
        &self.script
    }
}

impl Recipe {
    fn check(&self) -> Result<()> {
        check_name("version", &self.version)?;
        ensure!(self.wheel.is_none() || self.aar.is_none(), "a recipe makes a wheel or an AAR, not both");
        ensure!(!self.targets.is_empty(), "there is no `[[target]]`");
        for (index, target) in self.targets.iter().enumerate() {
            let twice = self.targets[..index].iter().any(|other| other.triple == target.triple);
            ensure!(!twice, "target `{}` stands there twice", target.triple);
            ensure!(
                self.wheel.is_some() == target.tag.is_some(),
                "a recipe with `[wheel]`, and no other, has a `tag` for each target (at `{}`)",
                target.triple
            );
            for (library, version) in target.contains.iter().chain(&target.needs) {
                let whose = || format!("in `contains` or `needs` of `{}`", target.triple);
                check_name("library", library)
                    .and_then(|()| check_name("version", version))
                    .with_context(whose)?;
            }
            for source in self.sources.iter().chain(&target.sources) {
                ensure!(
                    source.input.is_some() != source.project.is_some(),
                    "the source at `{}` needs exactly one of `input` and `project`",
                    source.path
                );
                ensure!(
                    source.input.is_some()
                        || (source.strip == 0 && source.subtrees.is_empty() && source.patches.is_none()),
                    "`strip`, `subtrees` and `patches` are for sources with `input` (at `{}`)",
                    source.path
                );
                ensure!(
                    source.input.is_some() || !source.optional,
                    "only a source with `input` is `optional` (at `{}`)",
                    source.path
                );
                ensure!(
                    source.path != "dependencies" && !source.path.starts_with("dependencies/"),
                    "`dependencies` below /build/src is taken"
                );
            }
        }
        Ok(())
    }

    /// The way to build it for a target: its triple, or `windows`, `linux` or `android`. Errors: there is none; the message
    /// names the nearest.
    pub fn target(&self, text: &str) -> Result<&Target> {
        let found = self.targets.iter().find(|target| target.triple.is_meant_by(text));
        found.with_context(|| {
            let known = self.targets.iter().map(|target| target.triple.as_str());
            Unknown::new("target", text, known).of(format!("recipe `{}`", self.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Recipe> {
        let directory = tempfile::tempdir().unwrap();
        let file = "recipes/packages/hello/recipe.toml";
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        Recipe::load(directory.path(), file)
    }

    const TARGET: &str = "[[target]]\ntriple = \"x86_64-unknown-linux-gnu\"\nenvironment = \"linux\"\n";

    #[test]
    fn a_recipe_is_read() {
        let recipe = load(&format!("name = \"hello\"\nversion = \"1.0\"\n{TARGET}")).unwrap();
        assert!(recipe.target("x86_64-unknown-linux-gnu").is_ok());
        let error = recipe.target("wasm32").unwrap_err().to_string();
        assert_eq!(error, "recipe `hello` has no target `wasm32`; it has `x86_64-unknown-linux-gnu`");
        assert_eq!(recipe.target("linux").unwrap().triple, "x86_64-unknown-linux-gnu");
        let more = "cxx = \"libc++\"\ncontains = { ffi = \"0.1.11\" }\nneeds = { zlib = \"1.3\" }\n";
        let recipe = load(&format!("name = \"hello\"\nversion = \"1.0\"\n{TARGET}{more}")).unwrap();
        let target = &recipe.targets[0];
        assert_eq!((target.cxx, target.contains["ffi"].as_str()), (Some(Cxx::Libcxx), "0.1.11"));
        assert_eq!(target.needs["zlib"], "1.3");
        let limits = "[limits]\ntime = \"3h\"\nmemory = \"12G\"\n";
        let recipe = load(&format!("name = \"hello\"\nversion = \"1.0\"\n{TARGET}{limits}")).unwrap();
        assert_eq!((recipe.limits.memory, recipe.limits.outputs), (Some(12 << 30), None));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (
                format!("name = \"other\"\nversion = \"1\"\n{TARGET}"),
                "recipe.toml of `recipes/packages/hello` is named `hello`",
            ),
            (format!("name = \"hello\"\nversion = \"../1\"\n{TARGET}"), "`../1` cannot name a version"),
            (format!("name = \"bad@x\"\nversion = \"1\"\n{TARGET}"), "`bad@x` cannot name a recipe"),
            (
                format!("name = \"hello\"\nversion = \"1\"\n{}", TARGET.replace("x86_64-", "x/../../y/")),
                "cannot name a target",
            ),
            (
                format!("name = \"hello\"\nversion = \"1\"\nlicense = \"Apche two, or so\"\n{TARGET}"),
                "`Apche two, or so` is not a license expression of SPDX",
            ),
            (format!("name = \"hello\"\nversion = \"1\"\n{TARGET}{TARGET}"), "twice"),
            (format!("name = \"hello\"\nversion = \"1\"\nspeed = 3\n{TARGET}"), "unknown field `speed`"),
            (
                format!("name = \"hello\"\nversion = \"1\"\n{TARGET}[limits]\ntime = \"long\"\n"),
                "`long` is not a value of the limit `time`",
            ),
            (
                format!("name = \"hello\"\nversion = \"1\"\n{TARGET}tag = \"py3-none-any\"\n"),
                "a recipe with `[wheel]`",
            ),
            (
                format!("name = \"hello\"\nversion = \"1\"\n{TARGET}cxx = \"stlport\"\n"),
                "unknown variant `stlport`",
            ),
            (
                format!("name = \"hello\"\nversion = \"1\"\n{TARGET}contains = {{ ffi = \"1 or 2\" }}\n"),
                "in `contains` or `needs` of `x86_64-unknown-linux-gnu`: `1 or 2` cannot name a version",
            ),
            (
                format!("name = \"hello\"\nversion = \"1\"\n[[source]]\npath = \"a\"\n{TARGET}"),
                "exactly one of",
            ),
            (
                format!(
                    "name = \"hello\"\nversion = \"1\"\n[[source]]\nproject = \"x\"\npath = \"a\"\noptional = true\n{TARGET}"
                ),
                "only a source with `input`",
            ),
            (
                format!(
                    "name = \"hello\"\nversion = \"1\"\n[[source]]\nproject = \"x\"\npath = \"dependencies/a\"\n{TARGET}"
                ),
                "is taken",
            ),
        ] {
            let error = format!("{:#}", load(&text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}

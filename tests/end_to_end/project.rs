//! A small project of a test's own, and `xtask` run in it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// A project with the recipes that a test gives it, and the repository's environment `sandbox`.
pub struct Project {
    pub directory: TempDir,
}

pub const TARGET: &str = "x86_64-unknown-linux-gnu";

pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

pub fn shared_store() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("store")
}

impl Project {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for part in ["containers", "recipes", "releases"] {
            std::fs::create_dir(directory.path().join(part)).unwrap();
        }
        for file in ["common.toml", "sandbox.toml", "sandbox.lock"] {
            let file = Path::new("containers").join(file);
            std::fs::copy(repository().join(&file), directory.path().join(&file)).unwrap();
        }
        let project = Self { directory };
        project.write("recipes/inputs.toml", "input = []\n");
        let lock = std::fs::read_to_string(repository().join("recipes/inputs.lock")).unwrap();
        let header = lock.lines().next().unwrap();
        project.write("recipes/inputs.lock", &format!("{header}\n\nversion = 1\ninput = []\n"));
        project
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn recipe(&self, name: &str, dependencies: &str, script: &str) {
        self.write(
            &format!("recipes/packages/{name}/recipe.toml"),
            &format!(
                "name = \"{name}\"\nversion = \"1\"\nlicense = \"MIT\"\n[[target]]\ntriple = \"{TARGET}\"\n\
                 environment = \"sandbox\"\ndependencies = [{dependencies}]\n"
            ),
        );
        self.write(&format!("recipes/packages/{name}/build.sh"), script);
    }

    /// Gives the recipe an environment that is the sandbox's but for the clock: all programs find this time, which runs on.
    pub fn move_clock(&self, recipe: &str, offset: &str) {
        const PRELOADED: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
        let read = |path: &str| std::fs::read_to_string(self.directory.path().join(path)).unwrap();
        let files: String = [("etc/ld.so.preload", PRELOADED), ("etc/faketimerc", offset)]
            .map(|(path, text)| format!("[[file]]\npath = \"{path}\"\ntext = \"{text}\\n\"\n"))
            .concat();
        self.write("containers/moved.toml", &format!("{}\n{files}", read("containers/sandbox.toml")));
        self.write("containers/moved.lock", &read("containers/sandbox.lock"));
        let recipe = format!("recipes/packages/{recipe}/recipe.toml");
        self.write(&recipe, &read(&recipe).replace("environment = \"sandbox\"", "environment = \"moved\""));
    }

    /// A release of one recipe.
    pub fn release(&self, name: &str, recipe: &str) {
        self.write(
            &format!("releases/{name}.toml"),
            &format!("name = \"{name}\"\n[[artifact]]\nrecipe = \"{recipe}\"\ntargets = [\"{TARGET}\"]\n"),
        );
    }

    /// A release `small` of two steps: `whole` takes what `part` makes with this script.
    pub fn of_two_steps(part: &str) -> Self {
        let project = Self::new();
        project.recipe("part", "", part);
        project.recipe(
            "whole",
            "\"part\"",
            "cp /build/src/dependencies/part/part /build/out/; mkdir /build/out/licenses\n\
             echo MIT > /build/out/licenses/LICENSE\n",
        );
        project.release("small", "whole");
        project
    }

    pub fn command(&self, store: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).current_dir(self.directory.path()).env("MLC_REPRO_STORE", store);
        // Where these tests run is not where the output is read.
        for name in ["GITHUB_ACTIONS", "GITLAB_CI", "MLC_REPRO_PROGRESS"] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(&shared_store(), arguments).output().unwrap()
    }

    /// `xtask` where nothing can be fetched or started.
    pub fn run_alone(&self, store: &Path, arguments: &[&str]) -> Output {
        let mut command = self.command(store, arguments);
        command.env("PATH", "/nonexistent").env("MLC_REPRO_DEBIAN_MIRROR", "http://127.0.0.1:9");
        command.env_remove("MLC_REPRO_MIRROR").output().unwrap()
    }

    /// What several processes at the same time say to the same command.
    pub fn run_at_once(&self, number: usize, arguments: &[&str]) -> Vec<Output> {
        let start = |_| {
            let mut command = self.command(&shared_store(), arguments);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = (0..number).map(start).collect();
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
    }
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The output tree of a build that must succeed.
pub fn outputs(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    json[0]["outputs"].as_str().unwrap().to_owned()
}

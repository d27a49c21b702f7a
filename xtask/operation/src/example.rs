//! A small project for tests, and a backend that runs nothing: what a script would leave is known by its first word.

use crate::Session;
use anyhow::Result;
use builder::Project;
use environment::{Backend, Ended, Exit, Launch, Source};
use input::{Input, Lock};
use std::path::Path;
use store::{Digest, Entry, Silent, Store, Tree};
use tempfile::TempDir;

/// The only target.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The content of the input `far`: a tar archive.
pub fn far() -> Vec<u8> {
    archive()
}

/// The project's directory, and its store.
pub struct Example {
    pub directory: TempDir,
    pub store: Store,
}

impl Example {
    /// A project with the recipes `whole`; `waits`, which has the input `far`; `after`, which depends on it; and `broken`.
    /// The release `small` holds the first three.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let example = Self { directory, store };
        let package = Input {
            name: "tiny".into(),
            digest: example.store.put_bytes(&package()).unwrap(),
            source: input::Source::Debian {
                package: "tiny".into(),
                version: "1".into(),
                architecture: "amd64".into(),
                pool: "pool/tiny.deb".into(),
            },
        };
        let lock = Lock { inputs: vec![package], ..Lock::default() }.to_toml().unwrap();
        example.write("containers/linux.lock", &lock);
        example.write(
            "containers/linux.toml",
            "packages = ['tiny']\ndirectories = ['build/src', 'build/work', 'build/out']\n",
        );
        example.write("recipes/inputs.lock", &Lock::default().to_toml().unwrap());
        example.recipe("whole", "", "", "make");
        example.recipe("waits", "", "[[source]]\ninput = 'far'\npath = 'far'\n", "make");
        example.recipe("after", "'waits'", "", "make");
        example.recipe("broken", "", "", "fail");
        example.release("small", &["whole", "waits", "after"]);
        example
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn recipe(&self, name: &str, dependencies: &str, sources: &str, script: &str) {
        let text = format!(
            "name = '{name}'\nversion = '1'\nlicense = 'MIT'\n{sources}[[target]]\ntriple = '{TARGET}'\n\
             environment = 'linux'\ndependencies = [{dependencies}]\n"
        );
        self.write(&format!("recipes/packages/{name}/recipe.toml"), &text);
        self.write(&format!("recipes/packages/{name}/build.sh"), &format!("{script} # {name}\n"));
    }

    pub fn release(&self, name: &str, recipes: &[&str]) {
        let artifact = |recipe: &&str| format!("[[artifact]]\nrecipe = '{recipe}'\ntargets = ['{TARGET}']\n");
        let artifacts: String = recipes.iter().map(artifact).collect();
        self.write(&format!("releases/{name}.toml"), &format!("name = '{name}'\n{artifacts}"));
    }

    /// The project, with the input `far` at an address.
    pub fn project(&self, url: &str) -> Project {
        let mut project = Project::load(self.directory.path()).unwrap();
        let source = input::Source::Https { urls: vec![url.to_owned()], tree: None };
        project.inputs.inputs.push(Input { name: "far".into(), digest: Digest::of(&far()), source });
        project
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Does something with a session whose backend runs nothing.
    pub fn with<T>(&self, project: &Project, run: impl FnOnce(Session<'_>) -> T) -> T {
        let open = |_: &Session<'_>| -> Result<Box<dyn Backend>> { Ok(Box::new(Fake)) };
        run(Session::new(project, &self.store, &Silent, &open).with_jobs(1))
    }
}

/// A script that begins with `make` leaves a file and a license; one that begins with `fail` ends with status 3.
struct Fake;

impl Backend for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn check(&self) -> Result<String> {
        Ok("it runs nothing".to_owned())
    }

    fn run(&self, launch: &Launch<'_>, output: &mut dyn FnMut(&[u8])) -> Result<Ended> {
        let Source::Tree(sources) = launch.source else { anyhow::bail!("only actions are run") };
        let Some(Entry::File { digest, .. }) = sources.get("recipe.sh") else { anyhow::bail!("no script") };
        let script = launch.store.read(digest)?;
        output(&script);
        let mut outputs = Tree::new();
        if script.starts_with(b"fail") {
            return Ok(Ended { exit: Exit::Exited(3), outputs });
        }
        for (path, text) in [("data", &script[..]), ("licenses/LICENSE", b"MIT\n")] {
            let digest = launch.store.put_bytes(text)?;
            outputs.insert(path, Entry::File { digest, executable: false })?;
        }
        Ok(Ended { exit: Exit::Exited(0), outputs })
    }
}

/// A Debian package that holds one empty file (deb(5)).
fn package() -> Vec<u8> {
    let data = archive();
    let mut package = b"!<arch>\n".to_vec();
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", &[0; 1024]), ("data.tar", &data)]
    {
        let header = format!("{name:16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
        package.extend_from_slice(header.as_bytes());
        package.extend_from_slice(content);
    }
    package
}

/// A tar archive (POSIX ustar) of the empty file `tiny`.
fn archive() -> Vec<u8> {
    let mut archive = vec![0; 512 + 1024];
    for (at, text) in [
        (0, "tiny"),
        (100, "0000644"),
        (108, "0000000"),
        (116, "0000000"),
        (124, "00000000000"),
        (136, "00000000000"),
        (148, "        "),
        (156, "0"),
        (257, "ustar\x0000"),
    ] {
        archive[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum: u32 = archive[..512].iter().map(|byte| u32::from(*byte)).sum();
    archive[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    archive
}

//! Which commit of a checkout's history has the files that a release was made from.
//!
//! The commit is looked for, and is not in the manifest: two who build from the same files get the same bytes, whether
//! there is a `.git` or not, and whatever else was committed meanwhile. Git reads its own objects and nothing else: no
//! network, no hook, no lock.

use anyhow::{Context, Result, ensure};
use builder::Files;
use std::{
    collections::{BTreeSet, HashMap},
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
};
use store::Digest;

/// Commits that are looked at, the newest first.
const MOST_COMMITS: usize = 2000;

/// What was found.
pub enum Found {
    /// The commit, in full.
    Fits(String),
    /// None of so many.
    Nothing(usize),
}

/// Looks for the commit that has all these files with these contents: the one that is checked out, then every other, the
/// newest first.
///
/// # Errors
/// If the checkout has no history, or Git is not installed or fails.
pub fn find(root: &Path, files: &Files) -> Result<Found> {
    ensure!(!files.is_empty(), "the manifest names no file of the repository");
    // What is above the checkout, in somebody's home directory, has nothing to do with it.
    ensure!(root.join(".git").exists(), "this checkout has no Git history");
    let head = lines(root, &["rev-parse", "--verify", "HEAD^{commit}"])?;
    let count = format!("--max-count={MOST_COMMITS}");
    let all = lines(root, &["rev-list", &count, "--all"])?;
    let mut blobs = Blobs::start(root)?;
    let mut seen = BTreeSet::new();
    for commit in head.iter().chain(&all).filter(|commit| seen.insert(commit.as_str())) {
        if fits(root, commit, files, &mut blobs)? {
            return Ok(Found::Fits(commit.clone()));
        }
    }
    Ok(Found::Nothing(seen.len()))
}

fn git(root: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(["-c", "core.fsmonitor=false", "-c", "protocol.allow=never"]);
    // A clone without all objects would fetch them.
    command.envs([("GIT_NO_LAZY_FETCH", "1"), ("GIT_OPTIONAL_LOCKS", "0"), ("GIT_TERMINAL_PROMPT", "0")]);
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

fn output(root: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = git(root).args(arguments).output().context("cannot run `git`")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`git {}` failed: {}", arguments.join(" "), stderr.trim());
    Ok(output.stdout)
}

fn lines(root: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let text =
        String::from_utf8(output(root, arguments)?).context("`git` wrote something else than UTF-8")?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn fits(root: &Path, commit: &str, files: &Files, blobs: &mut Blobs) -> Result<bool> {
    let listing = output(root, &["ls-tree", "-r", "-z", "--long", "--full-tree", commit])?;
    let mut there: HashMap<&[u8], (&str, u64)> = HashMap::new();
    for line in listing.split(|byte| *byte == 0) {
        // MODE TYPE OBJECT SIZE, a tab, and the path.
        let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
        let mut fields = std::str::from_utf8(&line[..tab]).unwrap_or_default().split_ascii_whitespace();
        if let (Some(object), Some(Ok(size))) = (fields.nth(2), fields.next().map(str::parse)) {
            there.insert(&line[tab + 1..], (object, size));
        }
    }
    // Sizes first: most commits that do not fit are told by them, without reading a file.
    let mut objects = Vec::new();
    for (path, digest) in files {
        match there.get(path.as_bytes()) {
            Some((object, size)) if *size == digest.size => objects.push((*object, *digest)),
            _ => return Ok(false),
        }
    }
    for (object, digest) in objects {
        if blobs.digest(object)? != digest {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Git's objects, by their names, each read once.
struct Blobs {
    process: Child,
    known: HashMap<String, Digest>,
}

impl Blobs {
    fn start(root: &Path) -> Result<Self> {
        let process = git(root)
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run `git`")?;
        Ok(Self { process, known: HashMap::new() })
    }

    fn digest(&mut self, object: &str) -> Result<Digest> {
        if let Some(digest) = self.known.get(object) {
            return Ok(*digest);
        }
        let digest = self.read(object).context("`git cat-file` failed")?;
        self.known.insert(object.to_owned(), digest);
        Ok(digest)
    }

    fn read(&mut self, object: &str) -> Result<Digest> {
        let input = self.process.stdin.as_mut().context("it has no input")?;
        writeln!(input, "{object}")?;
        input.flush()?;
        // The answer is read to its last byte, so that nothing of it is left in the buffer.
        let mut output =
            BufReader::with_capacity(1, self.process.stdout.as_mut().context("it has no output")?);
        let mut header = String::new();
        output.read_line(&mut header)?;
        let size = header.trim_end().rsplit(' ').next().and_then(|size| size.parse().ok());
        let size: u64 = size.with_context(|| format!("it answered `{}`", header.trim_end()))?;
        let mut content = Vec::new();
        output.into_inner().take(size + 1).read_to_end(&mut content)?;
        ensure!(content.pop() == Some(b'\n') && content.len() as u64 == size, "its answer is cut off");
        Ok(Digest::of(&content))
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // Without input it ends by itself.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(root: &Path, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").arg("-C").arg(root).args(identity).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn the_commit_is_found_by_the_contents_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let files =
            |script: &str| Files::from([("recipes/a b.sh".to_owned(), Digest::of(script.as_bytes()))]);
        let error = |root: &Path| find(root, &files("one")).err().map(|error| format!("{error:#}"));
        assert_eq!(error(root).as_deref(), Some("this checkout has no Git history"));

        run(root, &["init", "--quiet"]);
        assert!(error(root).is_some(), "there is no commit");
        std::fs::create_dir(root.join("recipes")).unwrap();
        let mut commits = Vec::new();
        for (script, other) in [("one", "1"), ("two", "2"), ("one", "3"), ("four", "4")] {
            std::fs::write(root.join("recipes/a b.sh"), script).unwrap();
            std::fs::write(root.join("other"), other).unwrap();
            run(root, &["add", "--all"]);
            run(root, &["commit", "--quiet", "--message", other]);
            commits.push(run(root, &["rev-parse", "HEAD"]));
        }
        let found = |script: &str| match find(root, &files(script)).unwrap() {
            Found::Fits(commit) => commit,
            Found::Nothing(count) => format!("none of {count}"),
        };
        // What is checked out counts before what is newest; what is not committed does not count.
        std::fs::write(root.join("recipes/a b.sh"), "five").unwrap();
        assert_eq!(found("four"), commits[3]);
        assert_eq!(found("two"), commits[1]);
        assert_eq!(found("five"), "none of 4");
        run(root, &["checkout", "--quiet", "--force", &commits[0]]);
        assert_eq!(found("one"), commits[0]);
        // In another repository, below it, there is nothing to find.
        assert_eq!(error(&root.join("recipes")).as_deref(), Some("this checkout has no Git history"));
    }
}

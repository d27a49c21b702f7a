//! Git revisions: a commit and chosen submodules, read out of Git's objects and kept as one packed tree.
//!
//! The machine's own `git` fetches, so that its proxies, mirrors (`insteadOf`) and credentials count. Objects are read
//! as they are: nothing is checked out, so no attribute, filter, line ending or hook has a part in the content. A commit
//! pins what is below it by SHA-1 alone; the lock holds our own digest of the tree beside it.

use crate::{Input, Source, Submodule, Unavailable, pack, url::without_credentials};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use store::{Entry, Scratch, Store, Tree, WithHint, hinted};

/// What a revision may hold in bytes, submodules included: more than any source that we build from (LLVM: 2 GB).
const MOST_BYTES: u64 = 8 << 30;

/// The longest link text that is read (Linux' PATH_MAX).
const LONGEST_LINK: u64 = 4096;

/// Resolves a revision and some of its submodules, by path, to what a lock holds. A submodule of a submodule needs its
/// parent in the list. Errors: it can't be fetched; a path is not a submodule; an address is not https.
pub fn resolve(
    store: &Store,
    name: &str,
    url: &str,
    revision: &str,
    submodules: &[String],
    patience: Duration,
) -> Result<Input> {
    let mut repositories = Repositories::new(store, patience)?;
    let mut resolved: BTreeMap<String, Part> = BTreeMap::new();
    resolved.insert(String::new(), repositories.get(url, revision)?);
    let mut wanted: Vec<&String> = submodules.iter().collect();
    wanted.sort();
    wanted.dedup();
    let mut locked = Vec::new();
    for path in wanted {
        let (above, inner) = owner(&resolved, path);
        let revision = above.links.get(inner).with_context(|| {
            format!("`{path}` is not a submodule of `{name}`; those there are: {}", above.known())
        })?;
        let modules = repositories.modules(above)?;
        let url =
            modules.get(inner).with_context(|| format!("`{name}` does not say where `{path}` comes from"))?;
        let url = absolute(&above.url, url)?;
        let part = repositories
            .get(&url, revision)
            .with_context(|| format!("cannot fetch the submodule `{path}` of `{name}`"))?;
        locked.push(Submodule { path: path.clone(), url, revision: revision.clone() });
        resolved.insert(path.clone(), part);
    }
    let tree = merged(&resolved)?;
    let source = Source::Git {
        url: url.to_owned(),
        revision: revision.to_owned(),
        submodules: locked,
        tree: tree.digest()?,
    };
    Ok(Input { name: name.to_owned(), digest: pack::pack(store, &tree)?, source })
}

/// Fetches a locked revision into the store. Errors: it, or a submodule, is not to be had; a submodule is at another
/// revision than the lock says; the tree is not the lock's.
pub fn fetch(store: &Store, input: &Input, patience: Duration) -> Result<()> {
    let Source::Git { url, revision, submodules, tree: expected } = &input.source else {
        bail!("`{}` is not a Git revision", input.name)
    };
    let mut repositories = Repositories::new(store, patience)?;
    let mut parts = BTreeMap::new();
    parts.insert(String::new(), repositories.get(url, revision)?);
    for Submodule { path, url, revision } in submodules {
        let (above, inner) = owner(&parts, path);
        let found = above.links.get(inner).with_context(|| {
            format!(
                "`{path}` is not a submodule at revision {}; those there are: {}",
                above.revision,
                above.known()
            )
        })?;
        ensure!(
            found == revision,
            hinted(
                format!("the submodule `{path}` is at {found}, and at {revision} in the lock"),
                "run `cargo xtask lock update inputs`"
            )
        );
        let part = repositories
            .get(url, revision)
            .with_context(|| format!("cannot fetch the submodule `{path}`"))?;
        parts.insert(path.clone(), part);
    }
    let tree = merged(&parts)?;
    let found = tree.digest()?;
    ensure!(
        found == *expected,
        "revision {revision} of {} has the tree {found}, not {expected} as in the lock: somebody has made another tree for the same commit, or the lock is wrong",
        without_credentials(url)
    );
    let packed = pack::pack(store, &tree)?;
    ensure!(packed == input.digest, "the packed tree has sha256 {}, not that of the lock", packed.hex());
    Ok(())
}

/// Looks a commit up without its files.
///
/// # Errors
/// If its repository does not have it.
pub fn look_up(url: &str, revision: &str, patience: Duration) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    run(git().args(["init", "--quiet", "--bare"]).arg(scratch.path()))?;
    run(fetching(scratch.path(), patience).args(["--filter=tree:0", "--", url, revision]))
        .with_context(|| format!("cannot fetch revision {revision} of {}", without_credentials(url)))?;
    Ok(())
}

/// `git fetch` of one commit into a repository, without what to fetch.
fn fetching(directory: &Path, patience: Duration) -> Command {
    let mut command = git();
    command
        .arg("-C")
        .arg(directory)
        .args(["-c", "http.lowSpeedLimit=1024", "-c"])
        .arg(format!("http.lowSpeedTime={}", patience.as_secs().max(1)))
        .args(["fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head"]);
    command
}

/// A commit's files and its submodules.
struct Part {
    url: String,
    revision: String,
    directory: PathBuf,
    tree: Tree,
    /// Path to revision.
    links: BTreeMap<String, String>,
}

impl Part {
    fn known(&self) -> String {
        match self.links.is_empty() {
            true => "none".to_owned(),
            false => self.links.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        }
    }
}

/// The part that a path belongs to, and the path below it.
fn owner<'a, 'b>(parts: &'a BTreeMap<String, Part>, path: &'b str) -> (&'a Part, &'b str) {
    let mut best = (&parts[""], path);
    for (above, part) in parts {
        if let Some(inner) = path.strip_prefix(above.as_str()).and_then(|rest| rest.strip_prefix('/')) {
            best = (part, inner);
        }
    }
    best
}

/// Everything in its place; submodules that nobody wants are empty directories, as Git leaves them.
fn merged(parts: &BTreeMap<String, Part>) -> Result<Tree> {
    let mut all = Tree::new();
    for (path, part) in parts {
        all.merge(path, &part.tree)?;
    }
    for (path, part) in parts {
        for link in part.links.keys() {
            let place = if path.is_empty() { link.clone() } else { format!("{path}/{link}") };
            if !parts.contains_key(&place) {
                all.insert(&place, Entry::Directory)?;
            }
        }
    }
    Ok(all)
}

/// Bare repositories in a scratch directory, one a fetch.
struct Repositories<'a> {
    store: &'a Store,
    scratch: Scratch,
    patience: Duration,
    count: usize,
    left: u64,
}

impl<'a> Repositories<'a> {
    fn new(store: &'a Store, patience: Duration) -> Result<Self> {
        Ok(Self { store, scratch: store.scratch()?, patience, count: 0, left: MOST_BYTES })
    }

    /// Fetches a commit, without its history, and reads what it holds.
    fn get(&mut self, url: &str, revision: &str) -> Result<Part> {
        let shown = without_credentials(url);
        ensure!(
            is_address(url),
            hinted(
                format!("`{shown}` is not an address that a Git input may have"),
                "it must start with https://"
            )
        );
        ensure!(
            is_revision(revision),
            hinted(format!("`{revision}` is not a revision"), "give all 40 digits of the commit")
        );
        let directory = self.scratch.path().join(self.count.to_string());
        self.count += 1;
        run(git().args(["init", "--quiet", "--bare"]).arg(&directory))?;
        let mut command = fetching(&directory, self.patience);
        command.args(["--", url, revision]);
        run(&mut command).map_err(|error| Unavailable {
            names: Vec::new(),
            problems: format!("cannot fetch revision {revision} of {shown}: {error:#}"),
            hints: vec![
                "if the branch was rewritten or the repository is gone, take it from a directory that `vendor` wrote (`--vendored DIR`), a server with such files (`--mirror URL`), or a copy of your own (`--input NAME=DIR`)".to_owned(),
            ],
        })?;
        let (tree, links) =
            self.read(&directory, revision).with_context(|| format!("cannot read {shown}"))?;
        Ok(Part { url: url.to_owned(), revision: revision.to_owned(), directory, tree, links })
    }

    fn read(&mut self, directory: &PathBuf, revision: &str) -> Result<(Tree, BTreeMap<String, String>)> {
        let listing =
            run(git().arg("-C").arg(directory).args(["ls-tree", "-r", "-z", "--full-tree", revision]))?;
        let (mut files, mut links) = (Vec::new(), BTreeMap::new());
        for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let line = std::str::from_utf8(line).context("it has a path that is not UTF-8")?;
            let (meta, path) = line.split_once('\t').context("git lists something else than files")?;
            let mut meta = meta.split(' ');
            let (mode, object) = (meta.next().unwrap_or_default(), meta.nth(1).unwrap_or_default());
            // Git itself refuses such a path; what it means to a Git that runs there later is nobody's guess.
            let is_git = path.split('/').any(|part| part.eq_ignore_ascii_case(".git"));
            ensure!(!is_git, "it has the path `{}`", path.escape_debug());
            match mode {
                "160000" => drop(links.insert(path.to_owned(), object.to_owned())),
                "100644" | "100664" | "100755" | "120000" => {
                    files.push((mode.to_owned(), object.to_owned(), path.to_owned()));
                }
                other => bail!("`{}` has the mode {other}, which no file has", path.escape_debug()),
            }
        }
        let mut reader = Objects::start(directory, files.iter().map(|(_, object, _)| object.as_str()))?;
        let mut tree = Tree::new();
        for (mode, object, path) in &files {
            let mut content = reader.next(object)?;
            self.left = self
                .left
                .checked_sub(content.limit())
                .with_context(|| format!("it holds more than {MOST_BYTES} bytes"))?;
            let entry = match mode.as_str() {
                "120000" => {
                    ensure!(content.limit() <= LONGEST_LINK, "the link `{path}` is too long");
                    let mut target = String::new();
                    content
                        .read_to_string(&mut target)
                        .with_context(|| format!("the link `{path}` is not text"))?;
                    Entry::Symlink { target }
                }
                mode => {
                    let mut writer = self.store.writer()?;
                    let expected = content.limit();
                    let copied = std::io::copy(&mut content, &mut writer)?;
                    ensure!(copied == expected, "git ended within `{path}`");
                    Entry::File { digest: writer.finish(None)?, executable: mode == "100755" }
                }
            };
            tree.insert(path, entry)?;
            reader.end()?;
        }
        reader.finish()?;
        Ok((tree, links))
    }

    /// `.gitmodules` as path to address.
    fn modules(&self, part: &Part) -> Result<BTreeMap<String, String>> {
        let blob = format!("{}:.gitmodules", part.revision);
        let text =
            run(git().arg("-C").arg(&part.directory).args(["config", "--blob", &blob, "--list", "-z"]))
                .context("cannot read `.gitmodules`")?;
        let (mut paths, mut urls) = (BTreeMap::new(), BTreeMap::new());
        for entry in String::from_utf8_lossy(&text).split('\0') {
            let Some((key, value)) = entry.split_once('\n') else { continue };
            let Some(rest) = key.strip_prefix("submodule.") else { continue };
            if let Some(name) = rest.strip_suffix(".path") {
                paths.insert(name.to_owned(), value.trim_end_matches('/').to_owned());
            } else if let Some(name) = rest.strip_suffix(".url") {
                urls.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(paths.into_iter().filter_map(|(name, path)| Some((path, urls.remove(&name)?))).collect())
    }
}

/// `git cat-file --batch`: the objects, one after the other.
struct Objects {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    feeder: std::thread::JoinHandle<std::io::Result<()>>,
}

impl Objects {
    fn start<'a>(directory: &PathBuf, objects: impl Iterator<Item = &'a str>) -> Result<Self> {
        let wanted: String = objects.flat_map(|object| [object, "\n"]).collect();
        let mut child = git()
            .arg("-C")
            .arg(directory)
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `git`")?;
        let mut input = child.stdin.take().context("git has no input")?;
        let output = BufReader::with_capacity(1 << 17, child.stdout.take().context("git has no output")?);
        // Fed from the side: git answers while it is still being asked.
        let feeder = std::thread::spawn(move || input.write_all(wanted.as_bytes()));
        Ok(Self { child, output, feeder })
    }

    fn next(&mut self, object: &str) -> Result<std::io::Take<&mut BufReader<std::process::ChildStdout>>> {
        let mut header = String::new();
        self.output.by_ref().take(200).read_line(&mut header)?;
        let words: Vec<&str> = header.split_whitespace().collect();
        let [found, "blob", size] = words[..] else {
            bail!("git lacks the object {object}: {}", header.trim())
        };
        ensure!(found == object, "git gives {found} where {object} was asked for");
        Ok(self.output.by_ref().take(size.parse().context("git gives no size")?))
    }

    /// The newline behind a content.
    fn end(&mut self) -> Result<()> {
        let mut newline = [0];
        self.output.read_exact(&mut newline).context("git ended too early")?;
        ensure!(newline == *b"\n", "git gives more than it said");
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        drop(self.output);
        let fed = self.feeder.join().map_err(|_| anyhow::anyhow!("cannot write to `git`"))?;
        fed.context("cannot write to `git`")?;
        ensure!(self.child.wait()?.success(), "`git cat-file` failed");
        Ok(())
    }
}

/// Git without questions, hooks and the variables of a Git that we may have been started from.
fn git() -> Command {
    let mut command = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
        command.env_remove(variable);
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command.args(["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "protocol.ext.allow=never"]);
    command
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_hint(|| hinted("cannot run `git`", "Git inputs are fetched by it; install it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git says: {}", said.trim().replace('\n', "; "));
    Ok(output.stdout)
}

/// All of a commit's hexadecimal digits.
pub fn is_revision(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// https, or a server of this machine.
pub fn is_address(url: &str) -> bool {
    ["https://", "http://127.0.0.1:", "git://127.0.0.1:"].iter().any(|start| url.starts_with(start))
}

/// The address of a submodule; `./` and `../` are relative to the repository's own.
fn absolute(above: &str, url: &str) -> Result<String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return Ok(url.to_owned());
    }
    let (scheme, rest) = above.split_once("://").context("an address without a scheme")?;
    let mut parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
    for part in url.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                ensure!(parts.len() > 1, "`{url}` leads out of {above}");
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Ok(format!("{scheme}://{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_submodules_are_beside_their_repository() {
        let above = "https://x.invalid/a/b.git";
        assert_eq!(absolute(above, "../c.git").unwrap(), "https://x.invalid/a/c.git");
        assert_eq!(absolute(above, "https://y.invalid/d").unwrap(), "https://y.invalid/d");
        assert!(absolute(above, "../../../../e").is_err());
    }

    #[test]
    fn only_whole_revisions_at_https_are_inputs() {
        assert!(is_revision(&"0a".repeat(20)));
        for wrong in ["main", "0a0a0a", &"0A".repeat(20)] {
            assert!(!is_revision(wrong), "{wrong}");
        }
        for wrong in ["git@x.invalid:a/b", "file:///etc", "ext::sh -c x", "http://x.invalid/a"] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}

//! Signatures that are collected in a Git repository: `attestations/RELEASE/BUILDER/`, a directory for each builder, so that a
//! change to the repository can be seen to come from one.

use super::{CHECKSUMS_SIGNATURE, ENVELOPE};
use crate::names::{printable, why_unsafe};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

/// What a builder's directory may hold, for messages.
const BUILDER_FILES: &str = "files NAME.intoto.jsonl and SHA256SUMS.minisig";

/// The most files that a change may touch.
const MOST: usize = 10_000;

/// The builders' directories of a release below `attestations`, sorted. `manifest` is the SHA-256 of its release.json.
///
/// # Errors
/// If there is no such directory, or it can't be read.
pub fn collected(attestations: &Path, name: &str, manifest: &str) -> Result<Vec<PathBuf>> {
    let place = attestations.join(release_name(name, manifest));
    let context = || format!("cannot read {}", place.display());
    let mut builders = Vec::new();
    for entry in std::fs::read_dir(&place).with_context(context)? {
        let entry = entry.with_context(context)?;
        if entry.file_type().with_context(context)?.is_dir() {
            builders.push(entry.path());
        }
    }
    builders.sort();
    Ok(builders)
}

/// The directory of a release below `attestations`: its name, and the start of the SHA-256 of its release.json, since there are
/// many states of a release.
pub fn release_name(name: &str, manifest: &str) -> String {
    format!("{name}-{}", manifest.get(..16).unwrap_or(manifest))
}

/// Checks that a change of a Git repository (`BASE..HEAD`, or whatever `git diff` takes) adds or changes files of one builder's
/// directory, and nothing else. Gives `RELEASE/BUILDER`.
///
/// # Errors
/// With all that is wrong; if Git fails.
pub fn check_change(repository: &Path, range: &str, attestations: &str) -> Result<String> {
    ensure!(!range.starts_with('-'), "`{}` is not a range of commits", range.escape_debug());
    let output = Command::new("git")
        .arg("-C")
        .arg(repository)
        // What an attribute or a setting of the repository says must not change what is seen.
        .args([
            "-c",
            "core.quotePath=false",
            "diff",
            "--raw",
            "-z",
            "--no-renames",
            "--no-ext-diff",
            "--no-color",
        ])
        .args(["--no-abbrev", range, "--"])
        .output()
        .context("cannot run git")?;
    ensure!(
        output.status.success(),
        "git cannot compare `{range}`: {}",
        printable(String::from_utf8_lossy(&output.stderr).trim())
    );
    let changes = parse(&output.stdout).context("git's answer makes no sense")?;
    one_builder(&changes, attestations)
}

/// A changed file: its mode after the change, and its path.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    mode: String,
    path: String,
}

/// `:OLDMODE NEWMODE OLD NEW STATUS\0PATH\0`, again and again.
fn parse(text: &[u8]) -> Result<Vec<Change>> {
    let mut fields = text.split(|byte| *byte == 0);
    let mut changes = Vec::new();
    while let Some(head) = fields.next().filter(|head| !head.is_empty()) {
        let head = std::str::from_utf8(head).context("it is not text")?;
        let mode = head.split(' ').nth(1).context("it has no mode")?;
        let path = fields.next().context("it has no path")?;
        // What is not UTF-8 becomes a name that is refused below.
        let path = String::from_utf8(path.to_vec()).unwrap_or_else(|_| format!("{}\0", path.escape_ascii()));
        changes.push(Change { mode: mode.to_owned(), path });
        ensure!(changes.len() <= MOST, "it touches more than {MOST} files");
    }
    Ok(changes)
}

fn one_builder(changes: &[Change], attestations: &str) -> Result<String> {
    ensure!(!changes.is_empty(), "the change touches no file");
    let (mut builders, mut wrong) = (BTreeSet::new(), Vec::new());
    for Change { mode, path } in changes {
        let shown = printable(path);
        let below = path.strip_prefix(attestations).and_then(|path| path.strip_prefix('/'));
        let parts: Vec<&str> = below.unwrap_or_default().split('/').collect();
        match parts.as_slice() {
            [release, builder, file] if why_unsafe(path).is_none() => {
                builders.insert(format!("{release}/{builder}"));
                if !(file.ends_with(ENVELOPE) || *file == CHECKSUMS_SIGNATURE) {
                    wrong.push(format!("`{shown}` is not one of the {BUILDER_FILES}"));
                }
                // 000000 is a file that the builder took back.
                if !matches!(mode.as_str(), "100644" | "000000") {
                    wrong.push(format!(
                        "`{shown}` has the mode {mode}, and a signature is a plain file (100644)"
                    ));
                }
            }
            _ => wrong.push(format!("`{shown}` is not in {attestations}/RELEASE/BUILDER/")),
        }
    }
    if builders.len() > 1 {
        let list: Vec<_> = builders.iter().map(|builder| printable(builder)).collect();
        wrong.push(format!("it touches more than one builder's directory: {}", list.join(", ")));
    }
    ensure!(wrong.is_empty(), "the change is not one builder's:\n  {}", wrong.join("\n  "));
    builders.pop_first().context("the change touches no builder's directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(directory: &Path, words: &[&str]) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
        let output =
            Command::new("git").arg("-C").arg(directory).args(identity).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A repository with a commit, and a second one that `change` makes; what is said of the change.
    fn change(change: impl FnOnce(&Path)) -> String {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q", "-b", "main"]);
        let write = |path: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}\n").unwrap();
        };
        write("README");
        write("attestations/tvm-1/bob/release.intoto.jsonl");
        git(root, &["add", "."]);
        git(root, &["commit", "-q", "-m", "first"]);
        change(root);
        git(root, &["add", "-A"]);
        git(root, &["commit", "-q", "--allow-empty", "-m", "second"]);
        match check_change(root, "HEAD~1..HEAD", "attestations") {
            Ok(builder) => builder,
            Err(error) => format!("{error:#}"),
        }
    }

    fn add(root: &Path, path: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{\"more\":1}\n").unwrap();
    }

    #[test]
    fn one_builder_adds_changes_and_takes_back() {
        let found = change(|root| {
            add(root, "attestations/tvm-1/alice/release.intoto.jsonl");
            add(root, "attestations/tvm-1/alice/tvm.zip.intoto.jsonl");
            add(root, "attestations/tvm-1/alice/SHA256SUMS.minisig");
        });
        assert_eq!(found, "tvm-1/alice");
        assert_eq!(change(|root| add(root, "attestations/tvm-1/bob/release.intoto.jsonl")), "tvm-1/bob");
        let found = change(|root| {
            std::fs::remove_file(root.join("attestations/tvm-1/bob/release.intoto.jsonl")).unwrap();
        });
        assert_eq!(found, "tvm-1/bob");
    }

    #[test]
    fn whatever_else_is_touched_is_named() {
        let alice = "attestations/tvm-1/alice/release.intoto.jsonl";
        type Tamper = fn(&Path);
        let cases: [(&str, Tamper); 8] = [
            ("the change touches no file", |_| {}),
            ("touches more than one builder's directory: tvm-1/alice, tvm-1/bob", |root| {
                add(root, "attestations/tvm-1/bob/release.intoto.jsonl");
            }),
            ("touches more than one builder's directory: tvm-1/alice, tvm-2/alice", |root| {
                add(root, "attestations/tvm-2/alice/release.intoto.jsonl");
            }),
            ("`README` is not in attestations/RELEASE/BUILDER/", |root| add(root, "README")),
            ("`attestations/policy.toml` is not in", |root| add(root, "attestations/policy.toml")),
            ("`attestations/tvm-1/alice/run.sh` is not one of", |root| {
                add(root, "attestations/tvm-1/alice/run.sh");
            }),
            ("has the mode 120000", |root| {
                std::fs::create_dir_all(root.join("attestations/tvm-1/alice")).unwrap();
                let link = root.join("attestations/tvm-1/alice/SHA256SUMS.minisig");
                std::os::unix::fs::symlink("/etc/passwd", link).unwrap();
            }),
            // Git would show a move as one file.
            ("touches more than one builder's directory", |root| {
                let [from, to] = ["bob", "alice"].map(|it| root.join("attestations/tvm-1").join(it));
                std::fs::create_dir_all(&to).unwrap();
                std::fs::rename(from.join("release.intoto.jsonl"), to.join("moved.intoto.jsonl")).unwrap();
            }),
        ];
        for (number, (expected, tamper)) in cases.into_iter().enumerate() {
            let found = change(|root| {
                if number > 0 {
                    add(root, alice);
                }
                tamper(root);
            });
            assert!(found.contains(expected), "{expected}: {found}");
        }
        assert!(check_change(Path::new("."), "--output=x", "attestations").is_err());
    }
}

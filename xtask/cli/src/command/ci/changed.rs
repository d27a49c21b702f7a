//! Which files of the checkout changed since a revision.

use anyhow::{Context, Result, ensure};
use std::{collections::BTreeSet, path::Path, process::Command};
use store::{WithHint, hinted};

/// Paths of files that differ from the common ancestor of `revision` and the checkout: committed, not committed, new, removed.
///
/// # Errors
/// When this is not a Git checkout, or there is no such revision in it.
pub fn files(root: &Path, revision: &str) -> Result<Vec<String>> {
    // As a revision it is looked up, so that no option can be meant.
    let commit = git(
        root,
        &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")],
    )
    .with_hint(|| {
        hinted(
            format!("there is no revision `{revision}` in this checkout"),
            "give a branch, a tag or a commit; a shallow clone has few",
        )
    })?;
    let base = git(root, &["merge-base", "HEAD", commit.trim()]).with_hint(|| {
        hinted(format!("`{revision}` and this checkout have no common ancestor"), "fetch more of the history")
    })?;
    let changed = git(root, &["diff", "--name-only", "-z", "--no-renames", base.trim()])?;
    let new = git(root, &["ls-files", "-z", "--others", "--exclude-standard"])?;
    let files: BTreeSet<&str> =
        changed.split('\0').chain(new.split('\0')).filter(|path| !path.is_empty()).collect();
    Ok(files.into_iter().map(str::to_owned).collect())
}

fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output =
        Command::new("git").arg("-C").arg(root).args(arguments).output().context("cannot run git")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn committed_and_new_files_count_since_the_common_ancestor() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let run = |arguments: &[&str]| {
            let who = ["-c", "user.name=n", "-c", "user.email=e", "-c", "init.defaultBranch=main"];
            git(root, &[&who[..], arguments].concat()).unwrap();
        };
        run(&["init", "--quiet"]);
        for name in ["same", "edited", "gone", "ä b"] {
            fs::write(root.join(name), name).unwrap();
        }
        fs::write(root.join(".gitignore"), "target\n").unwrap();
        run(&["add", "."]);
        run(&["commit", "--quiet", "--message", "one"]);
        run(&["checkout", "--quiet", "-b", "work"]);
        fs::write(root.join("ä b"), "2").unwrap();
        run(&["commit", "--quiet", "--all", "--message", "two"]);
        run(&["checkout", "--quiet", "main"]);
        fs::write(root.join("same"), "theirs").unwrap();
        run(&["commit", "--quiet", "--all", "--message", "theirs"]);
        run(&["checkout", "--quiet", "work"]);
        fs::write(root.join("edited"), "2").unwrap();
        fs::remove_file(root.join("gone")).unwrap();
        fs::write(root.join("new"), "").unwrap();
        fs::write(root.join("target"), "").unwrap();
        assert_eq!(files(root, "main").unwrap(), ["edited", "gone", "new", "ä b"]);
        for wrong in ["nowhere", "--help", "-x"] {
            let error = files(root, wrong).unwrap_err().to_string();
            assert!(error.contains(&format!("there is no revision `{wrong}`")), "{error}");
        }
    }
}

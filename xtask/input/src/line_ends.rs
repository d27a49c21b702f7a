//! Files of the repository are inputs by their bytes: a checkout with Windows' line ends is another one.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use store::hinted;

/// Directories of the repository whose files are part of builds, locks and releases.
const DIRECTORIES: [&str; 6] = ["containers", "models", "patches", "recipes", "releases", "sysroot"];

const HINT: &str = "Git for Windows makes them unless told otherwise: in a checkout without changes of yours, run `git config core.autocrlf false`, then `git rm -rq --cached .` and `git reset -q --hard`; an editor must keep the line ends that are there";

/// Reads a text of the repository. Errors: it can't be read, is not UTF-8, or has Windows' line ends.
pub fn read_text(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if text.contains("\r\n") {
        let shown = path.display();
        bail!(hinted(
            format!("{shown} has Windows line ends (CRLF), and its digest would be another one"),
            HINT
        ));
    }
    Ok(text)
}

/// Errors: a lock, manifest, recipe, script or patch of the repository has Windows' line ends. The first one is named, the
/// others are counted.
pub fn check_line_ends(root: &Path) -> Result<()> {
    let mut found = Vec::new();
    for directory in DIRECTORIES {
        let directory = root.join(directory);
        if directory.is_dir() {
            search(&directory, &mut found)?;
        }
    }
    found.sort();
    let Some(first) = found.first() else { return Ok(()) };
    let first = first.strip_prefix(root).unwrap_or(first).display();
    let others = match found.len() - 1 {
        0 => "its digest would be another one".to_owned(),
        more => format!(
            "so {} {more} more; their digests would be others",
            if more == 1 { "has" } else { "have" }
        ),
    };
    bail!(hinted(format!("{first} has Windows line ends (CRLF), and {others}"), HINT))
}

fn search(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let reading = || format!("cannot read {}", directory.display());
    for entry in std::fs::read_dir(directory).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let path = entry.path();
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_dir() {
            search(&path, found)?;
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if has_windows_line_ends(&path, &bytes) {
                found.push(path);
            }
        }
    }
    Ok(())
}

/// A patch may change a file that has them, so only its own lines count.
fn has_windows_line_ends(path: &Path, bytes: &[u8]) -> bool {
    let is_patch = path.extension().is_some_and(|extension| extension == "patch");
    if bytes.contains(&0) {
        return false;
    }
    bytes.split(|byte| *byte == b'\n').any(|line| {
        let is_own = !is_patch || [&b"@@ "[..], b"--- ", b"+++ "].iter().any(|start| line.starts_with(start));
        is_own && line.ends_with(b"\r")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        check_line_ends(directory.path()).err().map(|error| store::full_text(&error))
    }

    #[test]
    fn each_kind_of_file_is_looked_at() {
        let patch = "Why.\r\n--- a/x\r\n+++ b/x\r\n@@ -1 +1 @@\r\n-a\r\n+b\r\n";
        for (path, text) in [
            ("containers/windows.lock", "version = 1\r\n"),
            ("recipes/hello.toml", "name = 'hello'\r\n"),
            ("recipes/hello.sh", "true\r\n"),
            ("recipes/deep/er/CMakeLists.txt", "project(x)\n\r\n"),
            ("releases/tvm.toml", "\r\n"),
            ("models/m.lock", "version = 1\r\n"),
            ("sysroot/include/x.h", "#include <y.h>\r\n"),
            ("patches/tvm/0001-x.patch", patch),
        ] {
            let error = found(&[("recipes/fine.toml", "a = 1\n"), (path, text)]).unwrap();
            assert!(
                error.starts_with(&format!("{path} has Windows line ends (CRLF), and its digest")),
                "{error}"
            );
            assert!(error.contains("core.autocrlf false"), "{error}");
        }
    }

    #[test]
    fn many_files_are_counted_and_fine_ones_pass() {
        let error = found(&[("recipes/a", "\r\n"), ("recipes/b", "\r\n"), ("models/c", "\r\n")]).unwrap();
        assert!(error.starts_with("models/c has Windows line ends (CRLF), and so have 2 more"), "{error}");
        // A patch of a file that has them, and what is not text.
        let patch = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\r\n+b\r\n";
        assert_eq!(
            found(&[("patches/x/1.patch", patch), ("recipes/data", "\0\r\n"), ("docs/x", "\r\n")]),
            None
        );
    }
}

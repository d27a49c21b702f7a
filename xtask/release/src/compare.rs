//! Two directories of the same release: where they differ first.

use crate::{
    Problem,
    provenance::is_signature,
    verify::{Found, list},
};
use anyhow::{Context, Result};
use artifact::first_difference;
use serde_json::Value;
use std::{collections::BTreeSet, path::Path};

/// Values of a manifest that are shown; the rest is counted.
const SHOWN: usize = 20;

/// Compares a release with its rebuild. Every file that one of them lacks is named; for every file that differs, the
/// first byte that does is shown, with the archive's member and the library's section that it stands in. For the
/// manifest, the values that differ are named: they say why. Errors: a directory can't be read.
pub fn compare(given: &Path, rebuilt: &Path) -> Result<Vec<Problem>> {
    let (left, right) = (list(given)?, list(rebuilt)?);
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let mut problems = Vec::new();
    for name in names {
        let problem = match (left.get(name), right.get(name)) {
            (Some(Found::Directory), Some(Found::Directory)) => None,
            (Some(Found::File(_)), Some(Found::File(_))) => {
                difference(name, &given.join(name), &rebuilt.join(name))?
            }
            // Nobody's signature is made by a rebuild. `verify` says whether they are the release's.
            (Some(_), None) if is_signature(name) => None,
            (Some(_), None) => Some("was not made by the rebuild".to_owned()),
            (None, _) => Some("is made by the rebuild, but not in the release".to_owned()),
            (Some(_), Some(_)) => Some("is not of the same kind in both".to_owned()),
        };
        problems.extend(problem.map(|problem| Problem { file: name.clone(), problem }));
    }
    Ok(problems)
}

fn difference(name: &str, given: &Path, rebuilt: &Path) -> Result<Option<String>> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (expected, found) = (read(given)?, read(rebuilt)?);
    if name == "release.json"
        && expected != found
        && let (Ok(left), Ok(right)) = (serde_json::from_slice(&expected), serde_json::from_slice(&found))
    {
        let mut lines = Vec::new();
        values(String::new(), &left, &right, &mut lines);
        if !lines.is_empty() {
            let rest = lines.len().saturating_sub(SHOWN);
            lines.truncate(SHOWN);
            if rest > 0 {
                lines.push(format!("\n    and {rest} more"));
            }
            return Ok(Some(format!("differs:{}", lines.concat())));
        }
    }
    Ok(first_difference(name, &expected, &found).map(|difference| difference.to_string()))
}

/// Every value that differs, by JSON Pointer (RFC 6901).
pub(crate) fn values(place: String, left: &Value, right: &Value, lines: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let place = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                values(place, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), lines);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for index in 0..a.len().max(b.len()) {
                let at = |list: &[Value]| list.get(index).cloned().unwrap_or(Value::Null);
                values(format!("{place}/{index}"), &at(a), &at(b), lines);
            }
        }
        (a, b) if a == b => {}
        (a, b) => lines.push(format!("\n    {place}\n      expected {a}\n      found    {b}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{example, write};
    use store::{Digest, Entry, Tree};

    fn text(given: &Path, rebuilt: &Path) -> String {
        compare(given, rebuilt).unwrap().iter().map(|problem| format!("{problem}\n")).collect()
    }

    #[test]
    fn a_rebuild_that_differs_is_shown_to_the_byte() {
        let (directory, store, mut manifest) = example::release();
        let [given, rebuilt] = ["given", "rebuilt"].map(|name| directory.path().join(name));
        write(&store, &manifest, &given).unwrap();
        write(&store, &manifest, &rebuilt).unwrap();
        assert_eq!(text(&given, &rebuilt), "");

        let artifact = &mut manifest.artifacts[0];
        let mut tree = Tree::new();
        for file in &mut artifact.files {
            if file.path == "bin/hello.dll" {
                *file = crate::File::new(&file.path, &store.put_bytes(b"liXrary").unwrap());
            }
            let digest = file.digest().unwrap();
            tree.insert(&file.path, Entry::File { digest, executable: file.executable }).unwrap();
        }
        let archive = artifact::write_archive(&store, &tree, &artifact.title(), artifact::Kind::Zip).unwrap();
        artifact.archive = crate::File::new(example::ARCHIVE, &archive);
        artifact.step.outputs = tree.write(&store).unwrap();
        write(&store, &manifest, &rebuilt).unwrap();
        let found = text(&given, &rebuilt);
        let top = example::ARCHIVE.strip_suffix(".zip").unwrap();
        assert!(found.contains(&format!("{} > {top}/bin/hello.dll differs at offset 0x2", example::ARCHIVE)));
        assert!(found.contains("release.json: differs:\n    /artifacts/0/archive/sha256\n"), "{found}");
        assert!(found.contains("/artifacts/0/step/outputs"), "{found}");
    }

    #[test]
    fn files_that_one_of_them_lacks_are_named() {
        let (directory, store, manifest) = example::release();
        let [given, rebuilt] = ["given", "rebuilt"].map(|name| directory.path().join(name));
        write(&store, &manifest, &given).unwrap();
        write(&store, &manifest, &rebuilt).unwrap();
        std::fs::remove_file(rebuilt.join(example::ARCHIVE)).unwrap();
        std::fs::remove_file(given.join("SHA256SUMS")).unwrap();
        assert_eq!(
            text(&given, &rebuilt),
            format!(
                "SHA256SUMS: is made by the rebuild, but not in the release\n{}: was not made by the rebuild\n",
                example::ARCHIVE
            )
        );
    }

    #[test]
    fn many_differences_are_counted() {
        let list = |text: &str| Value::Array(vec![Value::from(text); 3]);
        let mut lines = Vec::new();
        values(String::new(), &list("a"), &list("b"), &mut lines);
        assert_eq!(lines[2], "\n    /2\n      expected \"a\"\n      found    \"b\"");
        values(String::new(), &Value::from(Digest::of(b"").hex()), &Value::Null, &mut lines);
        assert_eq!(lines.len(), 4);
    }
}

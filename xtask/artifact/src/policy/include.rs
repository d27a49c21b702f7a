//! Policies that include others: lists are joined, tables merged, and of anything else both must say the same.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A policy's file with all that it includes. `chain` are the files that led to it.
pub fn read(path: &Path, chain: &mut Vec<PathBuf>) -> Result<Table> {
    ensure!(!chain.iter().any(|before| before == path), "{} includes itself", path.display());
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let no_policy = || format!("{} is not a policy", path.display());
    let mut table: Table = toml::from_str(&text).with_context(no_policy)?;
    let names: Vec<String> =
        table.remove("include").map(Value::try_into).transpose().with_context(no_policy)?.unwrap_or_default();
    chain.push(path.to_owned());
    for name in names {
        let other = read(&path.with_file_name(format!("{name}.toml")), chain)?;
        merge(&mut table, other, "").with_context(|| format!("{} can't include `{name}`", path.display()))?;
    }
    chain.pop();
    Ok(table)
}

fn merge(table: &mut Table, other: Table, above: &str) -> Result<()> {
    for (key, theirs) in other {
        let name = format!("{above}{key}");
        match (table.get_mut(&key), theirs) {
            (None, theirs) => {
                table.insert(key, theirs);
            }
            (Some(Value::Table(ours)), Value::Table(theirs)) => merge(ours, theirs, &format!("{name}."))?,
            (Some(Value::Array(ours)), Value::Array(theirs)) => {
                let new: Vec<_> = theirs.into_iter().filter(|value| !ours.contains(value)).collect();
                ours.extend(new);
            }
            (Some(ours), theirs) => {
                ensure!(*ours == theirs, "`{name}` is {ours} in one and {theirs} in the other");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Policy;
    use std::path::Path;
    use tempfile::TempDir;

    fn directory(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    fn refused(files: &[(&str, &str)]) -> String {
        let directory = directory(files);
        format!("{:#}", Policy::load(&directory.path().join("a.toml")).unwrap_err())
    }

    #[test]
    fn lists_are_joined_and_tables_merged() {
        let directory = directory(&[
            ("a.toml", "include = ['base/b', 'base/c']\nrequired = ['a']\n[elf]\nneeded = ['one']\n"),
            (
                "base/b.toml",
                "include = ['d']\nrequired = ['b', 'a']\n[elf]\nneeded = ['two']\nalignment = 4096\n",
            ),
            ("base/c.toml", "include = ['d']\n[elf]\nalignment = 4096\n[exports]\nlibrary = ['f']\n"),
            ("base/d.toml", "forbidden = ['/home/']\nholds = {}\n"),
        ]);
        let (policy, digest) = Policy::load(&directory.path().join("a.toml")).unwrap();
        assert_eq!(policy.required, ["a", "b"]);
        assert_eq!(policy.forbidden, ["/home/"]);
        assert_eq!(policy.exports["library"], ["f"]);
        let elf = policy.elf.unwrap();
        assert_eq!((elf.needed, elf.alignment), (vec!["one".to_owned(), "two".to_owned()], 4096));

        // What is included counts; words of ours and their order do not.
        let change = |text: &str| {
            std::fs::write(directory.path().join("base/d.toml"), text).unwrap();
            Policy::load(&directory.path().join("a.toml")).unwrap().1
        };
        assert_eq!(change("holds = {}\n# Where people build.\nforbidden = [\"/home/\"]\n"), digest);
        assert_ne!(change("holds = {}\nforbidden = ['/root/']\n"), digest);
    }

    #[test]
    fn what_cannot_be_included_is_told() {
        let circle = refused(&[("a.toml", "include = ['b']"), ("b.toml", "include = ['a']")]);
        assert!(circle.contains("a.toml includes itself"), "{circle}");
        let missing = refused(&[("a.toml", "include = ['b']")]);
        assert!(missing.contains("cannot read") && missing.contains("b.toml"), "{missing}");
        let other = refused(&[
            ("a.toml", "include = ['b']\n[elf]\nalignment = 16384\n"),
            ("b.toml", "[elf]\nalignment = 4096\n"),
        ]);
        assert!(other.contains("can't include `b`: `elf.alignment` is 16384 in one and 4096 in"), "{other}");
        let unknown = refused(&[("a.toml", "include = ['b']"), ("b.toml", "requires = ['x']\n")]);
        assert!(unknown.contains("a.toml is not a policy") && unknown.contains("requires"), "{unknown}");
        let word = refused(&[("a.toml", "include = 'b'")]);
        assert!(word.contains("a.toml is not a policy"), "{word}");
    }

    #[test]
    fn every_policy_of_the_repository_can_be_read() {
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/policies");
        let mut read = 0;
        for entry in std::fs::read_dir(policies).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let (policy, _) = Policy::load(&path).unwrap();
                assert!(!policy.required.is_empty() && !policy.forbidden.is_empty(), "{}", path.display());
                read += 1;
            }
        }
        assert!(read > 0);
    }
}

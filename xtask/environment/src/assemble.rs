//! From locked packages to the tree of a root file system.

use crate::Definition;
use anyhow::{Context, Result, bail};
use input::{FetchOptions, Format, Input, Lock, Part, fetch, unpack};
use rayon::prelude::*;
use std::collections::HashMap;
use store::{Action, ActionResult, Digest, Entry, Progress, Store, Tree, Unit};

/// Raised when the same packages and fix-ups would give another tree.
const VERSION: &str = "1";

/// An assembled environment. Its identity is its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The name in `containers/`.
    pub name: String,
    /// Root of the tree.
    pub root: Digest,
}

/// Unpacks every package of the lock (once ever, in parallel, without maintainer scripts), merges the trees and applies
/// the fix-ups. When the same was done before, one result is read. Errors: a package that can't be had or read, two
/// packages that ship different files at a path, a fix-up whose source is missing.
pub fn assemble(
    store: &Store,
    name: &str,
    definition: &Definition,
    lock: &Lock,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Environment> {
    let mut words = vec!["assemble".to_owned(), VERSION.to_owned(), format!("{definition:?}")];
    words.extend(lock.inputs.iter().map(|input| input.digest.to_string()));
    let key = Action::named(words).digest();
    if let Some(result) = store.result(&key)? {
        return Ok(Environment { name: name.to_owned(), root: result.outputs });
    }
    let inputs: Vec<&Input> = lock.inputs.iter().collect();
    fetch(store, &inputs, options, progress)?;
    let meter = progress.begin(&format!("assembling {name}"), inputs.len() as u64, Unit::Items);
    let trees: Vec<Tree> = inputs
        .par_iter()
        .map(|input| {
            let tree = unpack(store, &input.digest, Format::Deb, &Part::default())
                .with_context(|| format!("cannot unpack the package `{}`", input.name))?;
            meter.add(1);
            Ok(tree)
        })
        .collect::<Result<_>>()?;
    let mut root = merge(&inputs, &trees)?;
    fix_up(store, definition, &mut root)?;
    let root = root.write(store)?;
    store.put_result(&key, &ActionResult { outputs: root, log: None })?;
    Ok(Environment { name: name.to_owned(), root })
}

/// Puts package trees into one. Two packages may ship the same directory or the very same file; anything else is an
/// error that names both.
fn merge(inputs: &[&Input], trees: &[Tree]) -> Result<Tree> {
    let mut root = Tree::new();
    let mut owners: HashMap<&str, &str> = HashMap::new();
    for (input, tree) in inputs.iter().zip(trees) {
        for (path, entry) in tree.iter() {
            if let Err(error) = root.insert(path, entry.clone()) {
                match owners.get(path) {
                    Some(owner) => bail!("the packages `{owner}` and `{}` both ship `{path}`", input.name),
                    None => return Err(error).with_context(|| format!("in the package `{}`", input.name)),
                }
            }
            if *entry != Entry::Directory {
                owners.insert(path, &input.name);
            }
        }
    }
    Ok(root)
}

fn fix_up(store: &Store, definition: &Definition, root: &mut Tree) -> Result<()> {
    for path in &definition.remove {
        match path.strip_suffix("/*") {
            Some(directory) => {
                root.remove(directory);
                root.insert(directory, Entry::Directory)?;
            }
            None => root.remove(path),
        }
    }
    for concatenation in &definition.concatenations {
        let mut content = Vec::new();
        for (_, entry) in root.subtree(&concatenation.directory).iter() {
            if let Entry::File { digest, .. } = entry {
                content.extend(store.read(digest)?);
            }
        }
        anyhow::ensure!(!content.is_empty(), "`{}` of a fix-up holds no file", concatenation.directory);
        replace(root, &concatenation.path, file(store, &content, false)?)?;
    }
    for copy in &definition.copies {
        let Some(&Entry::File { digest, executable }) = root.get(&copy.from) else {
            bail!("a fix-up copies `{}`, which no package ships", copy.from);
        };
        let mut content = store.read(&digest)?;
        let patch: Vec<u8> = copy.overwrite.bytes().chain(std::iter::repeat_n(0, copy.zeros)).collect();
        content
            .get_mut(copy.offset..copy.offset + patch.len())
            .with_context(|| format!("`{}` is too short for its fix-up", copy.from))?
            .copy_from_slice(&patch);
        replace(root, &copy.path, file(store, &content, executable)?)?;
    }
    for text in &definition.files {
        replace(root, &text.path, file(store, text.text.as_bytes(), text.executable)?)?;
    }
    for link in &definition.links {
        replace(root, &link.path, Entry::Symlink { target: link.target.clone() })?;
    }
    for directory in &definition.directories {
        root.insert(directory, Entry::Directory)?;
    }
    Ok(())
}

fn file(store: &Store, content: &[u8], executable: bool) -> Result<Entry> {
    Ok(Entry::File { digest: store.put_bytes(content)?, executable })
}

fn replace(root: &mut Tree, path: &str, entry: Entry) -> Result<()> {
    root.remove(path);
    root.insert(path, entry).with_context(|| format!("a fix-up at `{path}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use input::Source;

    fn package(store: &Store, name: &str, files: &[(&str, &str)]) -> (Input, Tree) {
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.insert(path, file(store, text.as_bytes(), false).unwrap()).unwrap();
        }
        let source = Source::Path { path: name.into() };
        (Input { name: name.into(), digest: Digest::of(name.as_bytes()), source }, tree)
    }

    #[test]
    fn packages_merge_and_conflicts_name_both() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (a, a_tree) = package(&store, "a", &[("usr/bin/x", "1"), ("usr/share/same", "s")]);
        let (b, b_tree) = package(&store, "b", &[("usr/bin/y", "2"), ("usr/share/same", "s")]);
        let (c, c_tree) = package(&store, "c", &[("usr/bin/x", "3")]);
        let merged = merge(&[&a, &b], &[a_tree.clone(), b_tree]).unwrap();
        assert_eq!(merged.iter().count(), 3);
        let error = merge(&[&a, &c], &[a_tree, c_tree]).unwrap_err().to_string();
        assert_eq!(error, "the packages `a` and `c` both ship `usr/bin/x`");
    }

    #[test]
    fn every_fix_up_does_what_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (_, mut root) = package(
            &store,
            "a",
            &[("certs/b", "2"), ("certs/a", "1"), ("cache/x", "x"), ("doc/y", "y"), ("dll", "0123456789")],
        );
        let definition: Definition = toml::from_str(
            r#"
            remove = ["doc", "cache/*"]
            directories = ["build/src"]
            file = [{ path = "etc/hosts", text = "127.0.0.1 localhost\n" }]
            link = [{ path = "bin/awk", target = "gawk" }]
            concatenation = [{ path = "all", directory = "certs" }]
            copy = [{ path = "copy", from = "dll", offset = 2, overwrite = "AB", zeros = 1 }]
            "#,
        )
        .unwrap();
        fix_up(&store, &definition, &mut root).unwrap();
        let text = |path: &str| match root.get(path) {
            Some(Entry::File { digest, .. }) => String::from_utf8(store.read(digest).unwrap()).unwrap(),
            other => format!("{other:?}"),
        };
        assert_eq!(text("all"), "12");
        assert_eq!(text("copy"), "01AB\x0056789");
        assert_eq!(text("etc/hosts"), "127.0.0.1 localhost\n");
        assert_eq!(root.get("bin/awk"), Some(&Entry::Symlink { target: "gawk".into() }));
        assert_eq!(root.get("cache"), Some(&Entry::Directory));
        assert_eq!(root.get("build/src"), Some(&Entry::Directory));
        assert!(root.get("doc/y").is_none());
    }

    #[test]
    fn a_fix_up_without_its_source_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for text in [
            "copy = [{ path = \"a\", from = \"b\" }]",
            "concatenation = [{ path = \"a\", directory = \"b\" }]",
        ] {
            let definition: Definition = toml::from_str(text).unwrap();
            assert!(fix_up(&store, &definition, &mut Tree::new()).is_err(), "{text}");
        }
    }
}

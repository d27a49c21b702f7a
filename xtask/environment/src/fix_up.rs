//! What maintainer scripts would have done, on a tree.

use crate::Definition;
use anyhow::{Context, Result, bail, ensure};
use store::{Digest, Entry, Store, Tree};

/// Applies a definition's fix-ups: removals, concatenations, copies, files, links, directories, in this order. Later ones
/// replace files and links of the packages and of earlier ones. Errors: a source that is not there, a place that is a
/// directory or stands below a file or link.
pub fn fix_up(store: &Store, definition: &Definition, root: &mut Tree) -> Result<()> {
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
        ensure!(!content.is_empty(), "`{}` of a fix-up holds no file", concatenation.directory);
        replace(root, &concatenation.path, file(store, &content, false)?)?;
    }
    for copy in &definition.copies {
        let Some(&Entry::File { digest, executable }) = root.get(&copy.from) else {
            bail!("a fix-up copies the file `{}`, which no package ships", copy.from);
        };
        let content = overwritten(store, &digest, copy.offset, &copy.overwrite, copy.zeros)
            .with_context(|| format!("a fix-up cannot copy `{}`", copy.from))?;
        replace(root, &copy.path, file(store, &content, executable)?)?;
    }
    for text in &definition.files {
        replace(root, &text.path, file(store, text.text.as_bytes(), text.executable)?)?;
    }
    for link in &definition.links {
        replace(root, &link.path, Entry::Symlink { target: link.target.clone() })?;
    }
    for directory in &definition.directories {
        root.insert(directory, Entry::Directory)
            .with_context(|| format!("a fix-up makes the directory `{directory}`"))?;
    }
    Ok(())
}

/// A blob with a text and zero bytes over those at an offset.
fn overwritten(store: &Store, digest: &Digest, offset: usize, text: &str, zeros: usize) -> Result<Vec<u8>> {
    let mut content = store.read(digest)?;
    let end = offset.saturating_add(text.len()).saturating_add(zeros);
    let place = content.get_mut(offset..end).context("it is too short for the bytes to be replaced")?;
    let (head, tail) = place.split_at_mut(text.len());
    head.copy_from_slice(text.as_bytes());
    tail.fill(0);
    Ok(content)
}

fn file(store: &Store, content: &[u8], executable: bool) -> Result<Entry> {
    Ok(Entry::File { digest: store.put_bytes(content)?, executable })
}

/// Puts an entry where there is none, a file or a link.
fn replace(root: &mut Tree, path: &str, entry: Entry) -> Result<()> {
    // A directory that holds something has no entry of its own, so inserting reports it.
    if root.get(path).is_some() {
        root.remove(path);
    }
    root.insert(path, entry).with_context(|| format!("a fix-up writes `{path}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(files: &[(&str, &str)], definition: &str) -> Result<Vec<String>> {
        let directory = tempfile::tempdir()?;
        let store = Store::open(directory.path())?;
        let mut root = Tree::new();
        for (path, text) in files {
            root.insert(path, file(&store, text.as_bytes(), false)?)?;
        }
        fix_up(&store, &toml::from_str(definition)?, &mut root)?;
        root.iter()
            .map(|(path, entry)| {
                Ok(match entry {
                    Entry::File { digest, executable } => {
                        let text = String::from_utf8(store.read(digest)?)?;
                        format!("{path}{}={text}", if *executable { "*" } else { "" })
                    }
                    Entry::Symlink { target } => format!("{path} -> {target}"),
                    Entry::Directory => format!("{path}/"),
                })
            })
            .collect()
    }

    #[test]
    fn each_fix_up_does_what_it_says() {
        for (definition, expected) in [
            ("remove = ['doc']", vec!["cache/x=x", "certs/a=1", "certs/b=2", "dll=0123456789"]),
            (
                "remove = ['doc', 'cache/*', 'nowhere']",
                vec!["cache/", "certs/a=1", "certs/b=2", "dll=0123456789"],
            ),
            (
                "remove = ['cache', 'doc', 'dll']\ndirectories = ['build/src', 'certs']",
                vec!["build/src/", "certs/a=1", "certs/b=2"],
            ),
            (
                "remove = ['cache', 'doc', 'dll']\nconcatenation = [{ path = 'all', directory = 'certs' }]",
                vec!["all=12", "certs/a=1", "certs/b=2"],
            ),
            (
                "remove = ['cache', 'doc', 'certs']\ncopy = [{ path = 'copy', from = 'dll', offset = 2, overwrite = 'AB', zeros = 1 }]",
                vec!["copy=01AB\x0056789", "dll=0123456789"],
            ),
            (
                "remove = ['cache', 'doc', 'certs']\nfile = [{ path = 'dll', text = 't' }, { path = 'run', text = 'r', executable = true }]",
                vec!["dll=t", "run*=r"],
            ),
            (
                "remove = ['cache', 'doc', 'certs']\nlink = [{ path = 'dll', target = 'x' }, { path = 'bin/awk', target = 'gawk' }]",
                vec!["bin/awk -> gawk", "dll -> x"],
            ),
        ] {
            let files =
                [("certs/b", "2"), ("certs/a", "1"), ("cache/x", "x"), ("doc/y", "y"), ("dll", "0123456789")];
            assert_eq!(fixed(&files, definition).unwrap(), expected, "{definition}");
        }
    }

    #[test]
    fn a_later_fix_up_replaces_an_earlier_one() {
        let definition = "file = [{ path = 'a', text = '1' }, { path = 'a', text = '2' }]";
        assert_eq!(fixed(&[], definition).unwrap(), ["a=2"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (definition, expected) in [
            ("copy = [{ path = 'a', from = 'gone' }]", "the file `gone`, which no package ships"),
            ("copy = [{ path = 'a', from = 'd/f', offset = 3, zeros = 2 }]", "too short"),
            ("copy = [{ path = 'a', from = 'd/f', offset = 9223372036854775807, zeros = 2 }]", "too short"),
            ("concatenation = [{ path = 'a', directory = 'gone' }]", "`gone` of a fix-up holds no file"),
            ("file = [{ path = 'd', text = '' }]", "a fix-up writes `d`: `d` is a directory already"),
            ("file = [{ path = '../d', text = '' }]", "a fix-up writes `../d`"),
            ("link = [{ path = 'd/f/g', target = 'x' }]", "`d/f/g` stands below `d/f`"),
            ("directories = ['d/f']", "a fix-up makes the directory `d/f`"),
        ] {
            let error = format!("{:#}", fixed(&[("d/f", "1234")], definition).unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}

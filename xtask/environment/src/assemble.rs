//! From locked packages to the tree of a root file system.

use crate::{Definition, fix_up::fix_up, links};
use anyhow::{Context, Result, bail, ensure};
use input::{FetchOptions, Format, Input, Lock, Part, fetch, unpack};
use rayon::prelude::*;
use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};
use store::{Action, Digest, Entry, Progress, Store, Tree, Unit, hinted};

/// Raised when the same packages and fix-ups would give another tree.
const VERSION: &str = "3";

/// An assembled environment. Its identity is its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The name in `containers/`.
    pub name: String,
    /// Root of the tree.
    pub root: Digest,
    /// The packages in it, in the lock's order: names and digests of their files.
    pub packages: Vec<(String, Digest)>,
    /// The variables of everything that runs in it.
    pub variables: BTreeMap<String, String>,
}

/// Unpacks every package of the lock (once ever, in parallel, without maintainer scripts), merges the trees and applies
/// the fix-ups. Absolute links become relative ones of the same meaning, since a server of the Remote Execution API may
/// refuse a tree that has absolute ones. When the same was done before, one result is read. Errors: a package that is asked for and not locked, or
/// can't be had or read; two packages that ship different things at a path; a fix-up whose source is missing.
pub fn assemble(
    store: &Store,
    name: &str,
    definition: &Definition,
    lock: &Lock,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Environment> {
    for package in &definition.packages {
        ensure!(
            lock.get(package).is_some(),
            hinted(
                format!("the environment `{name}` asks for the package `{package}`, which its lock lacks"),
                format!("run `cargo xtask lock update {name}`")
            )
        );
    }
    let root = store.once(&work(definition, lock)?, || {
        let inputs: Vec<&Input> = lock.inputs.iter().collect();
        fetch(store, &inputs, &options.clone().with_lock(lock), progress)?;
        let trees = unpack_all(store, name, &inputs, progress)?;
        let mut root = merge(&inputs, &trees)?;
        fix_up(store, definition, &mut root)?;
        links::make_relative(&mut root)?;
        root.write(store)
    })?;
    Ok(environment(name, definition, lock, root))
}

/// What [`assemble`] gave before, if it did: nothing is fetched or made.
pub fn assembled(
    store: &Store,
    name: &str,
    definition: &Definition,
    lock: &Lock,
) -> Result<Option<Environment>> {
    let result = store.result(&work(definition, lock)?.digest())?;
    Ok(result.map(|result| environment(name, definition, lock, result.outputs)))
}

/// What is known of an environment without fetching or making anything: what [`assemble`] gave here, or else would give by the
/// word of others ([`Store::promised`]), and whether all of it is here.
///
/// # Errors
/// If the definition can't be written as a key, or the store can't be read.
pub fn promised(
    store: &Store,
    name: &str,
    definition: &Definition,
    lock: &Lock,
    progress: &dyn Progress,
) -> Result<Option<(Environment, bool)>> {
    let promise = store.promised(&work(definition, lock)?, progress)?;
    Ok(promise.map(|promise| (environment(name, definition, lock, promise.outputs), promise.whole)))
}

/// All that the tree depends on.
fn work(definition: &Definition, lock: &Lock) -> Result<Action> {
    let mut words = vec!["assemble".to_owned(), VERSION.to_owned(), definition.fix_ups()?];
    words.extend(lock.inputs.iter().map(|input| input.digest.to_string()));
    Ok(Action::named(words))
}

fn environment(name: &str, definition: &Definition, lock: &Lock, root: Digest) -> Environment {
    Environment {
        name: name.to_owned(),
        root,
        packages: lock.inputs.iter().map(|input| (input.name.clone(), input.digest)).collect(),
        variables: definition.variables.clone(),
    }
}

/// The trees of all packages, in their order.
fn unpack_all(store: &Store, name: &str, inputs: &[&Input], progress: &dyn Progress) -> Result<Vec<Tree>> {
    let meter = progress.begin(&format!("assembling {name}"), inputs.len() as u64, Unit::Items);
    // The largest first, one by one: the last to end are then small, and no processor waits for another.
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&index| Reverse(inputs[index].digest.size));
    let mut trees = order
        .into_iter()
        .par_bridge()
        .map(|index| {
            let tree = unpack(store, &inputs[index].digest, Format::Deb, &Part::default())
                .with_context(|| format!("cannot unpack the package `{}`", inputs[index].name))?;
            meter.add(1);
            Ok((index, tree))
        })
        .collect::<Result<Vec<_>>>()?;
    trees.sort_by_key(|(index, _)| *index);
    Ok(trees.into_iter().map(|(_, tree)| tree).collect())
}

/// Puts package trees into one. Two packages may ship the same directory or the very same file; anything else is an
/// error that names both.
///
/// Where a package ships a link at the top (`bin` to `usr/bin`: base-files does), what others ship below its name goes
/// where it points, as it would on a system whose `/usr` is merged.
fn merge(inputs: &[&Input], trees: &[Tree]) -> Result<Tree> {
    let top: BTreeMap<&str, &str> = trees.iter().flat_map(top_links).collect();
    let mut root = Tree::new();
    let mut owners: HashMap<Cow<str>, &str> = HashMap::new();
    for (input, tree) in inputs.iter().zip(trees) {
        for (path, entry) in tree.iter() {
            let Some(path) = merged_path(&top, path, entry) else { continue };
            // Two packages may write one link in two ways.
            if let Err(error) = root.insert(&path, links::relative(&path, entry).into_owned()) {
                let owner = owner(&owners, &path);
                bail!("the packages `{}` and `{}` conflict: {error}", owner.unwrap_or("?"), input.name);
            }
            if *entry != Entry::Directory {
                owners.insert(path, &input.name);
            }
        }
    }
    Ok(root)
}

pub(crate) fn top_links(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.iter().filter_map(|(path, entry)| match entry {
        Entry::Symlink { target } if !path.contains('/') => Some((path, target.trim_matches('/'))),
        _ => None,
    })
}

/// Where something of a package goes. Nothing for an empty directory that is a link elsewhere.
pub(crate) fn merged_path<'a>(
    top: &BTreeMap<&str, &str>,
    path: &'a str,
    entry: &Entry,
) -> Option<Cow<'a, str>> {
    match path.split_once('/') {
        Some((first, rest)) => match top.get(first) {
            Some(target) => Some(Cow::Owned(format!("{target}/{rest}"))),
            None => Some(Cow::Borrowed(path)),
        },
        None => (*entry != Entry::Directory || !top.contains_key(path)).then_some(Cow::Borrowed(path)),
    }
}

/// The package that ships what stands in the way of a path: at it, above it or below it.
fn owner<'a>(owners: &HashMap<Cow<str>, &'a str>, path: &str) -> Option<&'a str> {
    let above = |other: &str, path: &str| path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    let mut found: Vec<_> = owners
        .iter()
        .filter(|(other, _)| *other == path || above(other, path) || above(path, other))
        .collect();
    found.sort();
    found.first().map(|(_, package)| **package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use input::Source;
    use std::io::Write;
    use store::Silent;

    /// A Debian package (deb(5)) of links (`path -> target`), directories (`path/`) and files (`path=text`).
    fn package(content: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for line in content {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(0);
            if let Some((path, target)) = line.split_once(" -> ") {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, path, target).unwrap();
            } else if let Some((path, text)) = line.split_once('=') {
                header.set_size(text.len() as u64);
                builder.append_data(&mut header, path, text.as_bytes()).unwrap();
            } else {
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, line, std::io::empty()).unwrap();
            }
        }
        let data = builder.into_inner().unwrap();
        let mut package = b"!<arch>\n".to_vec();
        for (name, content) in
            [("debian-binary", b"2.0\n".as_slice()), ("control.tar", b""), ("data.tar", &data)]
        {
            writeln!(package, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, content.len())
                .unwrap();
            package.extend(content);
        }
        package
    }

    /// A machine on which some packages were vendored.
    struct Machine {
        directory: tempfile::TempDir,
        store: Store,
        lock: Lock,
    }

    impl Machine {
        fn new(packages: &[(&str, &[&str])]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(&directory.path().join("store")).unwrap();
            std::fs::create_dir_all(directory.path().join("vendored/sha256")).unwrap();
            let mut inputs = Vec::new();
            for (name, content) in packages {
                let package = package(content);
                let digest = Digest::of(&package);
                std::fs::write(directory.path().join("vendored/sha256").join(digest.hex()), package).unwrap();
                let source = Source::Debian {
                    package: (*name).to_owned(),
                    version: "1".into(),
                    architecture: "all".into(),
                    pool: format!("pool/{name}.deb"),
                };
                inputs.push(Input { name: (*name).to_owned(), digest, source });
            }
            Self { directory, store, lock: Lock { inputs, ..Lock::default() } }
        }

        fn assemble(&self, definition: &str) -> Result<Digest> {
            let options = FetchOptions {
                offline: true,
                vendored: Some(self.directory.path().join("vendored")),
                ..FetchOptions::default()
            };
            let definition = toml::from_str(definition).unwrap();
            Ok(assemble(&self.store, "test", &definition, &self.lock, &options, &Silent)?.root)
        }

        fn paths(&self, definition: &str) -> Vec<String> {
            let root = self.assemble(definition).unwrap();
            Tree::read(&self.store, &root).unwrap().iter().map(|(path, _)| path.to_owned()).collect()
        }

        fn error(&self, definition: &str) -> String {
            store::full_text(&self.assemble(definition).unwrap_err())
        }
    }

    #[test]
    fn packages_merge_below_the_links_of_the_top() {
        let machine = Machine::new(&[
            ("a", &["bin/old=1", "usr/bin/new=2", "lib/", "usr/share/same=s"]),
            ("base", &["bin -> usr/bin", "lib -> usr/lib", "usr/lib/"]),
            ("c", &["usr/share/same=s", "usr/share/"]),
        ]);
        assert_eq!(
            machine.paths("directories = ['tmp']"),
            ["bin", "lib", "tmp", "usr/bin/new", "usr/bin/old", "usr/lib", "usr/share/same"]
        );
    }

    #[test]
    fn links_stay_inside_wherever_the_tree_stands() {
        let machine = Machine::new(&[
            ("a", &["bin/old -> /usr/share/x", "usr/lib/y -> /etc/y", "usr/same -> /etc"]),
            ("base", &["bin -> usr/bin", "usr/bin/b=b", "top -> /usr/share/", "usr/same -> ../etc"]),
        ]);
        let root = machine.assemble("link = [{ path = 'etc/ssl/c', target = '/usr/c' }]").unwrap();
        let tree = Tree::read(&machine.store, &root).unwrap();
        let target = |path: &str| match tree.get(path) {
            Some(Entry::Symlink { target }) => target.clone(),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(target("usr/bin/old"), "../share/x");
        assert_eq!(target("usr/lib/y"), "../../etc/y");
        assert_eq!(target("usr/same"), "../etc");
        assert_eq!(target("top"), "usr/share");
        assert_eq!(target("etc/ssl/c"), "../../usr/c");
    }

    #[test]
    fn two_packages_that_ship_one_path_are_both_named() {
        for (a, c, expected) in [
            ("usr/x=1", "usr/x=2", "the packages `a` and `c` conflict: `usr/x` exists already"),
            ("usr/x=1", "usr/x -> y", "the packages `a` and `c` conflict: `usr/x` exists already"),
            ("usr/x=1", "usr/x/y=2", "the packages `a` and `c` conflict: `usr/x/y` stands below `usr/x`"),
            ("usr/x/y=1", "usr/x -> y", "the packages `a` and `c` conflict: `usr/x` is a directory"),
            ("bin/x=1", "usr/bin/x=2", "the packages `a` and `c` conflict: `usr/bin/x` exists already"),
        ] {
            let machine = Machine::new(&[("a", &[a]), ("base", &["bin -> usr/bin", "usr/b=b"]), ("c", &[c])]);
            let error = machine.error("");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_same_packages_and_fix_ups_give_the_same_tree() {
        let packages: [(&str, &[&str]); 2] = [("a", &["usr/a=1"]), ("b", &["usr/b=2", "usr/c/"])];
        let one = Machine::new(&packages);
        let root = one.assemble("").unwrap();
        assert_eq!(root, Machine::new(&packages).assemble("").unwrap());
        assert_ne!(root, one.assemble("directories = ['tmp']").unwrap());
        // Nothing but the result is read now: neither packages nor trees are there.
        std::fs::remove_dir_all(one.directory.path().join("vendored")).unwrap();
        for input in &one.lock.inputs {
            std::fs::remove_file(one.store.blob_path(&input.digest, false).unwrap()).unwrap();
        }
        assert_eq!(root, one.assemble("description = 'another'").unwrap());
    }

    #[test]
    fn a_tampered_package_is_refused() {
        let machine = Machine::new(&[("a", &["usr/a=1"])]);
        let digest = machine.lock.inputs[0].digest;
        let place = machine.directory.path().join("vendored/sha256").join(digest.hex());
        let mut bytes = std::fs::read(&place).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&place, bytes).unwrap();
        let error = machine.error("");
        assert!(error.contains("is damaged") && error.contains("`a`"), "{error}");
    }

    #[test]
    fn what_is_no_package_is_named() {
        let mut machine = Machine::new(&[]);
        let digest = machine.store.put_bytes(b"no package").unwrap();
        let source = Source::Path { path: "a.deb".into(), directory: false };
        machine.lock.inputs.push(Input { name: "a".into(), digest, source });
        let error = machine.error("");
        assert!(error.contains("cannot unpack the package `a`"), "{error}");
    }

    #[test]
    fn a_package_without_a_lock_says_what_to_do() {
        let error = Machine::new(&[("a", &["usr/a=1"])]).error("packages = ['a', 'b']");
        assert!(error.contains("`b`") && error.contains("cargo xtask lock update test"), "{error}");
    }
}

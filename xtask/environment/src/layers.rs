//! An environment in layers, by the packages that its files come from.

use crate::{
    Environment,
    assemble::{merged_path, top_links},
    links,
};
use anyhow::Result;
use input::{Format, Part, unpack};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};
use store::{Digest, Entry, Store, Tree, WithHint, hinted};

/// A package that unpacks to this many bytes has a layer of its own.
const LARGE: u64 = 16 << 20;

/// The other packages share this many layers. Which one is a matter of their name alone, so that a package that is
/// added, removed or changed moves one layer.
const SHARED: u8 = 8;

/// A part of a root file system.
pub struct Layer {
    /// The package, or `packages-N`, or `fix-ups`.
    pub name: String,
    /// The files.
    pub tree: Tree,
}

/// Splits an environment: large packages first, since they change least, then what shares layers, then the fix-ups.
/// Errors: a package is neither unpacked nor there to be unpacked.
pub fn layers(store: &Store, environment: &Environment) -> Result<Vec<Layer>> {
    let root = Tree::read(store, &environment.root)?;
    let trees = environment
        .packages
        .iter()
        .map(|(name, digest)| {
            unpack(store, digest, Format::Deb, &Part::default()).with_hint(|| {
                hinted(format!("cannot unpack the package `{name}`"), "run `cargo xtask fetch` first")
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let top: BTreeMap<&str, &str> = trees.iter().flat_map(top_links).collect();
    let mut owners: HashMap<String, usize> = HashMap::new();
    let mut sizes = vec![0; trees.len()];
    for (index, tree) in trees.iter().enumerate() {
        for (path, entry) in tree.iter() {
            let Some(path) = merged_path(&top, path, entry) else { continue };
            // What a fix-up replaced or removed is not the package's any more.
            if root.get(&path) != Some(links::relative(&path, entry).as_ref())
                || owners.contains_key(path.as_ref())
            {
                continue;
            }
            sizes[index] += size(entry);
            owners.insert(path.into_owned(), index);
        }
    }
    let mut layers: BTreeMap<(u8, Reverse<u64>, String), Tree> = BTreeMap::new();
    for (path, entry) in root.iter() {
        let key = match owners.get(path) {
            None => (2, Reverse(0), "fix-ups".to_owned()),
            Some(&index) => {
                let name = &environment.packages[index].0;
                match sizes[index] >= LARGE {
                    true => (0, Reverse(sizes[index]), name.clone()),
                    false => (1, Reverse(0), format!("packages-{}", bucket(name))),
                }
            }
        };
        layers.entry(key).or_default().insert(path, entry.clone())?;
    }
    Ok(layers.into_iter().map(|((_, _, name), tree)| Layer { name, tree }).collect())
}

fn size(entry: &Entry) -> u64 {
    match entry {
        Entry::File { digest, .. } => digest.size,
        Entry::Symlink { .. } | Entry::Directory => 0,
    }
}

fn bucket(name: &str) -> u8 {
    Digest::of(name.as_bytes()).sha256[0] % SHARED
}

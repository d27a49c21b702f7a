//! What a result of a server names: outputs and log. What the outputs are is computed from their directories, in our own
//! encoding: servers write `Tree` messages in other ways, and their digests say nothing.

use crate::{connection::Connection, reapi};
use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};
use store::{Digest, Entry, LARGEST_MESSAGE, Tree, from_message};

/// Where commands leave their outputs ([`store::Action::output_paths`]).
const OUTPUT_PATH: &str = "out";

/// More entries than any build has left.
const MOST_ENTRIES: usize = 200_000;

/// The largest log that is joined of two parts, in bytes.
const LARGEST_LOG: u64 = 64 << 20;

/// The directories of a tree, each by its digest.
type Directories = HashMap<Digest, Rc<reapi::Directory>>;

impl Connection {
    /// The outputs that a result names.
    ///
    /// # Errors
    /// If it names no directory `out`, or one that no tree can hold; if the server lacks a part of it.
    pub fn outputs(&self, result: &reapi::ActionResult) -> Result<Tree> {
        let mut named = result.output_directories.iter().filter(|directory| directory.path == OUTPUT_PATH);
        let directory = named.next().with_context(|| format!("it names no directory `{OUTPUT_PATH}`"))?;
        ensure!(named.next().is_none(), "it names the directory `{OUTPUT_PATH}` twice");
        let mut known = Directories::new();
        let root = match &directory.tree_digest {
            Some(tree) => self.read_tree(&from_message(Some(tree))?, &mut known)?,
            None => from_message(directory.root_directory_digest.as_ref())?,
        };
        let mut tree = Tree::new();
        let (mut seen, mut pending) = (0, vec![(root, String::new())]);
        while let Some((digest, prefix)) = pending.pop() {
            let listing = match known.get(&digest) {
                Some(listing) => listing.clone(),
                None => {
                    let bytes = self.read(&digest, LARGEST_MESSAGE)?;
                    let listing = reapi::Directory::decode(bytes.as_slice());
                    let listing = Rc::new(listing.with_context(|| format!("{digest} is not a directory"))?);
                    known.insert(digest, listing.clone());
                    listing
                }
            };
            seen += 1 + listing.files.len() + listing.symlinks.len() + listing.directories.len();
            ensure!(
                seen + pending.len() <= MOST_ENTRIES,
                "its outputs have more than {MOST_ENTRIES} entries"
            );
            add(&mut tree, &listing, &prefix, &mut pending)?;
        }
        Ok(tree)
    }

    /// The root of a `Tree` message, all of whose directories are known afterwards.
    fn read_tree(&self, digest: &Digest, known: &mut Directories) -> Result<Digest> {
        let bytes = self.read(digest, LARGEST_MESSAGE)?;
        let message = reapi::Tree::decode(bytes.as_slice());
        let message = message.with_context(|| format!("{digest} is not a tree message"))?;
        let root = message.root.with_context(|| format!("the tree message {digest} has no root"))?;
        for child in message.children {
            known.insert(Digest::of(&child.encode_to_vec()), Rc::new(child));
        }
        let digest = Digest::of(&root.encode_to_vec());
        known.insert(digest, Rc::new(root));
        Ok(digest)
    }

    /// The log that a result names, if it names one: what came by stdout, then what came by stderr.
    ///
    /// # Errors
    /// If the server lacks it.
    pub fn log(&self, result: &reapi::ActionResult) -> Result<Option<Vec<u8>>> {
        let (mut log, mut is_named) = (Vec::new(), false);
        for (raw, digest) in
            [(&result.stdout_raw, &result.stdout_digest), (&result.stderr_raw, &result.stderr_digest)]
        {
            is_named |= !raw.is_empty() || digest.is_some();
            match digest {
                _ if !raw.is_empty() => log.extend_from_slice(raw),
                Some(digest) => log.extend(self.read(&from_message(Some(digest))?, LARGEST_LOG)?),
                None => {}
            }
        }
        Ok(is_named.then_some(log))
    }
}

/// Adds a directory to a tree, and what stands below it to `pending`.
fn add(
    tree: &mut Tree,
    listing: &reapi::Directory,
    prefix: &str,
    pending: &mut Vec<(Digest, String)>,
) -> Result<()> {
    let mut names = HashSet::new();
    let mut path = |name: &str| -> Result<String> {
        if name.contains('/') || !names.insert(name.to_owned()) {
            bail!("a directory of the outputs names `{}`, or names it twice", name.escape_debug());
        }
        Ok(if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") })
    };
    for file in &listing.files {
        let digest = from_message(file.digest.as_ref())?;
        tree.insert(&path(&file.name)?, Entry::File { digest, executable: file.is_executable })?;
    }
    for link in &listing.symlinks {
        tree.insert(&path(&link.name)?, Entry::Symlink { target: link.target.clone() })?;
    }
    for directory in &listing.directories {
        let path = path(&directory.name)?;
        // Checks its name and depth at once; what stands in it takes its place.
        tree.insert(&path, Entry::Directory)?;
        pending.push((from_message(directory.digest.as_ref())?, path));
    }
    Ok(())
}

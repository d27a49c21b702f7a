//! The Nix archive of a tree, so that Nix users can check it.
//!
//! Format: <https://nix.dev/manual/nix/2.33/protocols/nix-archive>. Strings are a 64-bit little-endian length and the
//! bytes, padded with zeros to a multiple of 8; directory entries are sorted by name.

use crate::{Action, Digest, Entry, HashWriter, Progress, Silent, Store, Tree};
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::io::{BufReader, Write};

impl Store {
    /// Writes the Nix archive of a tree.
    pub fn write_nar(&self, tree: &Tree, out: &mut impl Write) -> Result<()> {
        // Names within their directory, which is not the order of whole paths: `a-b` stands before `a/b` there.
        let mut entries: Vec<(Vec<&str>, &Entry)> =
            tree.iter().map(|(path, entry)| (path.split('/').collect(), entry)).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        string(out, b"nix-archive-1")?;
        begin_directory(out)?;
        let mut open: &[&str] = &[];
        for (path, entry) in &entries {
            let shared = open.iter().zip(path).take_while(|(a, b)| a == b).count();
            for _ in shared..open.len() {
                end_entry(out)?;
            }
            let (directories, name) = path.split_at(path.len() - 1);
            for directory in &directories[shared..] {
                begin_entry(directory, out)?;
                begin_directory(out)?;
            }
            begin_entry(name[0], out)?;
            self.write_nar_leaf(entry, out)?;
            string(out, b")")?;
            open = directories;
        }
        for _ in open {
            end_entry(out)?;
        }
        string(out, b")")
    }

    /// A file, link or empty directory.
    fn write_nar_leaf(&self, entry: &Entry, out: &mut impl Write) -> Result<()> {
        string(out, b"(")?;
        string(out, b"type")?;
        match entry {
            Entry::Symlink { target } => {
                string(out, b"symlink")?;
                string(out, b"target")?;
                string(out, target.as_bytes())?;
            }
            Entry::File { digest, executable } => {
                string(out, b"regular")?;
                if *executable {
                    string(out, b"executable")?;
                    string(out, b"")?;
                }
                string(out, b"contents")?;
                out.write_all(&digest.size.to_le_bytes())?;
                let mut blob = BufReader::with_capacity(256 * 1024, self.open_blob(digest)?);
                let copied = std::io::copy(&mut blob, out)?;
                ensure!(copied == digest.size, "blob {digest} changed while it was read");
                padding(out, copied)?;
            }
            Entry::Directory => string(out, b"directory")?,
        }
        string(out, b")")
    }

    /// The hash of a tree's Nix archive in SRI form (`sha256-…`), as `nix hash path` prints it.
    pub fn nar_hash(&self, tree: &Tree) -> Result<String> {
        let mut hash = HashWriter::new(std::io::sink());
        self.write_nar(tree, &mut hash).context("cannot hash the tree as a Nix archive")?;
        Ok(sri(&hash.finish().1))
    }

    /// As [`Store::nar_hash`], of the kept tree with this root; computed once ever, since it reads everything.
    ///
    /// # Errors
    /// If something of the tree is not in the store; where it is known by the word of others alone ([`Store::promised`]), if these
    /// do not say the hash either.
    pub fn nar_hash_of(&self, root: &Digest) -> Result<String> {
        let is_known = self.result(&nar_work(root).digest())?.is_some();
        if !is_known && self.knows_others() && !self.is_whole(root)? {
            let obtained = self.obtain(&nar_work(root), &Silent)?;
            let obtained = obtained.with_context(|| {
                format!(
                    "of the tree {root} only the root is here, and nobody says the hash of its Nix archive"
                )
            })?;
            return self.kept_hash(&obtained.result.outputs);
        }
        let kept = self.once(&nar_work(root), || {
            let hash = self.nar_hash(&Tree::read(self, root)?)?;
            let digest = self.put_bytes(hash.as_bytes())?;
            let mut tree = Tree::new();
            tree.insert(NAME, Entry::File { digest, executable: false })?;
            tree.write(self)
        })?;
        self.kept_hash(&kept)
    }

    /// Asks others for the hash of a tree of which only the root is here, so that it is known when they can't be asked any more.
    /// Where nobody says it, nothing is missing yet.
    ///
    /// # Errors
    /// If the store can't be read.
    pub fn bring_nar_hash(&self, root: &Digest, progress: &dyn Progress) -> Result<()> {
        self.obtain(&nar_work(root), progress).map(drop)
    }

    /// Keeps in mind that the hash of this tree was used ([`Store::take_used`]).
    pub fn use_nar_hash(&self, root: &Digest) -> Result<()> {
        self.nar_hash_of(root)?;
        self.recall(&nar_work(root)).map(drop)
    }

    fn kept_hash(&self, kept: &Digest) -> Result<String> {
        match Tree::read(self, kept)?.get(NAME) {
            Some(Entry::File { digest, .. }) => {
                String::from_utf8(self.read(digest)?).context("a kept hash is damaged")
            }
            _ => bail!("a kept hash is missing"),
        }
    }
}

/// The name of the file that a hash is kept in.
const NAME: &str = "nar";

/// The work of hashing a tree.
fn nar_work(root: &Digest) -> Action {
    Action::named(["nar-hash", &root.to_string()])
}

fn begin_directory(out: &mut impl Write) -> Result<()> {
    string(out, b"(")?;
    string(out, b"type")?;
    string(out, b"directory")
}

/// Ends a directory, and the entry that it is.
fn end_entry(out: &mut impl Write) -> Result<()> {
    string(out, b")")?;
    string(out, b")")
}

fn begin_entry(name: &str, out: &mut impl Write) -> Result<()> {
    string(out, b"entry")?;
    string(out, b"(")?;
    string(out, b"name")?;
    string(out, name.as_bytes())?;
    string(out, b"node")
}

fn string(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(&(bytes.len() as u64).to_le_bytes())?;
    out.write_all(bytes)?;
    padding(out, bytes.len() as u64)
}

fn padding(out: &mut impl Write, length: u64) -> Result<()> {
    let rest = (length % 8) as usize;
    if rest > 0 {
        out.write_all(&[0; 8][rest..])?;
    }
    Ok(())
}

/// `sha256-` and base64 (RFC 4648, with padding), as subresource integrity writes it.
fn sri(digest: &Digest) -> String {
    format!("sha256-{}", STANDARD.encode(digest.sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value is what nix 2.8.0 printed (`nix-store --dump . | sha256sum` gives the same hash) after
    /// ```sh
    /// mkdir a empty; echo hello >a/hello; echo hello >a/run; touch a/nothing; printf 12345678 >a.txt
    /// printf '#!/bin/sh\n' >Z; printf grün >'ü mlaut'; chmod 755 a/run Z; ln -s a/hello link; ln -s ../nowhere a-link
    /// nix --extra-experimental-features nix-command hash path .
    /// ```
    #[test]
    fn hashes_are_those_of_nix() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut tree = Tree::new();
        for (path, text, executable) in [
            ("Z", "#!/bin/sh\n", true),
            ("a/hello", "hello\n", false),
            ("a/nothing", "", false),
            ("a/run", "hello\n", true),
            ("a.txt", "12345678", false),
            ("ü mlaut", "grün", false),
        ] {
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable }).unwrap();
        }
        tree.insert("empty", Entry::Directory).unwrap();
        for (path, target) in [("link", "a/hello"), ("a-link", "../nowhere")] {
            tree.insert(path, Entry::Symlink { target: target.to_owned() }).unwrap();
        }
        assert_eq!(store.nar_hash(&tree).unwrap(), "sha256-6IkzT0FbEDzAJ5oYVXVETi2yAZG7OuO97H/mTzS4XUM=");
    }
}

//! Maven repositories in a directory.

use anyhow::{Context, Result};
use artifact::Coordinates;
use std::path::{Path, PathBuf};
use store::{Entry, Store, Tree, write_output};

/// Copies what an AAR is published with to its place in a repository, which is given. The POM comes last: without it nobody
/// looks at the rest. Errors: the tree is none of ours; the directory can't be written.
pub fn publish_maven(store: &Store, tree: &Tree, repository: &Path) -> Result<PathBuf> {
    let file = |path: &str| match tree.get(path) {
        Some(Entry::File { digest, .. }) => store.read(digest),
        _ => Err(anyhow::anyhow!("`{path}` is not published")),
    };
    let pom =
        tree.iter().map(|(path, _)| path).find(|path| path.ends_with(".pom")).context("there is no POM")?;
    let text = String::from_utf8(file(pom)?).context("the POM is not UTF-8")?;
    let coordinates = Coordinates::of_pom(&text).context("the POM names no artifact")?;
    let place = repository.join(coordinates.directory());
    std::fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
    let mut names: Vec<&str> = tree.iter().map(|(path, _)| path).filter(|path| !path.contains('/')).collect();
    names.sort_by_key(|name| (*name == pom, *name));
    for name in names {
        write_output(&place.join(name), &file(name)?)?;
    }
    Ok(place)
}

//! Converted models by their address on a hub.

use crate::context::Global;
use anyhow::{Result, bail};
use input::{Published, fetch_published};
use std::path::{Path, PathBuf};
use store::hinted;

/// The directory of a model: the one that is given, or that of `OWNER/NAME@REVISION`, fetched into the store as far as it is
/// wanted.
pub fn directory(global: &Global, given: &Path, wanted: Published) -> Result<PathBuf> {
    let text = match given.to_str() {
        Some(text) if !given.exists() => text.strip_prefix("HF://").unwrap_or(text),
        _ => return Ok(given.to_owned()),
    };
    match text.split_once('@') {
        Some((repository, revision)) if repository.split('/').count() == 2 => {
            let store = global.open_store()?;
            let (options, progress) = (global.fetch_options(), global.progress());
            let tree = fetch_published(&store, (repository, revision), wanted, &options, &progress)?;
            store.checkout(&tree.write(&store)?, &progress)
        }
        _ => bail!(hinted(
            format!("{} is not a directory", given.display()),
            "give a directory, or a model of a hub as OWNER/NAME@REVISION"
        )),
    }
}

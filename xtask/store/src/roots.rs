//! What `gc` must keep, by names that can be given again.

use crate::{Digest, Store, WithHint, hinted, shelf::entries, store_file};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::{io::ErrorKind, path::PathBuf};

/// Something that must stay in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// A blob.
    Blob(Digest),
    /// A tree, with all that is in it.
    Tree(Digest),
    /// An action: its messages, its input tree (which holds the environment and, at `build/src`, the sources), its result
    /// with outputs and log.
    Action(Digest),
}

impl Store {
    /// Names what must stay, under a name that can be given again to replace it.
    pub fn add_root(&self, name: &str, references: &[Reference]) -> Result<()> {
        self.write_note(&self.root_place(name)?, &serde_json::to_vec(references)?)
    }

    /// Lets go of what a root kept. Nothing happens where there is no such root.
    pub fn remove_root(&self, name: &str) -> Result<()> {
        match std::fs::remove_file(self.root_place(name)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove the root `{name}`"))
            }
            _ => Ok(()),
        }
    }

    fn root_place(&self, name: &str) -> Result<PathBuf> {
        ensure!(
            !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.'),
            "`{}` can't name a root",
            name.escape_debug()
        );
        Ok(self.root.join("roots").join(name))
    }

    /// All roots: names, and what they keep.
    pub(crate) fn roots(&self) -> Result<Vec<(String, Vec<Reference>)>> {
        let mut roots = Vec::new();
        for (path, _) in entries(&self.root.join("roots"))? {
            let text = store_file::read(&path).with_context(|| format!("cannot read {}", path.display()));
            let named: Vec<Reference> =
                text.and_then(|text| Ok(serde_json::from_slice(&text)?)).with_hint(|| {
                    hinted(format!("{} is damaged", path.display()), "remove it, and make its release again")
                })?;
            roots.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), named));
        }
        Ok(roots)
    }
}

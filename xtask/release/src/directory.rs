//! Writing a release directory: complete or not at all.

use crate::Manifest;
use anyhow::{Context, Result};
use std::{fs::File, path::Path};
use store::{Digest, Store};

/// What [`write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The directory holds this release already.
    UpToDate,
    /// It was written.
    New,
}

/// Writes a release to `destination`, replacing what is there. The new directory is finished beside the old one and
/// then takes its place, so that nobody ever sees a mixture; two processes take turns.
pub fn write(store: &Store, manifest: &Manifest, destination: &Path) -> Result<Written> {
    let parent = destination.parent().context("a release directory needs a name")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let lock = File::create(parent.join(".lock"))
        .with_context(|| format!("cannot write to {}", parent.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", parent.display()))?;
    let json = manifest.to_json()?;
    if is_up_to_date(manifest, &json, destination) {
        return Ok(Written::UpToDate);
    }
    let temporary = tempfile::Builder::new()
        .prefix(".release-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot write to {}", parent.display()))?;
    let new = temporary.path().join("new");
    for file in manifest.files() {
        let digest = Digest::from_hex(&file.sha256, file.size)?;
        let place = new.join(&file.path);
        std::fs::create_dir_all(place.parent().context("a file has a directory")?)?;
        // A copy: whoever changes a release's file must not change the store's blob.
        let mut source = store.open_blob(&digest)?;
        let mut target =
            File::create(&place).with_context(|| format!("cannot create {}", place.display()))?;
        std::io::copy(&mut source, &mut target)
            .with_context(|| format!("cannot write {}", place.display()))?;
        target.sync_all()?;
    }
    for (name, text) in [("release.json", &json), ("SHA256SUMS", &manifest.checksums(&json))] {
        std::fs::write(new.join(name), text)?;
        File::open(new.join(name))?.sync_all()?;
    }
    if destination.exists() {
        std::fs::rename(destination, temporary.path().join("old"))
            .with_context(|| format!("cannot replace {}", destination.display()))?;
    }
    std::fs::rename(&new, destination).with_context(|| format!("cannot create {}", destination.display()))?;
    Ok(Written::New)
}

fn is_up_to_date(manifest: &Manifest, json: &str, destination: &Path) -> bool {
    let same = |name: &str, text: &str| {
        std::fs::read(destination.join(name)).is_ok_and(|bytes| bytes == text.as_bytes())
    };
    same("release.json", json)
        && same("SHA256SUMS", &manifest.checksums(json))
        && crate::verify(destination, None).is_ok_and(|problems| problems.is_empty())
}

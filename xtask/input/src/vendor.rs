//! All inputs in one directory: for builds without a network, and against sources that vanish.
//!
//! `DIR/sha256/HEX` holds the files, `DIR/index.toml` says what they are.

use crate::{Input, Lock};
use anyhow::{Context, Result, ensure};
use std::{fs::File, path::Path};
use store::{Digest, Progress, Store, Unit, write_output};

/// Writes inputs, which the store must have, to a directory; files that are there already stay. Errors: the licence of one does
/// not let it be passed on.
pub fn vendor(store: &Store, inputs: &[&Input], directory: &Path, progress: &dyn Progress) -> Result<()> {
    for input in inputs {
        ensure!(
            input.source.may_be_passed_on(),
            "`{}` can't be vendored: its licence does not let it be passed on\n  hint: whoever needs it fetches it with `cargo xtask fetch {}`",
            input.name,
            input.name
        );
    }
    let files = directory.join("sha256");
    std::fs::create_dir_all(&files).with_context(|| format!("cannot create {}", files.display()))?;
    let total = inputs.iter().map(|input| input.digest.size).sum();
    let meter = progress.begin(&format!("writing {}", directory.display()), total, Unit::Bytes);
    for input in inputs {
        let place = files.join(input.digest.hex());
        // A hard link, as an older version made it, is replaced.
        if !place.exists() || store.is_shared(&place, &input.digest) {
            let scratch = tempfile::Builder::new()
                .prefix(".input-")
                .tempdir_in(&files)
                .with_context(|| format!("cannot write to {}", files.display()))?;
            let copy = scratch.path().join("copy");
            store.materialise_blob(&input.digest, &copy)?;
            let writing = || format!("cannot write {}", place.display());
            // Inside the store it is a link to a blob, which is on the disk.
            if !store.is_shared(&copy, &input.digest) {
                File::open(&copy).and_then(|file| file.sync_all()).with_context(writing)?;
            }
            std::fs::rename(&copy, &place).with_context(writing)?;
        }
        meter.add(input.digest.size);
    }
    let mut all: Vec<Input> = inputs.iter().map(|input| (*input).clone()).collect();
    all.sort_by(|a, b| (&a.name, a.digest).cmp(&(&b.name, b.digest)));
    all.dedup();
    let index = directory.join("index.toml");
    write_output(&index, Lock { inputs: all, pending: Vec::new() }.to_toml()?.as_bytes())
}

/// Takes an input out of a vendored directory. False when it is not there; an error when it is something else.
pub fn take(store: &Store, input: &Input, directory: &Path) -> Result<bool> {
    let files = directory.join("sha256");
    ensure!(
        files.is_dir(),
        "{} is no vendored directory\n  hint: `cargo xtask vendor DIR` writes one",
        directory.display()
    );
    let place = files.join(input.digest.hex());
    if !place.is_file() {
        return Ok(false);
    }
    let found: Digest = store.put_file(&place)?;
    ensure!(
        found == input.digest,
        "{} is damaged: it should be `{}`\n  hint: write it again with `cargo xtask vendor`",
        place.display(),
        input.name
    );
    Ok(true)
}

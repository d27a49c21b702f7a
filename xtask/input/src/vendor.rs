//! All inputs in one directory: for builds without a network, and against sources that vanish.
//!
//! `DIR/sha256/HEX` holds the files, `DIR/index.toml` says what they are.

use crate::{Input, Lock, lock::HEADER};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};
use store::{Digest, Progress, Store, Unit, hinted, write_output};

/// Writes inputs, which the store must have, to a directory; files that are there already stay. Errors: the license of one does
/// not let it be passed on.
pub fn vendor(store: &Store, inputs: &[&Input], directory: &Path, progress: &dyn Progress) -> Result<()> {
    require_passing_on(inputs)?;
    let files = directory.join("sha256");
    std::fs::create_dir_all(&files).with_context(|| format!("cannot create {}", files.display()))?;
    let total = inputs.iter().map(|input| input.digest.size).sum();
    let meter = progress.begin(&format!("writing {}", directory.display()), total, Unit::Bytes);
    for input in inputs {
        let place = place(directory, &input.digest);
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
    let index = directory.join("index.toml");
    let writing = || format!("cannot write {}", index.display());
    let old = match std::fs::read_to_string(&index) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(writing),
    };
    write_output(&index, merged_index(old.as_deref(), inputs).with_context(writing)?.as_bytes())
}

/// # Errors
/// If the license of one does not let it be passed on.
pub fn require_passing_on(inputs: &[&Input]) -> Result<()> {
    for input in inputs {
        ensure!(
            input.source.may_be_passed_on(),
            hinted(
                format!("`{}` can't be vendored: its license does not let it be passed on", input.name),
                format!("whoever needs it fetches it with `cargo xtask fetch {}`", input.name)
            )
        );
    }
    Ok(())
}

/// The text of `index.toml` with these inputs added, sorted by name and digest, each once.
///
/// # Errors
/// If the old text is something else.
pub fn merged_index(old: Option<&str>, inputs: &[&Input]) -> Result<String> {
    let key = |table: &toml::Value| {
        let field = |name: &str| table.get(name).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        (field("name"), field("sha256"))
    };
    let mut all = BTreeMap::new();
    let new = Lock { inputs: inputs.iter().map(|input| (*input).clone()).collect(), ..Lock::default() }
        .to_toml()?;
    for text in old.into_iter().chain([new.as_str()]) {
        let table: toml::Table = text.parse().context("it is not a list of inputs")?;
        let listed = table.get("input").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        all.extend(listed.into_iter().map(|input| (key(&input), input)));
    }
    let mut table = toml::Table::new();
    table.insert("version".to_owned(), toml::Value::Integer(1));
    table.insert("input".to_owned(), toml::Value::Array(all.into_values().collect()));
    Ok(format!("{HEADER}{}", toml::to_string(&table).context("cannot write a list of inputs as TOML")?))
}

/// Where a vendored directory has a file.
pub fn place(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("sha256").join(digest.hex())
}

/// # Errors
/// If [`vendor`] did not write this directory.
pub fn check(directory: &Path) -> Result<()> {
    let is_address = directory.to_str().is_some_and(|text| text.contains("://"));
    ensure!(
        !is_address,
        hinted(
            format!("`{}` is an address, not a directory", directory.display()),
            "`--mirror URL` takes inputs from a server"
        )
    );
    ensure!(
        directory.join("sha256").is_dir(),
        hinted(
            format!("{} is not a vendored directory", directory.display()),
            "`cargo xtask vendor DIR` writes one"
        )
    );
    Ok(())
}

/// Takes an input out of a vendored directory. False when it is not there.
///
/// # Errors
/// If it is something else.
pub fn take(store: &Store, input: &Input, directory: &Path) -> Result<bool> {
    let place = place(directory, &input.digest);
    if !place.is_file() {
        return Ok(false);
    }
    let found: Digest = store.put_file(&place)?;
    ensure!(
        found == input.digest,
        hinted(
            format!("{} is damaged: it should be `{}`", place.display(), input.name),
            "write it again with `cargo xtask vendor`"
        )
    );
    Ok(true)
}

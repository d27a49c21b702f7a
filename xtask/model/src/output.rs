//! The output directory: nothing in it looks whole before it is.

use crate::container::{TENSOR_CACHE, TENSOR_CACHE_B16, TensorCache, is_shard_name, shard_name};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

/// Where files stand until everything is complete.
const STAGING: &str = ".converting";

/// The directory inside the output directory in which shards are made. Locked, so that two conversions do not mix;
/// what a stopped conversion left there is removed by the next. Removed when dropped.
pub(crate) struct Staging {
    output: PathBuf,
    path: PathBuf,
    _lock: File,
}

impl Staging {
    pub fn open(output: &Path, source: &Path) -> Result<Self> {
        fs::create_dir_all(output).with_context(|| format!("cannot create {}", output.display()))?;
        let resolve =
            |path: &Path| fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()));
        ensure!(
            resolve(output)? != resolve(source)?,
            "{} holds the checkpoint; the converted model cannot go there\nhint: give another `--output`",
            output.display()
        );
        let path = output.join(STAGING);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let lock = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another conversion is writing to {}", output.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let left = entry.with_context(|| format!("cannot read {}", path.display()))?.path();
            fs::remove_file(&left).with_context(|| format!("cannot remove {}", left.display()))?;
        }
        Ok(Self { output: output.to_owned(), path, _lock: lock })
    }

    /// Where shards are made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses to overwrite a model with other tensors.
    pub fn check_replacement(&self, names: &[&str], replace: bool) -> Result<()> {
        let path = self.output.join(TENSOR_CACHE);
        if replace || !path.exists() {
            return Ok(());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let hint = "hint: give an empty directory, or `--replace`";
        let Ok(present) = TensorCache::parse(&text) else {
            bail!("{} is not that of a converted model\n{hint}", path.display());
        };
        let present: BTreeSet<_> =
            present.records.iter().flat_map(|shard| &shard.records).map(|r| &*r.name).collect();
        let same = present.len() == names.len() && names.iter().all(|name| present.contains(name));
        ensure!(same, "{} holds another model\n{hint}", self.output.display());
        Ok(())
    }

    /// Writes a small file beside the shards.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Puts `shards` shards in place of what there was. The index goes first and comes last: without it, there is
    /// no model.
    pub fn publish(self, shards: usize) -> Result<()> {
        for name in [TENSOR_CACHE, TENSOR_CACHE_B16] {
            let path = self.output.join(name);
            if path.exists() {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        let context = || format!("cannot read {}", self.output.display());
        for entry in fs::read_dir(&self.output).with_context(context)? {
            let entry = entry.with_context(context)?;
            if entry.file_name().to_str().is_some_and(is_shard_name) {
                fs::remove_file(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        let names = (0..shards).map(shard_name).chain([TENSOR_CACHE_B16.to_owned(), TENSOR_CACHE.to_owned()]);
        for name in names {
            let (from, to) = (self.path.join(&name), self.output.join(&name));
            if from.exists() {
                fs::rename(&from, &to)
                    .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
            }
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

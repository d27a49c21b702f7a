//! The output directory: nothing in it looks whole before it is.

use crate::container::{TENSOR_CACHE, TENSOR_CACHE_B16, TensorCache, is_shard_name};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::Write,
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
        let resolved =
            fs::canonicalize(output).with_context(|| format!("cannot find {}", output.display()))?;
        ensure!(
            fs::canonicalize(source).ok() != Some(resolved),
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
            let removed = if left.is_dir() { fs::remove_dir_all(&left) } else { fs::remove_file(&left) };
            removed.with_context(|| format!("cannot remove {}", left.display()))?;
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
        File::create_new(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .with_context(|| format!("cannot write {}\nhint: is the disk full?", path.display()))
    }

    /// Puts the files of `from`, which is inside, in place of what there was. The index goes first and comes last:
    /// without it, there is no model.
    pub fn publish(&self, from: &Path) -> Result<()> {
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
        let mut names = Vec::new();
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            names.push(entry.with_context(|| format!("cannot read {}", from.display()))?.file_name());
        }
        names.sort_by_key(|name| name == TENSOR_CACHE);
        for name in names {
            // What a kill leaves must not be an index on the disk and shards that are not.
            if name == TENSOR_CACHE {
                self.sync()?;
            }
            let (from, to) = (from.join(&name), self.output.join(&name));
            fs::rename(&from, &to)
                .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))?;
        }
        self.sync()
    }

    fn sync(&self) -> Result<()> {
        File::open(&self.output)
            .and_then(|directory| directory.sync_all())
            .with_context(|| format!("cannot sync {}", self.output.display()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

//! `locks/`: what only one process at a time should work on.

use crate::{Progress, Store};
use anyhow::{Context, Result};
use std::fs::File;

impl Store {
    /// Keeps other processes with the same store from doing the same work at the same time, until what is given is dropped.
    /// `name` is a file name.
    pub fn lock_work(&self, name: &str, progress: &dyn Progress) -> Result<File> {
        let directory = self.root.join("locks");
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let path = directory.join(name);
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            progress.note(&format!("waiting for another process that works on {name}"));
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }
}

//! When a blob's content is read again although its stamp fits: a bit that rots changes no time.

use crate::WithHint;
use crate::{
    Store,
    store_file::{self, open_or_create},
};
use anyhow::{Context, Result};
use std::{
    collections::{HashMap, HashSet},
    fs::{File, Metadata},
    io::{ErrorKind, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// When blobs that are given out are hashed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehash {
    /// Once by each process that uses them.
    Always,
    /// When they were hashed last, or made, longer ago than this.
    After(Duration),
}

impl Default for Rehash {
    /// A week.
    fn default() -> Self {
        Self::After(Duration::from_secs(7 * 24 * 3600))
    }
}

/// What was hashed, and when.
#[derive(Default)]
pub(crate) struct Hashed {
    /// By name, in seconds since 1970; read when it is first needed.
    before: Mutex<Option<HashMap<String, u64>>>,
    by_this_process: Mutex<HashSet<String>>,
    list: Mutex<Option<File>>,
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Sets when blobs that are given out are hashed again.
    #[must_use]
    pub fn with_rehash(mut self, rehash: Rehash) -> Self {
        self.rehash = rehash;
        self
    }

    /// Whether a file is to be hashed again. `name` tells it from others in the list of what was hashed.
    ///
    /// A file was hashed when it was made, which its time of birth tells; nobody can set that. Later times are listed in
    /// `hashed`.
    pub(crate) fn is_due(&self, metadata: &Metadata, name: &dyn Fn() -> String) -> bool {
        let Rehash::After(limit) = self.rehash else {
            return self.is_writable() && !guard(&self.hashed.by_this_process).contains(&name());
        };
        let is_recent =
            |time: SystemTime| SystemTime::now().duration_since(time).is_ok_and(|age| age <= limit);
        if !self.is_writable() || metadata.created().is_ok_and(is_recent) {
            return false;
        }
        let mut before = guard(&self.hashed.before);
        let seconds = before.get_or_insert_with(|| self.read_hashed()).get(&name()).copied();
        !seconds.is_some_and(|seconds| is_recent(UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    fn read_hashed(&self) -> HashMap<String, u64> {
        let bytes = store_file::read(&self.root.join("hashed")).unwrap_or_default();
        // A line that was cut off, or mixed with another, is not a line; what it would have said is found out again.
        String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| {
                let (name, seconds) = line.rsplit_once(' ')?;
                Some((name.to_owned(), seconds.parse().ok()?))
            })
            .collect()
    }

    /// Remembers that a file was hashed now, and was what it should be.
    pub(crate) fn note_hashed(&self, name: String) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let path = self.root.join("hashed");
        let mut list = guard(&self.hashed.list);
        let file = match &mut *list {
            Some(file) => file,
            none => none.insert(
                open_or_create(&path, true).with_context(|| format!("cannot open {}", path.display()))?,
            ),
        };
        // One write a line: lines of several processes do not mix.
        file.write_all(format!("{name} {now}\n").as_bytes()).with_hint(|| self.write_error())?;
        drop(list);
        if let Some(before) = guard(&self.hashed.before).as_mut() {
            before.insert(name.clone(), now);
        }
        guard(&self.hashed.by_this_process).insert(name);
        Ok(())
    }

    /// Writes the list anew, without what `keep` does not want and without times that later ones replace. The caller has the
    /// store alone.
    pub(crate) fn shorten_hashed(&self, keep: &dyn Fn(&str) -> bool) -> Result<()> {
        let path = self.root.join("hashed");
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            _ => {}
        }
        let mut lines: Vec<String> = self
            .read_hashed()
            .into_iter()
            .filter(|(name, _)| keep(name))
            .map(|(name, seconds)| format!("{name} {seconds}\n"))
            .collect();
        lines.sort();
        let mut list = guard(&self.hashed.list);
        *list = None;
        self.write_note(&path, lines.concat().as_bytes())
    }
}

//! What `gc` leaves although nothing reaches it: what was used not long ago, as far as it fits.

use crate::{Digest, Store, damage::Id, directory::Reached, result::decode, shelf::shelves, store_file};
use anyhow::Result;
use std::{
    collections::{HashMap, HashSet},
    fs::{File, Metadata},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How old the time of a result may get while it is used: it is not written again for each use.
const GRAIN: Duration = Duration::from_secs(3600);

/// What stays of what nothing reaches. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Only what was used within this time.
    pub younger_than: Option<Duration>,
    /// Only as much as lets blobs take no more than this many bytes: what was used last, as far as it fits.
    pub max_size: Option<u64>,
}

impl Retention {
    fn is_young(&self, used: SystemTime, now: SystemTime) -> bool {
        // What is of the future was used now.
        let age = now.duration_since(used).unwrap_or_default();
        self.younger_than.is_none_or(|limit| age < limit)
    }
}

/// Blobs that stay, and what all of them take.
struct Budget<'a> {
    sizes: &'a HashMap<Id, u64>,
    marked: &'a mut HashSet<String>,
    used: u64,
    limit: u64,
}

impl Budget<'_> {
    /// Marks blobs, all or none of them.
    fn take(&mut self, blobs: &HashSet<Id>) -> bool {
        let is_new = |id: &&Id| !self.marked.contains(&hex(id));
        let more: u64 = blobs.iter().filter(is_new).filter_map(|id| self.sizes.get(id)).sum();
        if self.used + more > self.limit {
            return false;
        }
        self.used += more;
        self.marked.extend(blobs.iter().map(hex));
        true
    }
}

fn hex(id: &Id) -> String {
    Digest { sha256: *id, size: 0 }.hex()
}

impl Store {
    /// Remembers that a result was used now. Nothing depends on it but what `gc` leaves.
    pub(crate) fn note_used(&self, path: &Path) {
        if !self.is_writable() {
            return;
        }
        let is_old = |metadata: Metadata| {
            metadata.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > GRAIN)
        };
        if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && is_old(metadata)) {
            let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        }
    }

    /// Adds to `marked` what stays beside what is reached: results with their outputs and logs, and then blobs that belong to no
    /// result, both in the order of their last use.
    pub(crate) fn mark_retained(&self, marked: &mut HashSet<String>, retention: &Retention) -> Result<()> {
        let now = SystemTime::now();
        let (mut sizes, mut blobs) = (HashMap::new(), Vec::new());
        for kind in ["cas/sha256", "cas/sha256-x"] {
            for found in shelves(&self.root.join(kind))?.files {
                let Ok(metadata) = std::fs::symlink_metadata(&found.path) else { continue };
                *sizes.entry(found.id).or_insert(0) += metadata.len();
                // The time of its content says nothing. Whoever links to it changes this one.
                let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
                blobs.push((UNIX_EPOCH + Duration::from_secs(seconds), found.id));
            }
        }
        let used = sizes.iter().filter(|(id, _)| marked.contains(&hex(id))).map(|(_, size)| size).sum();
        let limit = retention.max_size.unwrap_or(u64::MAX);
        let mut budget = Budget { sizes: &sizes, marked, used, limit };

        let mut results = Vec::new();
        for found in shelves(&self.root.join("ac"))?.files {
            if !budget.marked.contains(&hex(&found.id)) {
                let time = std::fs::symlink_metadata(&found.path).and_then(|metadata| metadata.modified());
                results.push((time.unwrap_or(UNIX_EPOCH), found));
            }
        }
        results.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        let mut dropped = HashSet::new();
        for (time, found) in results {
            let Some(kept) = store_file::read(&found.path).ok().and_then(|bytes| decode(&bytes)) else {
                continue;
            };
            let mut reached = Reached::default();
            reached.add(self, &kept.result.outputs)?;
            let mut all: HashSet<Id> =
                reached.directories.iter().chain(&reached.files).map(|blob| blob.sha256).collect();
            all.extend(kept.blobs().map(|blob| blob.sha256));
            let action = Digest { sha256: found.id, size: 0 };
            all.extend(self.peek_action(&action).map(|(command, _)| command.sha256));
            all.insert(found.id);
            if !retention.is_young(time, now) || !budget.take(&all) {
                dropped.extend(all);
            }
        }
        blobs.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        for (time, id) in blobs {
            if retention.is_young(time, now) && !dropped.contains(&id) && !budget.marked.contains(&hex(&id)) {
                budget.take(&HashSet::from([id]));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, ActionResult, Collected, Entry, Reference, Silent, Tree};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A result whose outputs are a file of 1000 bytes, last used so many days ago.
    fn result(store: &Store, name: &str, days: u32) -> Digest {
        let digest = store.put_bytes(name.repeat(1000).as_bytes()).unwrap();
        let mut tree = Tree::new();
        tree.insert("x", Entry::File { digest, executable: false }).unwrap();
        let outputs = tree.write(store).unwrap();
        let key = Action::named([name]).digest();
        store.put_result(&key, &ActionResult { outputs, log: None }).unwrap();
        age(store, &key, days);
        key
    }

    fn age(store: &Store, key: &Digest, days: u32) {
        let file = File::open(store.result_path(key)).unwrap();
        file.set_modified(SystemTime::now() - DAY * days).unwrap();
    }

    fn there(store: &Store, keys: &[Digest]) -> Vec<bool> {
        keys.iter().map(|key| store.result(key).unwrap().is_some()).collect()
    }

    fn collect(store: &Store, kept: &[Reference], retention: Retention, dry_run: bool) -> Collected {
        store.collect_garbage_but(kept, &retention, dry_run, &Silent).unwrap()
    }

    #[test]
    fn what_was_used_not_long_ago_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let keys = [result(&store, "a", 40), result(&store, "b", 20), result(&store, "c", 50)];
        let retention = Retention { younger_than: Some(DAY * 30), max_size: None };
        // A root stays, however old it is.
        let kept = [Reference::Action(keys[2])];
        let would = collect(&store, &kept, retention, true);
        assert_eq!(there(&store, &keys), [true, true, true]);
        // Looking it up was a use.
        assert_eq!(collect(&store, &kept, retention, true).results, 0);
        age(&store, &keys[0], 40);
        let did = collect(&store, &kept, retention, false);
        assert_eq!((did.results, did.bytes), (would.results, would.bytes));
        assert_eq!(did.actions, [keys[0].hex()]);
        assert_eq!(there(&store, &keys), [false, true, true]);
        // Without anything said, only what is reached stays.
        assert_eq!(collect(&store, &kept, Retention::default(), true).actions, [keys[1].hex()]);
    }

    #[test]
    fn what_was_used_last_stays_as_far_as_it_fits() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let keys = [result(&store, "a", 3), result(&store, "b", 1), result(&store, "c", 2)];
        let all = store.usage().unwrap().kinds["blobs"].1;
        let size = |max_size| Retention { younger_than: None, max_size: Some(max_size) };
        assert_eq!(collect(&store, &[], size(all), true).results, 0);
        // Roots stay where they alone are too large.
        let kept = [Reference::Action(keys[0])];
        let one = collect(&store, &kept, size(1), true);
        assert_eq!((one.results, one.bytes / 1000), (2, 2), "{one:?}");
        let two = collect(&store, &[], size(all - 1), false);
        assert_eq!(two.actions, [keys[0].hex()], "{two:?}");
        assert!(store.usage().unwrap().kinds["blobs"].1 < all);
        assert_eq!(there(&store, &keys), [false, true, true]);
    }

    #[test]
    fn blobs_of_no_result_are_the_first_to_go_where_there_is_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let key = result(&store, "a", 3);
        let all = store.usage().unwrap().kinds["blobs"].1;
        let loose = store.put_bytes(&[7; 500]).unwrap();
        let size = |max_size| Retention { younger_than: None, max_size: Some(max_size) };
        assert_eq!(collect(&store, &[], size(all + 500), true), Collected::default());
        let collected = collect(&store, &[], size(all + 499), false);
        assert_eq!((collected.blobs, collected.bytes), (1, 500));
        assert!(there(&store, &[key])[0] && !store.contains(&loose));
        // Old results are not kept as blobs without a result.
        let young = Retention { younger_than: Some(DAY), max_size: None };
        age(&store, &key, 3);
        assert_eq!(collect(&store, &[], young, true).bytes, all);
    }
}

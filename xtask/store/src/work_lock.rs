//! `locks/`: what only one process at a time should work on; and who is told about to those who wait.

use crate::{
    Owner, Progress, Store,
    owner::State,
    store_file::{make_directory, open_or_create},
};
use anyhow::{Context, Result};
use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How often a lock that another process holds is tried. Builds take minutes.
const INTERVAL: Duration = Duration::from_millis(100);

/// The most that is read of what a holder wrote of itself, in bytes.
const LONGEST_HOLDER: u64 = 4096;

/// What threads of this process hold, or wait for as the next.
static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static FREED: Condvar = Condvar::new();

/// Keeps other threads and processes from the same work until it is dropped.
#[derive(Debug)]
pub struct WorkLock {
    path: PathBuf,
    file: Option<File>,
}

impl Drop for WorkLock {
    fn drop(&mut self) {
        // The next thread finds the file unlocked.
        self.file = None;
        held().remove(&self.path);
        FREED.notify_all();
    }
}

fn held() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Keeps other processes with the same store, and other threads of this one, from doing the same work at the same time,
    /// until what is returned is dropped. `name` is a file name, `what` is what others are told while they wait.
    ///
    /// Waiting for a thread of this process is silent: it shows its own progress. Of another process, its number and its
    /// work are reported, and whether it is stopped or has ended; again when that changes.
    ///
    /// # Errors
    /// The lock can't be created, or something that is not a file stands there.
    pub fn lock_work(&self, name: &str, what: &str, progress: &dyn Progress) -> Result<WorkLock> {
        let directory = self.root.join("locks");
        make_directory(&directory)?;
        let path = directory.join(name);
        let mut all = held();
        while !all.insert(path.clone()) {
            all = FREED.wait(all).unwrap_or_else(PoisonError::into_inner);
        }
        drop(all);
        let mut lock = WorkLock { path, file: None };
        let mut file = open_or_create(&lock.path, false)
            .with_context(|| format!("cannot open {}", lock.path.display()))?;
        wait_for(&lock.path, || file.try_lock(), |path| Holder::read(path).into_iter().collect(), &|text| {
            progress.note(text);
        })?;
        Holder::write(&mut file, what).with_context(|| format!("cannot write {}", lock.path.display()))?;
        lock.file = Some(file);
        Ok(lock)
    }
}

/// Tries a lock until it is had. `holders` are asked for while it is not, and `note` is told whenever what is known of them
/// changes.
pub(crate) fn wait_for(
    path: &Path,
    attempt: impl Fn() -> Result<(), TryLockError>,
    holders: impl Fn(&Path) -> Vec<Holder>,
    note: &dyn Fn(&str),
) -> Result<()> {
    let mut told = Vec::new();
    let mut tries = 0_u32;
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        // A holder writes down who it is right after it has the lock, and some hold it for an instant only.
        if tries > 0 && tries.is_multiple_of(5) {
            let now: Vec<String> = holders(path).iter().map(|holder| holder.explain(path)).collect();
            for text in now.iter().filter(|text| !told.contains(*text)) {
                note(text);
            }
            if now.is_empty() && told.is_empty() {
                note(&format!("waiting for another process, which holds {}", path.display()));
                told.push(String::new());
            }
            if !now.is_empty() {
                told = now;
            }
        }
        tries = tries.wrapping_add(1);
        std::thread::sleep(INTERVAL.mul_f32(if tries < 5 { 0.2 } else { 1.0 }));
    }
}

/// Who holds a lock, and for what, as it stands in the lock's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    owner: Owner,
    what: String,
}

impl Holder {
    /// Writes this process and its work into a file that it has locked.
    pub(crate) fn write(file: &mut File, what: &str) -> std::io::Result<()> {
        let what: String = what.chars().filter(|character| !character.is_control()).take(1000).collect();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(format!("{}\n{what}\n", Owner::this_process()).as_bytes())
    }

    /// What a file says; nothing where it says nothing.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let (file, _) = crate::store_file::open(path).ok()?;
        let mut text = String::new();
        file.take(LONGEST_HOLDER).read_to_string(&mut text).ok()?;
        let (owner, what) = text.split_once('\n')?;
        let what = what.trim_end().chars().filter(|character| !character.is_control()).collect();
        Some(Self { owner: Owner::parse(owner), what })
    }

    /// A sentence for whoever waits.
    fn explain(&self, path: &Path) -> String {
        let what = &self.what;
        let number = self.owner.number().unwrap_or("?");
        match self.owner.state() {
            State::Running => format!("waiting for process {number} to finish {what}"),
            State::Stopped => format!(
                "process {number} is stopped, and holds the lock for {what}; `kill -CONT {number}` lets it go on, `kill -KILL {number}` ends it"
            ),
            State::Ended => format!(
                "process {number} has ended while it worked on {what}, but {} is still locked, perhaps by a program that it started",
                path.display()
            ),
            State::Elsewhere => {
                format!("waiting for a process of another container or machine to finish {what}")
            }
        }
    }
}

//! What one action may take at most, and who looks after it.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// How often a running action is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// Bytes of a page on x86-64, the only machine that environments are made for.
const PAGE: u64 = 4096;

/// What one action may take at most. Nothing is limited where nothing is said.
///
/// No part of any key: an action that is ended leaves no result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Limits {
    /// How long it may run.
    pub time: Option<Duration>,
    /// Memory of all its processes together, in bytes; `/tmp` and `/dev/shm` may each hold as much.
    pub memory: Option<u64>,
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Bytes of all its output files together, holes included.
    pub outputs: Option<u64>,
}

impl Limits {
    /// Sets one limit by `NAME=VALUE`: `time=90s` (or `m`, `h`), `memory=16G` (or `K`, `M`, `T`, powers of 1024),
    /// `processes=4096`, `outputs=8G`.
    ///
    /// # Errors
    /// If there is no such limit, or the value is not one for it.
    pub fn set(&mut self, setting: &str) -> Result<()> {
        let (name, value) =
            setting.split_once('=').with_context(|| format!("`{setting}` is not NAME=VALUE"))?;
        let (name, value) = (name.trim(), value.trim());
        let malformed = || format!("`{value}` is not a value of the limit `{name}`");
        match name {
            "time" => self.time = Some(Duration::from_secs(scaled(value, TIME).with_context(malformed)?)),
            "memory" => self.memory = Some(scaled(value, SIZE).with_context(malformed)?),
            "processes" => self.processes = Some(scaled(value, &[]).with_context(malformed)?),
            "outputs" => self.outputs = Some(scaled(value, SIZE).with_context(malformed)?),
            _ => bail!("there is no limit `{name}`; there are `time`, `memory`, `processes` and `outputs`"),
        }
        Ok(())
    }

    /// These limits, each raised to what a recipe says that it needs. What is not limited stays so.
    pub fn raised_to(self, needs: &Self) -> Self {
        fn raised<T: Ord>(limit: Option<T>, need: Option<T>) -> Option<T> {
            limit.map(|limit| need.into_iter().fold(limit, T::max))
        }
        Self {
            time: raised(self.time, needs.time),
            memory: raised(self.memory, needs.memory),
            processes: raised(self.processes, needs.processes),
            outputs: raised(self.outputs, needs.outputs),
        }
    }

    /// What is said in the log of an action that was ended for its time.
    pub(crate) fn time_is_up(time: Duration) -> String {
        ended(&format!("it ran for more than {} s", time.as_secs()), "time")
    }
}

impl TryFrom<BTreeMap<String, String>> for Limits {
    type Error = anyhow::Error;

    fn try_from(table: BTreeMap<String, String>) -> Result<Self> {
        let mut limits = Self::default();
        for (name, value) in table {
            limits.set(&format!("{name}={value}"))?;
        }
        Ok(limits)
    }
}

/// Seconds.
const TIME: &[(&str, u64)] = &[("s", 1), ("m", 60), ("h", 3600)];

/// Bytes.
const SIZE: &[(&str, u64)] = &[("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

/// A positive whole number with one of the units, where there are any.
fn scaled(text: &str, units: &[(&str, u64)]) -> Result<u64> {
    let expected = || match units {
        [] => "expected a whole number, such as 4096".to_owned(),
        _ => {
            let letters: Vec<&str> = units.iter().map(|(letter, _)| *letter).collect();
            format!("expected a whole number and one of {}, such as 90{}", letters.join(", "), letters[0])
        }
    };
    let (number, unit) =
        match units.iter().find_map(|(letter, unit)| Some((text.strip_suffix(letter)?, unit))) {
            Some((number, unit)) => (number, *unit),
            None if units.is_empty() => (text, 1),
            None => bail!("{}", expected()),
        };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let value = number.parse::<u64>().ok().filter(|value| digits && *value > 0);
    value.and_then(|value| value.checked_mul(unit)).with_context(expected)
}

fn ended(why: &str, limit: &str) -> String {
    format!("\nmlc-repro ended this action: {why}, the limit `{limit}`\n")
}

/// Does `work` while a program runs, and ends the program by `end` when it takes more than the limits let it.
///
/// Time, memory and processes are those of the program `root` and of all that came of it. Gives what `work` gave, and why the
/// program was ended, if it was. No cgroup is needed, which only root or systemd could give: the processes are looked at five
/// times a second, so that for as long they may have more than they should.
pub(crate) fn guard<T>(
    limits: &Limits,
    root: u32,
    end: impl FnOnce() + Send,
    work: impl FnOnce() -> T,
) -> (T, Option<String>) {
    if (limits.time, limits.memory, limits.processes) == (None, None, None) {
        return (work(), None);
    }
    let start = Instant::now();
    let (done, wait) = channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            while wait.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Some(why) = exceeded(limits, root, start.elapsed()) {
                    end();
                    return Some(why);
                }
            }
            None
        });
        let worked = work();
        drop(done);
        (worked, watch.join().unwrap_or_default())
    })
}

fn exceeded(limits: &Limits, root: u32, elapsed: Duration) -> Option<String> {
    if let Some(time) = limits.time.filter(|time| elapsed > *time) {
        return Some(Limits::time_is_up(time));
    }
    if (limits.memory, limits.processes) == (None, None) {
        return None;
    }
    let used = used_by(root, &processes());
    let bytes = used.pages.saturating_mul(PAGE);
    if limits.memory.is_some_and(|memory| bytes > memory) {
        return Some(ended(&format!("its processes had {} MiB of memory", bytes >> 20), "memory"));
    }
    limits
        .processes
        .is_some_and(|processes| used.threads > processes)
        .then(|| ended(&format!("it had {} processes and threads", used.threads), "processes"))
}

/// A process of this machine: `/proc/PID/stat`.
struct Process {
    id: u32,
    parent: u32,
    used: Used,
}

/// What processes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    threads: u64,
    /// Pages in memory. What two processes share counts twice.
    pages: u64,
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(|first: char| first.is_ascii_digit()))
        // One that has ended meanwhile has nothing any more.
        .filter_map(|entry| parse(&std::fs::read(entry.path().join("stat")).ok()?))
        .collect()
}

/// `ID (NAME) STATE PARENT …`, where the name may hold anything (proc_pid_stat(5)).
fn parse(stat: &[u8]) -> Option<Process> {
    let id = std::str::from_utf8(stat.split(|byte| *byte == b' ').next()?).ok()?.parse().ok()?;
    let behind_the_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> =
        std::str::from_utf8(&stat[behind_the_name + 1..]).ok()?.split_whitespace().collect();
    // Counted from 1 in the manual, and the third is the first here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let used = Used { threads: field(20)?, pages: field(24)? };
    Some(Process { id, parent: u32::try_from(field(4)?).ok()?, used })
}

/// What a process and all that came of it have. Whoever loses its parent gets the first one of its PID namespace for another,
/// which came of the same process.
fn used_by(root: u32, processes: &[Process]) -> Used {
    let mut children: BTreeMap<u32, Vec<&Process>> = BTreeMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process);
    }
    let mut used = Used::default();
    let mut pending: Vec<&Process> = processes.iter().filter(|process| process.id == root).collect();
    while let Some(process) = pending.pop() {
        used.threads += process.used.threads;
        used.pages = used.pages.saturating_add(process.used.pages);
        // Removed, so that a list which was read while processes came and went has no circle.
        pending.extend(children.remove(&process.id).unwrap_or_default());
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let mut limits = Limits::default();
        for setting in ["time=90m", "memory=16G", "processes=4096", "outputs=512M"] {
            limits.set(setting).unwrap();
        }
        assert_eq!(limits.time, Some(Duration::from_secs(5400)));
        assert_eq!(
            (limits.memory, limits.processes, limits.outputs),
            (Some(16 << 30), Some(4096), Some(512 << 20))
        );
        for (setting, expected) in [
            ("time", "is not NAME=VALUE"),
            ("space=1G", "there is no limit `space`"),
            ("time=2", "expected a whole number and one of s, m, h, such as 90s"),
            ("time=-2h", "expected"),
            ("time=+2h", "expected"),
            ("time=0s", "expected"),
            ("memory=16GB", "expected"),
            ("memory=99999999T", "expected"),
            ("processes=1G", "expected a whole number, such as 4096"),
            ("outputs=", "expected"),
        ] {
            let error = format!("{:#}", limits.set(setting).unwrap_err());
            assert!(error.contains(expected), "{setting}: {error}");
        }
    }

    #[test]
    fn a_recipe_raises_what_is_limited() {
        let set = |settings: &[&str]| {
            let mut limits = Limits::default();
            settings.iter().for_each(|setting| limits.set(setting).unwrap());
            limits
        };
        let global = set(&["time=1h", "memory=8G"]);
        assert_eq!(global.raised_to(&set(&["time=3h", "outputs=1G"])), set(&["time=3h", "memory=8G"]));
        assert_eq!(global.raised_to(&set(&["time=1m"])), global);
        assert_eq!(Limits::default().raised_to(&set(&["time=1m"])), Limits::default());
    }

    #[test]
    fn all_that_came_of_a_process_counts() {
        let line = |id: u32, name: &str, parent: u32| {
            format!("{id} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 100 4096 10 0\n")
        };
        let all: Vec<Process> =
            [line(7, "a", 1), line(8, "b) S 1 (", 7), line(9, "c d", 8), line(10, "e", 1)]
                .iter()
                .map(|line| parse(line.as_bytes()).unwrap())
                .collect();
        assert_eq!(used_by(7, &all), Used { threads: 6, pages: 30 });
        assert_eq!(used_by(10, &all), Used { threads: 2, pages: 10 });
        assert_eq!(used_by(11, &all), Used::default());
        for bad in
            ["", "7", "7 (a", "7 (a) S 1", "x (a) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 100 4096 10 0"]
        {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
        let own = used_by(std::process::id(), &processes());
        assert!(own.threads >= 1 && own.pages >= 1, "{own:?}");
    }
}

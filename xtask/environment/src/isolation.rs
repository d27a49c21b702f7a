//! What of this machine a build must not see or inherit, as data: `isolation.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;

/// `isolation.toml`, the same for every backend.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Isolation {
    hidden: Vec<Hidden>,
    #[serde(rename = "limit")]
    limits: Vec<Limit>,
}

/// Paths that are empty inside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hidden {
    /// The reason.
    #[allow(dead_code, reason = "for whoever reads the table")]
    why: String,
    paths: Vec<String>,
}

/// A resource limit, soft and hard.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// As container engines call it.
    name: String,
    /// The reason.
    #[allow(dead_code, reason = "for whoever reads the table")]
    why: String,
    /// The option of dash's `ulimit`.
    flag: String,
    /// What dash counts in, in bytes or pieces.
    unit: i64,
    /// In units.
    value: i64,
}

impl Isolation {
    /// Reads the table, which is part of this program.
    pub(crate) fn load() -> Result<Self> {
        toml::from_str(include_str!("isolation.toml")).context("isolation.toml is malformed")
    }

    /// All that is hidden, whether this machine has it or not.
    pub(crate) fn hidden(&self) -> impl Iterator<Item = &str> {
        self.hidden.iter().flat_map(|hidden| hidden.paths.iter().map(String::as_str))
    }

    /// Options for bubblewrap that hide what this kernel has, below a `/proc` that it has mounted already.
    pub(crate) fn covers(&self) -> Vec<String> {
        let mut words = Vec::new();
        for path in self.hidden().filter(|path| path.starts_with("/proc/")) {
            match std::fs::symlink_metadata(Path::new(path)) {
                Ok(metadata) if metadata.is_dir() => {
                    words.extend(["--perms", "0555", "--tmpfs", path, "--remount-ro", path]);
                }
                // As container engines do: reading gives nothing, and what is written goes nowhere.
                Ok(_) => words.extend(["--dev-bind", "/dev/null", path]),
                Err(_) => {}
            }
        }
        words.into_iter().map(str::to_owned).collect()
    }

    /// The limits by name, in bytes or pieces.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (&str, i64)> {
        self.limits.iter().map(|limit| (limit.name.as_str(), limit.value * limit.unit))
    }

    /// Commands of a shell (dash) that set the limits.
    pub(crate) fn ulimits(&self) -> String {
        let set = |limit: &Limit| format!("ulimit {} {}; ", limit.flag, limit.value);
        format!("{{ {}}} 2>/dev/null; ", self.limits.iter().map(set).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let isolation = Isolation::load().unwrap();
        let hidden: Vec<_> = isolation.hidden().collect();
        // What Docker and podman hide by default.
        for path in [
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/proc/timer_list",
            "/proc/timer_stats",
        ] {
            assert!(hidden.contains(&path), "{path}");
        }
        let mut distinct = hidden.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), hidden.len());
        assert!(isolation.hidden.iter().all(|hidden| !hidden.why.is_empty()));
        let limits: Vec<_> = isolation.limits().collect();
        assert_eq!(limits, [("core", 0), ("nofile", 1024), ("nproc", 16384), ("stack", 8 << 20)]);
    }
}

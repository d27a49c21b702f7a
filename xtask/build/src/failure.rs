//! What a failed build means: the end of its log, and the known causes.

use serde::Deserialize;

/// How many lines of a log an error shows.
const LINES: usize = 30;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Stands in the log of such a failure.
    contains: String,
    /// What happened and what to do.
    explanation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failures {
    failure: Vec<Known>,
}

/// The known causes that a log shows, from `failures.toml`.
pub fn explain(log: &str) -> Vec<String> {
    let failures: Failures = match toml::from_str(include_str!("failures.toml")) {
        Ok(failures) => failures,
        Err(error) => return vec![format!("failures.toml: {error}")],
    };
    failures
        .failure
        .into_iter()
        .filter(|known| log.contains(&known.contains))
        .map(|known| known.explanation)
        .collect()
}

/// The last lines of a log, each behind `  | `.
pub fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| format!("  | {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed_and_known_failures_are_recognised() {
        for (log, expected) in [
            ("lld-link: error: foo.o: unknown file type", "MinGW"),
            ("CMake Error: Compatibility with CMake < 3.5 has been removed from CMake.", "CMAKE_POLICY"),
            ("Cannot find global function tvm.codegen.llvm.GetDefaultTargetTriple", "without LLVM"),
            ("Could not find a package configuration file provided by \"LLVM\"", "development files"),
        ] {
            let found = explain(log);
            assert!(found.len() == 1 && found[0].contains(expected), "{log}: {found:?}");
        }
        assert!(explain("all is well").is_empty());
    }

    #[test]
    fn the_tail_is_short() {
        let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let tail = tail(&log);
        assert_eq!(tail.lines().count(), LINES);
        assert!(tail.ends_with("  | line 99\n"));
    }
}

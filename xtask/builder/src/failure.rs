//! What a failed build means: the end of its log, and the known causes.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How many lines of a log an error shows.
const LINES: usize = 30;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Parts of lines, of which one stands in the log of such a failure; `*` stands for anything.
    lines: Vec<String>,
    /// What happened and what to do.
    explanation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failures {
    failure: Vec<Known>,
}

/// A known cause of a failure, and where a log shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The number of the first line that shows it, from 1.
    pub line: usize,
    /// That line.
    pub text: String,
    /// What happened and what to do.
    pub explanation: String,
}

/// The known causes that the log of a build shows, ours or another, in the order of its lines. Errors: failures.toml, which is
/// part of the program, is no such table.
pub fn explain_log(log: &str) -> Result<Vec<Cause>> {
    let failures: Failures = toml::from_str(include_str!("failures.toml")).context("failures.toml")?;
    let mut causes: Vec<Cause> = Vec::new();
    for (index, line) in log.lines().enumerate() {
        let explains = |known: &&Known| known.lines.iter().any(|part| holds(line, part));
        if let Some(known) = failures.failure.iter().find(explains)
            && causes.iter().all(|cause| cause.explanation != known.explanation)
        {
            let explanation = known.explanation.clone();
            causes.push(Cause { line: index + 1, text: line.to_owned(), explanation });
        }
    }
    Ok(causes)
}

/// Whether the parts between the stars stand in `line`, in their order.
fn holds(line: &str, part: &str) -> bool {
    part.split('*').try_fold(line, |rest, part| Some(&rest[rest.find(part)? + part.len()..])).is_some()
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

    /// What the real tools said, by section (`tests/failures/provoke.sh`).
    const LOGS: &str = include_str!("../../../tests/failures/failures.log");

    #[test]
    fn failures_that_were_provoked_are_recognised() {
        let mut sections = LOGS.split("== ").skip(1).map(|section| section.split_once('\n').unwrap());
        for (name, expected) in [
            ("mingw_object", "made by MinGW"),
            ("mingw_library", "another ABI: MinGW's LLVM"),
            ("elf_object", "made for Linux"),
            ("elf_library", "the system's libxml2.a"),
            ("libxml2_missing", "a static `libxml2s.lib`"),
            ("libxml2_left_out", "libxml2 is missing from the link"),
            ("libxml2_as_dll", "needs LIBXML_STATIC"),
            ("c_runtime", "two C runtimes"),
            ("llvm_without_development_files", "without its development files"),
            ("cmake_4", "CMAKE_POLICY_VERSION_MINIMUM"),
            ("function", "without LLVM code generation"),
        ] {
            let (found, log) = sections.next().unwrap();
            assert_eq!(found, name);
            let causes = explain_log(log).unwrap();
            assert!(causes.len() == 1 && causes[0].explanation.contains(expected), "{log}: {causes:?}");
            assert_eq!(log.lines().nth(causes[0].line - 1), Some(causes[0].text.as_str()));
        }
        assert_eq!(sections.next(), None);
        assert!(explain_log("all is well").unwrap().is_empty());
        // One explanation each, where it shows first.
        let causes = explain_log(LOGS).unwrap();
        assert!(causes.is_sorted_by_key(|cause| cause.line) && causes.len() == 8, "{causes:?}");
    }

    #[test]
    fn the_tail_is_short() {
        let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let tail = tail(&log);
        assert_eq!(tail.lines().count(), LINES);
        assert!(tail.ends_with("  | line 99\n"));
    }
}

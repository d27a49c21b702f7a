//! What a failed build means: the end of its log, and the known causes.

use serde::Deserialize;

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

/// The known causes that a log shows, from `failures.toml`.
pub fn explain(log: &str) -> Vec<String> {
    let failures: Failures = match toml::from_str(include_str!("failures.toml")) {
        Ok(failures) => failures,
        Err(error) => return vec![format!("failures.toml: {error}")],
    };
    let mut found = vec![false; failures.failure.len()];
    for line in log.lines() {
        let explains = |known: &Known| known.lines.iter().any(|part| holds(line, part));
        if let Some(index) = failures.failure.iter().position(explains) {
            found[index] = true;
        }
    }
    let known = failures.failure.into_iter().zip(found);
    known.filter(|(_, found)| *found).map(|(known, _)| known.explanation).collect()
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
            let explained = explain(log);
            assert!(explained.len() == 1 && explained[0].contains(expected), "{log}: {explained:?}");
        }
        assert_eq!(sections.next(), None);
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

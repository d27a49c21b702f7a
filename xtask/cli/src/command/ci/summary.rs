//! Reports of a run of the steps: a table, and JUnit's XML.

use crate::place::Place;
use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

/// How a step ended.
#[derive(Serialize)]
pub struct Outcome {
    /// Its name.
    pub step: String,
    /// Why it is there.
    pub why: String,
    /// Whether its command succeeded.
    pub passed: bool,
    /// How long it took.
    pub seconds: f64,
}

/// All steps that ran, in their order.
#[derive(Default, Serialize)]
pub struct Report {
    /// In their order.
    pub outcomes: Vec<Outcome>,
}

/// Where a service wants Markdown for the page of the job.
pub fn of_service(place: Place) -> Option<PathBuf> {
    match place {
        Place::Github => {
            std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from)
        }
        _ => None,
    }
}

impl Report {
    /// Names of the steps that failed.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| outcome.step.as_str())
    }

    /// Adds a table to a file, which other steps of a job write to as well.
    ///
    /// # Errors
    /// When the file can't be written to.
    pub fn append_markdown(&self, path: &Path) -> Result<()> {
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(self.markdown().as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn markdown(&self) -> String {
        let mut text = "| step | result | time | why |\n|---|---|---|---|\n".to_owned();
        for outcome in &self.outcomes {
            let result = if outcome.passed { "passed" } else { "**failed**" };
            let why = outcome.why.replace('|', "\\|");
            let _ = writeln!(text, "| {} | {result} | {:.0} s | {why} |", outcome.step, outcome.seconds);
        }
        let total: f64 = self.outcomes.iter().map(|outcome| outcome.seconds).sum();
        let _ = writeln!(text, "| {} steps | | {:.0} s | |", self.outcomes.len(), total);
        text
    }

    /// One test suite with a case a step, as JUnit's consumers read it.
    pub fn junit(&self) -> String {
        let total: f64 = self.outcomes.iter().map(|outcome| outcome.seconds).sum();
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"ci\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" time=\"{:.3}\">\n",
            self.outcomes.len(),
            self.failed().count(),
            total
        );
        for outcome in &self.outcomes {
            let _ = write!(
                text,
                "<testcase classname=\"ci\" name=\"{}\" time=\"{:.3}\"",
                escape(&outcome.step),
                outcome.seconds
            );
            text += &match outcome.passed {
                true => "/>\n".to_owned(),
                false => format!("><failure message=\"{}\"/></testcase>\n", escape(&outcome.why)),
            };
        }
        text + "</testsuite>\n</testsuites>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let outcome = |step: &str, passed, seconds| Outcome {
            step: step.to_owned(),
            why: "a < b | \"c\" & d".to_owned(),
            passed,
            seconds,
        };
        Report { outcomes: vec![outcome("format", true, 2.0), outcome("test", false, 61.0)] }
    }

    #[test]
    fn a_table_has_each_step_and_the_sum() {
        assert_eq!(
            report().markdown(),
            "| step | result | time | why |\n|---|---|---|---|\n\
             | format | passed | 2 s | a < b \\| \"c\" & d |\n\
             | test | **failed** | 61 s | a < b \\| \"c\" & d |\n\
             | 2 steps | | 63 s | |\n"
        );
    }

    #[test]
    fn junit_is_escaped() {
        let text = report().junit();
        assert!(text.contains("tests=\"2\" failures=\"1\""), "{text}");
        assert!(text.contains("<failure message=\"a &lt; b | &quot;c&quot; &amp; d\"/>"), "{text}");
    }
}

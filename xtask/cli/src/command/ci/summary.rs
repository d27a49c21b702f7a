//! How a run of the steps is told: to a person, and to the CI service that it runs under.

use anyhow::{Context, Result};
use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// How a step ended.
pub struct Outcome {
    /// Its name.
    pub step: String,
    /// Why it is there.
    pub why: String,
    /// Whether its command succeeded.
    pub passed: bool,
    /// How long it took.
    pub time: Duration,
}

/// All steps that ran.
#[derive(Default)]
pub struct Report {
    /// In their order.
    pub outcomes: Vec<Outcome>,
}

/// Which service's logs are written.
#[derive(Clone, Copy)]
pub enum Service {
    /// None: a person's terminal, or another service.
    Other,
    /// GitHub Actions: workflow commands.
    GitHub,
    /// GitLab CI: sections.
    GitLab,
}

impl Service {
    /// By the variables that each sets.
    pub fn of_this_machine() -> Self {
        let is_set = |name: &str| std::env::var(name).is_ok_and(|value| value == "true");
        match (is_set("GITHUB_ACTIONS"), is_set("GITLAB_CI")) {
            (true, _) => Self::GitHub,
            (_, true) => Self::GitLab,
            _ => Self::Other,
        }
    }

    /// Where it wants Markdown for the page of the job.
    pub fn summary(self) -> Option<PathBuf> {
        match self {
            Self::GitHub => {
                std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()).map(PathBuf::from)
            }
            _ => None,
        }
    }

    /// What stands before the output of a step.
    pub fn begin(self, step: &str) -> String {
        match self {
            Self::Other => String::new(),
            Self::GitHub => format!("::group::{step}\n"),
            Self::GitLab => format!("\x1b[0Ksection_start:{}:{step}\r\x1b[0K{step}\n", seconds()),
        }
    }

    /// What stands after it.
    pub fn end(self, outcome: &Outcome) -> String {
        match self {
            Self::Other => String::new(),
            Self::GitHub if outcome.passed => "::endgroup::\n".to_owned(),
            Self::GitHub => {
                format!("::endgroup::\n::error title={}::the step failed: {}\n", outcome.step, outcome.why)
            }
            Self::GitLab => format!("\x1b[0Ksection_end:{}:{}\r\x1b[0K", seconds(), outcome.step),
        }
    }
}

fn seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
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
            let _ = writeln!(
                text,
                "| {} | {result} | {:.0} s | {why} |",
                outcome.step,
                outcome.time.as_secs_f64()
            );
        }
        let total: Duration = self.outcomes.iter().map(|outcome| outcome.time).sum();
        let _ = writeln!(text, "| {} steps | | {:.0} s | |", self.outcomes.len(), total.as_secs_f64());
        text
    }

    /// One test suite with a case a step, as JUnit's consumers read it.
    pub fn junit(&self) -> String {
        let total: Duration = self.outcomes.iter().map(|outcome| outcome.time).sum();
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"ci\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" time=\"{:.3}\">\n",
            self.outcomes.len(),
            self.failed().count(),
            total.as_secs_f64()
        );
        for outcome in &self.outcomes {
            let _ = write!(
                text,
                "<testcase classname=\"ci\" name=\"{}\" time=\"{:.3}\"",
                escape(&outcome.step),
                outcome.time.as_secs_f64()
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
            time: Duration::from_secs(seconds),
        };
        Report { outcomes: vec![outcome("format", true, 2), outcome("test", false, 61)] }
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

    #[test]
    fn services_fold_and_annotate() {
        let report = report();
        assert_eq!(Service::GitHub.begin("test"), "::group::test\n");
        assert_eq!(Service::GitHub.end(&report.outcomes[0]), "::endgroup::\n");
        assert!(Service::GitHub.end(&report.outcomes[1]).contains("\n::error title=test::the step failed"));
        assert!(Service::GitLab.begin("test").contains(":test\r"));
        assert_eq!(Service::Other.begin("test") + &Service::Other.end(&report.outcomes[1]), "");
    }
}

//! Where progress is read: on a terminal, in a log, or on the page of a CI service, which folds and annotates.

use std::{
    io::IsTerminal,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use store::{Digest, printable, printable_lines};

/// The most lines of a log that are folded into a service's log; all of it stays in the store.
const FOLDED: usize = 500;

/// Where progress is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// What the environment says: a service by its variables, a terminal by standard error
    Auto,
    /// Bars that are drawn again and again
    Terminal,
    /// Lines with the time since the start, without control characters
    Plain,
    /// Logs of builds in groups, failures as annotations (GitHub Actions)
    Github,
    /// Logs of builds in sections (GitLab CI)
    Gitlab,
}

/// Work that failed.
pub struct Failure<'a> {
    /// What failed.
    pub title: &'a str,
    /// A file of the repository that may be why.
    pub file: Option<&'a str>,
    /// The reason.
    pub message: &'a str,
}

impl Place {
    /// The place itself, where it is `Auto`.
    pub fn found(self) -> Self {
        let value = |name: &str| std::env::var(name).unwrap_or_default();
        match self {
            Self::Auto if value("GITHUB_ACTIONS") == "true" => Self::Github,
            Self::Auto if value("GITLAB_CI") == "true" => Self::Gitlab,
            Self::Auto if std::io::stderr().is_terminal() && value("TERM") != "dumb" => Self::Terminal,
            Self::Auto => Self::Plain,
            place => place,
        }
    }

    /// What stands before something that is folded. This and all below is written as it is: what comes from elsewhere is made fit
    /// for it here.
    pub fn begin(self, title: &str, collapsed: bool) -> String {
        let shown = printable(title);
        match self {
            Self::Github => format!("::group::{shown}\n"),
            Self::Gitlab => format!(
                "\x1b[0Ksection_start:{}:{}{}\r\x1b[0K{shown}\n",
                seconds(),
                section(title),
                if collapsed { "[collapsed=true]" } else { "" }
            ),
            _ => String::new(),
        }
    }

    /// What stands after it.
    pub fn end(self, title: &str) -> String {
        match self {
            Self::Github => "::endgroup::\n".to_owned(),
            Self::Gitlab => format!("\x1b[0Ksection_end:{}:{}\r\x1b[0K", seconds(), section(title)),
            _ => String::new(),
        }
    }

    /// Text of builds and errors, with the line end that it may lack, so that the service carries out nothing that stands in it.
    pub fn quoted(self, text: &str) -> String {
        let text = printable_lines(text.trim_end_matches('\n'));
        match self {
            Self::Github => {
                // Nobody can write a text that has its own digest in it.
                let token = Digest::of(text.to_string().as_bytes()).hex();
                format!("::stop-commands::{token}\n{text}\n::{token}::\n")
            }
            _ => format!("{text}\n"),
        }
    }

    /// A mark on the page of the job.
    pub fn annotation(self, failure: &Failure) -> String {
        let Self::Github = self else { return String::new() };
        let value = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
        let file = failure.file.map_or(String::new(), |file| format!("file={},", value(file)));
        format!("::error {file}title={}::{}\n", value(failure.title), data(failure.message))
    }

    /// The log of something, folded. Nothing where nothing folds, or the log can't be read.
    pub fn folded_log(self, title: &str, log: &Path) -> String {
        let (Self::Github | Self::Gitlab) = self else { return String::new() };
        let Ok(bytes) = std::fs::read(log) else { return String::new() };
        let text = builder::decode_log(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let left_out = lines.len().saturating_sub(FOLDED);
        let mut shown = lines[left_out..].join("\n");
        if left_out > 0 {
            shown = format!("({left_out} lines before are in {})\n{shown}", log.display());
        }
        let title = format!("log of {title}");
        [self.begin(&title, true), self.quoted(&shown), self.end(&title)].concat()
    }
}

/// As a workflow command of GitHub takes it.
fn data(text: &str) -> String {
    printable_lines(text).to_string().replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What GitLab takes as the name of a section.
fn section(title: &str) -> String {
    title.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' }).collect()
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_fold() {
        assert_eq!(Place::Github.begin("test", false), "::group::test\n");
        assert_eq!(Place::Github.end("test"), "::endgroup::\n");
        let begin = Place::Gitlab.begin("log of a@b", true);
        assert!(
            begin.starts_with("\x1b[0Ksection_start:") && begin.contains(":log_of_a_b[collapsed=true]\r")
        );
        assert!(Place::Gitlab.end("log of a@b").ends_with(":log_of_a_b\r\x1b[0K"));
        for place in [Place::Plain, Place::Terminal] {
            assert_eq!(place.begin("test", true) + &place.end("test"), "");
        }
    }

    #[test]
    fn text_of_others_commands_no_service() {
        let text = "::error::x\n##[set-env]\u{1b}[0Ksection_end:1:a";
        let quoted = Place::Github.quoted(text);
        let lines: Vec<&str> = quoted.lines().collect();
        let token = lines[0].strip_prefix("::stop-commands::").unwrap();
        assert!(token.len() == 64 && lines[1] == "::error::x", "{quoted}");
        assert_eq!(lines.last().unwrap(), &format!("::{token}::"));
        assert!(!Place::Gitlab.quoted(text).contains('\u{1b}'));
    }

    #[test]
    fn an_annotation_is_one_line() {
        let failure =
            Failure { title: "a, b: c", file: Some("recipes/x/build.sh"), message: "100 %\nsecond" };
        assert_eq!(
            Place::Github.annotation(&failure),
            "::error file=recipes/x/build.sh,title=a%2C b%3A c::100 %25%0Asecond\n"
        );
        assert_eq!(Place::Plain.annotation(&failure), "");
    }

    #[test]
    fn a_long_log_is_folded_from_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let lines: Vec<String> = (0..FOLDED + 3).map(|line| format!("line {line}")).collect();
        std::fs::write(&log, lines.join("\n")).unwrap();
        let folded = Place::Github.folded_log("x", &log);
        assert!(folded.contains("(3 lines before are in ") && folded.contains("\nline 3\n"), "{folded}");
        assert!(!folded.contains("\nline 2\n"));
        assert_eq!(Place::Plain.folded_log("x", &log), "");
    }
}

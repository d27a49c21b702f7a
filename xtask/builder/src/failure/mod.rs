//! What a failed build means: the end of its log, and the known causes.

mod text;

use anyhow::{Context, Result};
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::LazyLock};
pub use text::decode;

/// How many lines of a log an error shows.
const LINES: usize = 30;

/// A message that reports an error, whatever it is: a warning before it may be its cause.
const ERROR: &str = r"(?:^|[\s:>\[])(?i:fatal error|error|failed|fatal|failure)(?:\[E\d+\]|\s(?:\w+\d+|at|in)\b[^:]*)?[:!(]|^FAILED|(?i:^\*+ .*failed)|BUILD FAILED";

/// A message that a tool calls a warning.
const WARNING: &str = "(?i)^(?:[^\"'`]*: )?warning: ";

/// The table of failures.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failures {
    /// Lists of words, each an alternation: `{{NAME}}` in a message stands for one of them.
    names: BTreeMap<String, String>,
    /// By tool: the regular expression of what it prints before a message.
    tools: BTreeMap<String, String>,
    /// The same for warnings, which explain a failure only when an error follows.
    warnings: BTreeMap<String, String>,
    failure: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    /// What it is called in `--json`.
    name: String,
    /// What happened.
    means: String,
    /// What to do in a build of this project.
    here: String,
    /// What to do in another build.
    elsewhere: String,
    /// By tool: what its message begins with, behind the tool's prefix.
    #[serde(flatten)]
    says: BTreeMap<String, Vec<String>>,
}

/// A known cause of a failure, and where a log shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The name of the failure in failures.toml.
    pub failure: String,
    /// The number of the first line that shows it, from 1.
    pub line: usize,
    /// That line.
    pub text: String,
    /// What happened, and what to do with and without this project.
    pub explanation: String,
}

/// All patterns of the table, ready to be matched at once.
struct Matcher {
    error: Regex,
    warning: Regex,
    patterns: RegexSet,
    /// For each pattern its failure, and whether it stands in a warning.
    owners: Vec<(usize, bool)>,
    failures: Vec<Failure>,
}

impl Matcher {
    fn new() -> Result<Self> {
        let Failures { names, tools, warnings, failure: failures } =
            toml::from_str(include_str!("failures.toml")).context("failures.toml")?;
        let (mut patterns, mut owners) = (Vec::new(), Vec::new());
        for (index, failure) in failures.iter().enumerate() {
            for (tool, messages) in &failure.says {
                let (prefix, warning) = match (tools.get(tool), warnings.get(tool)) {
                    (Some(prefix), _) => (prefix, false),
                    (None, Some(prefix)) => (prefix, true),
                    (None, None) => {
                        anyhow::bail!("failures.toml: `{}` names the unknown tool `{tool}`", failure.name)
                    }
                };
                for message in messages {
                    let message = names.iter().fold(message.clone(), |message, (name, words)| {
                        message.replace(&format!("{{{{{name}}}}}"), &format!("(?:{words})"))
                    });
                    patterns.push(format!("^(?:{prefix})(?:{message})"));
                    owners.push((index, warning));
                }
            }
        }
        let single = |pattern| RegexBuilder::new(pattern).unicode(false).build();
        let (error, warning) = (single(ERROR)?, single(WARNING)?);
        // Classes of ASCII: those of Unicode would make the set a hundred times as large.
        let patterns = RegexSetBuilder::new(&patterns)
            .unicode(false)
            .size_limit(64 << 20)
            .dfa_size_limit(64 << 20)
            .build()
            .context("failures.toml")?;
        Ok(Self { error, warning, patterns, owners, failures })
    }

    /// The failure that a message shows, and whether a warning says so.
    fn find(&self, text: &str) -> Option<(usize, bool)> {
        let is_warning = self.warning.is_match(text.as_bytes());
        let matches = self.patterns.matches(text.as_bytes());
        matches.into_iter().map(|pattern| self.owners[pattern]).filter(|owner| owner.1 || !is_warning).min()
    }
}

/// The known causes that the log of a build shows, ours or another, in the order of its lines; each failure once.
///
/// # Errors
/// If failures.toml, which is part of the program, is not a valid table.
pub fn explain_log(log: &[u8]) -> Result<Vec<Cause>> {
    let log = decode(log);
    let messages = text::messages(&log);
    static MATCHER: LazyLock<Result<Matcher>> = LazyLock::new(Matcher::new);
    let matcher = MATCHER.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let last_error = messages.iter().rposition(|message| matcher.error.is_match(message.text.as_bytes()));
    let mut causes: Vec<Cause> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let Some((found, warning)) = matcher.find(&message.text) else { continue };
        let failure = &matcher.failures[found];
        if (warning && last_error.is_none_or(|last| last <= index))
            || causes.iter().any(|cause| cause.failure == failure.name)
        {
            continue;
        }
        causes.push(Cause {
            failure: failure.name.clone(),
            line: message.line,
            text: message.first.to_owned(),
            explanation: format!(
                "{}. Here: {}. In another build: {}",
                failure.means, failure.here, failure.elsewhere
            ),
        });
    }
    Ok(causes)
}

/// The last lines of a log, each behind `  | `.
pub fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| format!("  | {line}\n")).collect()
}

#[cfg(test)]
mod tests;

//! Tells what an action says from what Nix says around it.

use anyhow::{Context, Result};
use std::io::Read;

/// How the action went, as far as was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nix never came to it.
    Nothing,
    /// bubblewrap could not begin.
    NotBegun,
    /// It ended with this status.
    Ended(i32),
}

/// Reads Nix's stderr line by line. The action's own lines stand between two marks. The second is not known inside, so that
/// no action can say it.
pub(super) struct Follower {
    run: String,
    line: Vec<u8>,
    words: Vec<u8>,
    state: State,
}

enum State {
    Before,
    /// Whether a line was passed on whose end is still owed: the one before the second mark is ours.
    Inside {
        owed: bool,
    },
    After {
        status: i32,
        begun: bool,
    },
}

/// Said inside, before the action begins.
pub(super) const BEGIN: &str = "mlc-repro-begin";

/// How much of Nix's words is kept, in bytes.
const WORDS: usize = 1 << 14;

impl Follower {
    pub(super) fn new() -> Result<Self> {
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .context("cannot read /dev/urandom")?;
        let run = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { run, line: Vec::new(), words: Vec::new(), state: State::Before })
    }

    /// Tells this run from every other.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn end_mark(&self) -> String {
        format!("mlc-repro-end-{}", self.run)
    }

    pub(super) fn hear(&mut self, bytes: &[u8], output: &mut dyn FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.split_last() {
                Some((b'\n', rest)) => {
                    self.line.extend_from_slice(rest);
                    let line = std::mem::take(&mut self.line);
                    self.whole_line(&line, output);
                }
                _ => self.line.extend_from_slice(piece),
            }
        }
    }

    fn whole_line(&mut self, line: &[u8], output: &mut dyn FnMut(&[u8])) {
        let end = self.end_mark();
        let status =
            std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix(&end)?.trim().parse().ok());
        match (&mut self.state, status) {
            (State::Before, Some(status)) => self.state = State::After { status, begun: false },
            (State::Inside { .. }, Some(status)) => self.state = State::After { status, begun: true },
            (State::Before, None) if line == BEGIN.as_bytes() => {
                self.state = State::Inside { owed: false };
            }
            (State::Inside { owed }, None) => {
                if std::mem::replace(owed, true) {
                    output(b"\n");
                }
                if !line.is_empty() {
                    output(line);
                }
            }
            (State::Before | State::After { .. }, _) => {
                if self.words.len() < WORDS {
                    self.words.extend_from_slice(line);
                    self.words.push(b'\n');
                }
            }
        }
    }

    /// What Nix or bubblewrap said.
    pub(super) fn words(&self) -> String {
        let text = [self.words.as_slice(), &self.line].concat();
        let text = plain(&String::from_utf8_lossy(&text));
        // Said of every build.
        let is_usual = |line: &&str| {
            let line = line.trim();
            !(line.is_empty()
                || line.starts_with("this derivation will be built")
                || line.starts_with("building '/nix/store/")
                || line.starts_with("/nix/store/"))
        };
        text.lines().filter(is_usual).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn end(&self) -> Heard {
        match self.state {
            State::Before | State::Inside { .. } => Heard::Nothing,
            State::After { begun: false, .. } => Heard::NotBegun,
            State::After { status, .. } => Heard::Ended(status),
        }
    }
}

/// Without the colours (ECMA-48) that Nix's children send even where there is no terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain += part.split_once('m').map_or(part, |(_, rest)| rest);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> (String, Heard, String) {
        let mut follower = Follower::new().unwrap();
        let text = text.replace("BEGIN", BEGIN).replace("END", &follower.end_mark());
        let mut output = Vec::new();
        for piece in text.as_bytes().chunks(3) {
            follower.hear(piece, &mut |bytes| output.extend_from_slice(bytes));
        }
        (String::from_utf8(output).unwrap(), follower.end(), follower.words())
    }

    #[test]
    fn the_actions_words_stand_between_the_marks() {
        let around = |inside: &str| format!("building '/nix/store/x'...\nBEGIN\n{inside}\nEND 3\nafter\n");
        for said in ["", "one", "one\n", "\n", "one\n\ntwo\n", "mlc-repro-end-0 7\n"] {
            assert_eq!(
                heard(&around(said)),
                (said.to_owned(), Heard::Ended(3), "after".to_owned()),
                "{said:?}"
            );
        }
    }

    #[test]
    fn what_never_began_is_told() {
        assert_eq!(heard("error: no\n"), (String::new(), Heard::Nothing, "error: no".to_owned()));
        assert_eq!(heard("bwrap: no\n\nEND 1\n"), (String::new(), Heard::NotBegun, "bwrap: no".to_owned()));
        assert_eq!(heard("BEGIN\nhalf\n").1, Heard::Nothing);
        assert_eq!(heard("\x1b[31;1merror:\x1b[0m no\n").2, "error: no");
    }
}

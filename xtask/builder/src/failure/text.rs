//! From the bytes of a log to the messages in it: other encodings, colours and the prefixes of log collectors are taken off,
//! and what a tool wraps over several lines is one message again.

use regex::Regex;
use std::{borrow::Cow, sync::LazyLock};

/// A message of a tool, and where it begins.
pub struct Message<'a> {
    /// Number of its first line, from 1.
    pub line: usize,
    /// That line, without colours.
    pub first: &'a str,
    /// All of it on one line, without what a log collector puts before it.
    pub text: String,
}

/// Decodes a log: by its byte order mark (if a mark of UTF-16 is followed by any zero byte, as text is), else UTF-16 where every second byte is zero (as PowerShell's redirection writes
/// it), else UTF-8, with a replacement for what is not. Sequences for terminals are dropped.
pub fn decode(bytes: &[u8]) -> String {
    let little = |bytes: [u8; 2]| u16::from_le_bytes(bytes);
    let big = |bytes: [u8; 2]| u16::from_be_bytes(bytes);
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] if rest.contains(&0) => utf16(rest, little),
        [0xfe, 0xff, rest @ ..] if rest.contains(&0) => utf16(rest, big),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ if mostly_zero(bytes, 1) => utf16(bytes, little),
        _ if mostly_zero(bytes, 0) => utf16(bytes, big),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    match TERMINAL.replace_all(&text, "") {
        Cow::Borrowed(_) => text,
        Cow::Owned(plain) => plain,
    }
}

/// Control sequences (ECMA-48) and operating system commands, such as colours and titles.
static TERMINAL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"));

/// What log collectors put before a line: times, GitHub's and Docker's marks, MSBuild's node, Android's log.
static COLLECTOR: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:\u{feff}|\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?\s+|\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?\s+",
        r"|\d\d-\d\d \d\d:\d\d:\d\d\.\d+\s+\d+\s+\d+ |[VDIWEF][ /]\w+\s*(?:\(\s*\d+\))?: ",
        r"|#\d+ \d+\.\d+ |##\[error\]|::error[^:]*::|\d+>)",
    ))
});

/// The first line of a message of CMake, whose other lines are indented.
static CMAKE: LazyLock<Regex> = LazyLock::new(|| pattern(r"^CMake (?:\w+ )*(?:Error|Warning)\b"));

fn pattern(text: &str) -> Regex {
    // The patterns are constants, and every test of this module compiles them.
    #[allow(clippy::expect_used)]
    Regex::new(text).expect("a constant pattern")
}

fn mostly_zero(bytes: &[u8], parity: usize) -> bool {
    let zeros = bytes.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    zeros > 0 && zeros * 4 > bytes.len()
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The messages of a log, in its order.
pub fn messages(log: &str) -> Vec<Message<'_>> {
    let mut messages: Vec<Message> = Vec::new();
    // How far the message that is being read is indented, and whether it is one of CMake.
    let mut open: Option<(usize, bool)> = None;
    for (index, first) in log.lines().enumerate() {
        // A progress line is written over what stands before it.
        for part in first.split('\r') {
            let text = plain(part);
            let indent = text.len() - text.trim_start().len();
            let text = text.trim();
            let continues = match open {
                Some((_, false)) => text.starts_with(">>>"),
                Some((start, true)) => text.is_empty() || indent >= start + 2,
                None => false,
            };
            if let (true, Some(last)) = (continues, messages.last_mut()) {
                if !text.is_empty() {
                    last.text.push(' ');
                    last.text.push_str(text);
                }
                continue;
            }
            open = Some((indent, CMAKE.is_match(text)));
            messages.push(Message { line: index + 1, first: part, text: text.to_owned() });
        }
    }
    messages
}

/// A line without what collectors put before it.
fn plain(mut line: &str) -> &str {
    while let Some(found) = COLLECTOR.find(line) {
        line = &line[found.end()..];
    }
    line
}

//! Hunks of a unified diff against the text that they are for.
//!
//! A build takes a hunk only where it says that it stands. `cargo xtask patch refresh` looks for it elsewhere.

use anyhow::{Result, bail, ensure};
use diffy::{Hunk, Line, Patch};

/// How many lines of context at either end of a hunk may have changed for it to be found all the same, as in `patch(1)`.
const FUZZ: usize = 2;

/// A hunk that was found, written for the place where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The text of the hunk, from `@@` on.
    pub text: String,
    /// What is different now, for whoever has to look at it; nothing when it stands where it said.
    pub change: Option<String>,
}

/// Applies hunks where they say that they stand, without fuzz. Errors name every hunk that does not fit.
pub fn apply(old: &str, patch: &Patch<'_, str>) -> Result<String> {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let (mut new, mut done) = (String::new(), 0);
    let mut problems = Vec::new();
    for (index, hunk) in patch.hunks().iter().enumerate() {
        let expected = expected(hunk);
        let at = stated(hunk);
        if at < done || !fits(&old, &expected, at) {
            problems.push(format!("hunk {}: {}", index + 1, misfit(&old, hunk, done)));
            continue;
        }
        new.extend(old[done..at].iter().copied());
        new.extend(result(hunk.lines()));
        done = at + expected.len();
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n  "));
    new.extend(old[done..].iter().copied());
    Ok(new)
}

/// Applies hunks where they are found, and writes each anew for that place. Errors: one is found nowhere, or at more than
/// one place.
pub fn renew(old: &str, patch: &Patch<'_, str>) -> Result<(String, Vec<Renewed>)> {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let (mut new, mut done) = (String::new(), 0);
    let mut new_line = 0;
    let mut renewed = Vec::new();
    for (index, hunk) in patch.hunks().iter().enumerate() {
        let found =
            locate(&old, hunk, done).map_err(|problem| problem.context(format!("hunk {}", index + 1)))?;
        new.extend(old[done..found.at].iter().copied());
        new_line += found.at - done;
        let text = write(hunk, &found, new_line);
        new.extend(result(&found.lines));
        new_line += result(&found.lines).count();
        done = found.at + found.length;
        let change = match (found.fuzz, found.at == stated(hunk)) {
            (0, true) => None,
            (0, false) => Some(format!("line {} is line {} now", stated(hunk) + 1, found.at + 1)),
            _ => Some(format!("line {}: context was renewed, look at it", found.at + 1)),
        };
        renewed.push(Renewed { text, change });
    }
    new.extend(old[done..].iter().copied());
    Ok((new, renewed))
}

/// A hunk at its place in a text.
struct Found<'a> {
    /// The first line, from 0.
    at: usize,
    /// How many lines of the text it covers.
    length: usize,
    /// How many lines of context had to be left out.
    fuzz: usize,
    /// Its lines, with the context that is there now.
    lines: Vec<Line<'a, str>>,
}

fn locate<'a>(old: &[&'a str], hunk: &Hunk<'a, str>, from: usize) -> Result<Found<'a>> {
    let is_context = |line: &&Line<str>| matches!(line, Line::Context(_));
    let before = hunk.lines().iter().take_while(is_context).count();
    let after = hunk.lines().iter().rev().take_while(is_context).count();
    let expected = expected(hunk);
    let at = stated(hunk);
    if at >= from && fits(old, &expected, at) {
        return Ok(Found { at, length: expected.len(), fuzz: 0, lines: hunk.lines().to_vec() });
    }
    for fuzz in 0..=FUZZ {
        let (head, tail) = (fuzz.min(before), fuzz.min(after));
        if fuzz > 0 && head < fuzz && tail < fuzz || head + tail >= expected.len() {
            break;
        }
        let core = &expected[head..expected.len() - tail];
        let is_place = |at: &usize| fits(old, core, *at + head) && at + expected.len() <= old.len();
        let places: Vec<usize> = (from..old.len()).filter(is_place).collect();
        match places.as_slice() {
            [] => {}
            [at] => {
                let mut lines = hunk.lines().to_vec();
                let count = lines.len();
                for (line, there) in lines[..head].iter_mut().zip(&old[*at..]) {
                    *line = Line::Context(there);
                }
                let end = at + expected.len();
                for (line, there) in lines[count - tail..].iter_mut().zip(&old[end - tail..end]) {
                    *line = Line::Context(there);
                }
                return Ok(Found { at: *at, length: expected.len(), fuzz, lines });
            }
            several => {
                let places: Vec<_> = several.iter().take(5).map(|at| (at + 1).to_string()).collect();
                bail!("it fits at lines {}: make it anew by hand, with more context", places.join(", "));
            }
        }
    }
    bail!("{}", misfit(old, hunk, from))
}

/// The lines that a hunk finds.
fn expected<'a>(hunk: &Hunk<'a, str>) -> Vec<&'a str> {
    hunk.lines()
        .iter()
        .filter_map(|line| match line {
            Line::Context(text) | Line::Delete(text) => Some(*text),
            Line::Insert(_) => None,
        })
        .collect()
}

/// The lines that a hunk leaves.
fn result<'a>(lines: &[Line<'a, str>]) -> impl Iterator<Item = &'a str> {
    lines.iter().filter_map(|line| match line {
        Line::Context(text) | Line::Insert(text) => Some(*text),
        Line::Delete(_) => None,
    })
}

/// The line that a hunk says it starts at, from 0. Of one that finds nothing, it is the line after which it stands.
fn stated(hunk: &Hunk<'_, str>) -> usize {
    let range = hunk.old_range();
    range.start().saturating_sub(usize::from(!range.is_empty()))
}

fn fits(old: &[&str], expected: &[&str], at: usize) -> bool {
    old.get(at..at + expected.len()).is_some_and(|there| there == expected)
}

/// Says where a hunk stops to fit, and where it would.
fn misfit(old: &[&str], hunk: &Hunk<'_, str>, from: usize) -> String {
    let expected = expected(hunk);
    let at = stated(hunk);
    if let Some(place) = (from..old.len()).find(|place| fits(old, &expected, *place))
        && !expected.is_empty()
    {
        return format!("it says line {}, and fits at line {}", at + 1, place + 1);
    }
    let differs = |offset: &usize| old.get(at + offset).copied() != Some(expected[*offset]);
    let Some(offset) = (0..expected.len()).find(differs) else {
        return format!("at line {} it overlaps the one before it, or the file ends there", at + 1);
    };
    let shown = |text: &str| text.trim_end_matches(['\r', '\n']).escape_debug().to_string();
    match old.get(at + offset) {
        Some(there) => format!(
            "line {} is `{}`, and the patch expects `{}`",
            at + offset + 1,
            shown(there),
            shown(expected[offset])
        ),
        None => format!(
            "the file ends after {} lines, and the patch expects `{}` at line {}",
            old.len(),
            shown(expected[offset]),
            at + offset + 1
        ),
    }
}

/// Writes a hunk as `diff -u` and Git do. `new_line` is the line that its result starts at, from 0.
fn write(hunk: &Hunk<'_, str>, found: &Found<'_>, new_line: usize) -> String {
    let range = |start: usize, count: usize| match count {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        _ => format!("{},{count}", start + 1),
    };
    let function = hunk.function_context().map(|text| format!(" {}", text.trim_end())).unwrap_or_default();
    let mut text = format!(
        "@@ -{} +{} @@{function}\n",
        range(found.at, found.length),
        range(new_line, result(&found.lines).count())
    );
    for line in &found.lines {
        let (sign, line) = match line {
            Line::Context(line) => (' ', line),
            Line::Delete(line) => ('-', line),
            Line::Insert(line) => ('+', line),
        };
        text.push(sign);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str =
        "--- a/x\n+++ b/x\n@@ -2,3 +2,4 @@ section\n b\n-c\n+C\n+CC\n d\n@@ -6 +7 @@\n-f\n+F\n";

    fn parse(text: &str) -> Patch<'_, str> {
        Patch::from_str(text).unwrap()
    }

    fn renewed(old: &str) -> Result<(String, String)> {
        let (new, hunks) = renew(old, &parse(PATCH))?;
        let patch =
            format!("--- a/x\n+++ b/x\n{}", hunks.into_iter().map(|hunk| hunk.text).collect::<String>());
        assert_eq!(apply(old, &parse(&patch))?, new, "what is written applies strictly");
        Ok((new, patch))
    }

    #[test]
    fn a_hunk_applies_where_it_stands_and_nowhere_else() {
        assert_eq!(apply("a\nb\nc\nd\ne\nf\n", &parse(PATCH)).unwrap(), "a\nb\nC\nCC\nd\ne\nF\n");
        for (old, expected) in [
            (
                "b\nc\nd\ne\nf\n",
                "hunk 1: it says line 2, and fits at line 1\n  hunk 2: it says line 6, and fits at line 5",
            ),
            ("a\nb\nx\nd\ne\nf\n", "hunk 1: line 3 is `x`, and the patch expects `c`"),
            ("a\nb\nc\nd\ne\nf", "hunk 2: line 6 is `f`, and the patch expects `f`"),
            ("a\nb\nc\nd\n", "hunk 2: the file ends after 4 lines, and the patch expects `f` at line 6"),
        ] {
            assert_eq!(apply(old, &parse(PATCH)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn moved_hunks_get_new_numbers() {
        let (new, patch) = renewed("0\n0\na\nb\nc\nd\ne\nx\nf\n").unwrap();
        assert_eq!(new, "0\n0\na\nb\nC\nCC\nd\ne\nx\nF\n");
        assert_eq!(patch, PATCH.replace("-2,3 +2,4", "-4,3 +4,4").replace("-6 +7", "-9 +10"));
        assert_eq!(renewed("a\nb\nc\nd\ne\nf\n").unwrap().1, PATCH, "one that fits stays as it is");
    }

    #[test]
    fn changed_context_is_renewed_where_there_is_one_place_only() {
        let old = "a\nB\nc\nd\ne\nf\n";
        let (new, hunks) = renew(old, &parse(PATCH)).unwrap();
        assert_eq!(new, "a\nB\nC\nCC\nd\ne\nF\n");
        assert_eq!(hunks[0].text, "@@ -2,3 +2,4 @@ section\n B\n-c\n+C\n+CC\n d\n");
        assert_eq!(hunks[0].change.as_deref(), Some("line 2: context was renewed, look at it"));
        for (old, expected) in
            [("b\nc\nd\nb\nc\nd\nf\n", "it fits at lines 1, 4"), ("nothing of it\n", "the patch expects `b`")]
        {
            let error = format!("{:#}", renewed(old).unwrap_err());
            assert!(error.starts_with("hunk 1: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_last_line_without_its_end_stays_so() {
        let patch = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-f\n\\ No newline at end of file\n+F\n\\ No newline at end of file\n";
        let (new, hunks) = renew("0\nf", &parse(patch)).unwrap();
        assert_eq!(new, "0\nF");
        let (_, expected) = patch.split_once("+++ b/x\n").unwrap();
        assert_eq!(hunks[0].text, expected.replace("-1 +1", "-2 +2"));
    }
}

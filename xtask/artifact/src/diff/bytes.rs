//! Runs of bytes that differ, with the nearest symbol, and what they look like.

use super::{
    Change, Comparison,
    cause::{Cause, is_reordered, is_time, of_texts},
    fact::shown,
};
use std::borrow::Cow;

/// Runs that are shown of one file or section.
const SHOWN: usize = 3;

/// Bytes that are shown of a run.
const WIDTH: usize = 16;

/// Equal bytes that do not end a run.
const GAP: usize = 8;

/// How far a text reaches around a difference, in bytes.
const AROUND: usize = 256;

/// Longer data is not searched for another order, in bytes.
const LONGEST: usize = 32 << 20;

/// Symbols by their offset in the first side's file, sorted.
pub type Symbols<'a> = [(u64, Cow<'a, [u8]>)];

/// Adds the runs in which two pieces of data differ. `start` is the offset of the first side's piece in its file.
pub fn compare(comparison: &mut Comparison, expected: &[u8], found: &[u8], start: u64, symbols: &Symbols) {
    compare_in(comparison, "bytes", (expected, found), start, symbols);
}

/// The same for a part of a file, such as a section, that is named.
pub fn compare_in(
    comparison: &mut Comparison,
    place: &str,
    (expected, found): (&[u8], &[u8]),
    start: u64,
    symbols: &Symbols,
) {
    let cause = whole(expected, found);
    let (runs, count) = runs(expected, found);
    for run in &runs {
        let offset = start + run.start as u64;
        comparison.add(Change {
            place: place.to_owned(),
            what: format!("{} bytes", run.len()),
            expected: Some(hexadecimal(expected, run.start)),
            found: Some(hexadecimal(found, run.start)),
            offset: Some(offset),
            symbol: nearest(symbols, offset),
            cause: cause.or_else(|| around(expected, found, run)),
        });
    }
    if count > runs.len() {
        comparison.left_out += count - runs.len();
    }
    if expected.len() != found.len() {
        comparison.add(Change {
            place: place.to_owned(),
            what: "size".to_owned(),
            expected: Some(format!("{} bytes", expected.len())),
            found: Some(format!("{} bytes", found.len())),
            offset: None,
            symbol: None,
            cause: None,
        });
    }
}

/// The first runs that differ, and how many there are in all. Where one side is longer, the end is a run of its own.
fn runs(expected: &[u8], found: &[u8]) -> (Vec<std::ops::Range<usize>>, usize) {
    let common = expected.len().min(found.len());
    let (mut runs, mut count) = (Vec::new(), 0);
    let mut run: Option<std::ops::Range<usize>> = None;
    let mut end = |run: std::ops::Range<usize>| {
        count += 1;
        if runs.len() < SHOWN {
            runs.push(run);
        }
    };
    // Blocks that are equal are passed at the speed of memory.
    const BLOCK: usize = 4096;
    let mut at = 0;
    while at < common {
        let block = (at + BLOCK).min(common);
        if expected[at..block] == found[at..block] {
            at = block;
            continue;
        }
        for index in at..block {
            if expected[index] == found[index] {
                continue;
            }
            run = match run.take() {
                Some(run) if index <= run.end + GAP => Some(run.start..index + 1),
                other => {
                    other.into_iter().for_each(&mut end);
                    Some(index..index + 1)
                }
            };
        }
        at = block;
    }
    run.into_iter().for_each(&mut end);
    if runs.is_empty() && expected.len() != found.len() {
        runs.push(common..expected.len().max(found.len()));
        count = 1;
    }
    (runs, count)
}

fn hexadecimal(bytes: &[u8], start: usize) -> String {
    match bytes.get(start..) {
        Some(rest) if !rest.is_empty() => {
            let hex: Vec<_> = rest.iter().take(WIDTH).map(|byte| format!("{byte:02x}")).collect();
            let text: String = rest
                .iter()
                .take(WIDTH)
                .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
                .collect();
            format!("{}  |{text}|", hex.join(" "))
        }
        _ => "(end)".to_owned(),
    }
}

fn nearest(symbols: &Symbols, offset: u64) -> Option<String> {
    /// Further away, it is another function without a name.
    const FAR: u64 = 1 << 20;
    let index = symbols.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
    let (start, name) = &symbols[index];
    let name = shown(&String::from_utf8_lossy(name));
    match offset - start {
        0 => Some(name),
        distance if distance < FAR => Some(format!("{name}+{distance:#x}")),
        _ => None,
    }
}

/// What all of the data says: records or strings in another order.
fn whole(expected: &[u8], found: &[u8]) -> Option<Cause> {
    if expected.len() != found.len() || expected.len() > LONGEST {
        return None;
    }
    let strings = is_reordered(expected.split(|byte| *byte == 0), found.split(|byte| *byte == 0));
    let records = |size: usize| {
        expected.len().is_multiple_of(size)
            && expected.len() >= 2 * size
            && is_reordered(expected.chunks_exact(size), found.chunks_exact(size))
    };
    (strings || [24, 16, 8].into_iter().any(records)).then_some(Cause::Order)
}

/// What a run and the bytes around it look like.
fn around(expected: &[u8], found: &[u8], run: &std::ops::Range<usize>) -> Option<Cause> {
    number(expected, found, run).or_else(|| {
        let (left, right) = (narrow(expected, run.start), narrow(found, run.start));
        let cause = || of_texts(&left?, &right?);
        cause().or_else(|| of_texts(&wide(expected, run.start)?, &wide(found, run.start)?))
    })
}

/// A time in seconds, of four bytes, that both sides have and nothing else differs in.
fn number(expected: &[u8], found: &[u8], run: &std::ops::Range<usize>) -> Option<Cause> {
    if run.len() > 4 {
        return None;
    }
    let starts = run.end.saturating_sub(4)..=run.start;
    let at = |bytes: &[u8], start: usize| -> Option<u32> {
        Some(u32::from_le_bytes(bytes.get(start..start + 4)?.try_into().ok()?))
    };
    // A time stands where it is aligned. Four letters are a number in this range too.
    let is_number = |time: Option<u32>| {
        time.is_some_and(|time| is_time(time.into()) && !time.to_le_bytes().iter().all(u8::is_ascii_graphic))
    };
    let is_both = |start: usize| {
        start.is_multiple_of(4) && is_number(at(expected, start)) && is_number(at(found, start))
    };
    starts.into_iter().any(is_both).then_some(Cause::TimeStamp)
}

/// The printable text around an offset.
fn narrow(bytes: &[u8], offset: usize) -> Option<String> {
    let is_text = |byte: &&u8| byte.is_ascii_graphic() || matches!(**byte, b' ' | b'\t' | b'\n' | b'\r');
    let before = bytes.get(..offset)?.iter().rev().take(AROUND).take_while(is_text).count();
    let behind = bytes.get(offset..)?.iter().take(AROUND).take_while(is_text).count();
    (before + behind >= 4)
        .then(|| String::from_utf8_lossy(&bytes[offset - before..offset + behind]).into_owned())
}

/// The same in UTF-16, as Windows writes it.
fn wide(bytes: &[u8], offset: usize) -> Option<String> {
    let start = offset - offset % 2;
    let is_text = |pair: &&[u8]| pair[1] == 0 && (pair[0].is_ascii_graphic() || pair[0] == b' ');
    let before = bytes.get(..start)?.rchunks_exact(2).take(AROUND).take_while(is_text).count();
    let behind = bytes.get(start..)?.chunks_exact(2).take(AROUND).take_while(is_text).count();
    let text = bytes[start - 2 * before..start + 2 * behind].chunks_exact(2).map(|pair| char::from(pair[0]));
    (before + behind >= 4).then(|| text.collect())
}

//! Texts, by line.

use super::{
    Change, Comparison,
    cause::{Cause, is_reordered, of_texts},
    fact::shown,
};

/// Lines that are shown.
const SHOWN: usize = 10;

/// Compares two texts. What comes before the first line and behind the last line that differ is left out.
pub fn compare(comparison: &mut Comparison, expected: &[u8], found: &[u8]) {
    let lines = |bytes: &'_ [u8]| bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (left, right) = (lines(expected), lines(found));
    let without = |lines: &[Vec<u8>]| {
        lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect::<Vec<_>>()
    };
    let cause = match () {
        () if without(&left) == without(&right) => Some(Cause::LineEnds),
        () if is_reordered(left.iter(), right.iter()) => Some(Cause::Order),
        () => None,
    };
    let start = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let behind =
        left[start..].iter().rev().zip(right[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[start..left.len() - behind], &right[start..right.len() - behind]);
    let mut count = 0;
    for index in 0..left.len().max(right.len()) {
        let (a, b) = (left.get(index), right.get(index));
        if a == b {
            continue;
        }
        count += 1;
        if count > SHOWN {
            comparison.left_out += 1;
            continue;
        }
        let text = |line: Option<&Vec<u8>>| line.map(|line| String::from_utf8_lossy(line).into_owned());
        let (a, b) = (text(a), text(b));
        let cause = cause.or_else(|| of_texts(a.as_ref()?, b.as_ref()?));
        comparison.add(Change {
            place: "lines".to_owned(),
            what: format!("line {}", start + index + 1),
            expected: a.as_deref().map(shown),
            found: b.as_deref().map(shown),
            cause,
            ..Change::default()
        });
    }
}

/// Seconds since 1970 as a date and time in UTC (the civil calendar's days from Howard Hinnant's algorithm).
pub fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_764_237_661, "2025-11-27 10:01:01 UTC"),
        ] {
            assert_eq!(super::time(seconds), expected);
        }
    }
}

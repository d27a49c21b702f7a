//! What can be said of a file, as named values: two lists of them are compared in one way, whatever the format is.

use super::{
    Change, Comparison,
    cause::{Cause, is_reordered, of_texts},
};
use std::collections::BTreeMap;

/// Bytes of names and values that are kept of one file.
const MOST_BYTES: usize = 64 << 20;

/// The place of what stands beside a member of an archive.
pub const MEMBER_HEADERS: &str = "member headers";

/// A value at a name.
#[derive(Debug)]
struct Fact {
    place: &'static str,
    what: String,
    value: String,
    /// What it is when this differs, whatever the values look like.
    cause: Option<Cause>,
}

/// Facts of one side, in their order.
#[derive(Debug, Default)]
pub struct Facts {
    list: Vec<Fact>,
    bytes: usize,
    /// Whether there were more than are kept.
    is_cut: bool,
}

impl Facts {
    /// Adds one.
    pub fn add(&mut self, place: &'static str, what: impl Into<String>, value: impl ToString) {
        self.push(place, what.into(), value.to_string(), None);
    }

    /// Adds one whose difference has a known cause.
    pub fn add_with(
        &mut self,
        cause: Cause,
        place: &'static str,
        what: impl Into<String>,
        value: impl ToString,
    ) {
        self.push(place, what.into(), value.to_string(), Some(cause));
    }

    /// Adds a name that is there or not.
    pub fn name(&mut self, place: &'static str, name: &[u8]) {
        self.push(place, String::from_utf8_lossy(name).into_owned(), String::new(), None);
    }

    fn push(&mut self, place: &'static str, what: String, value: String, cause: Option<Cause>) {
        // What it costs beside its bytes counts too: a hostile table has millions of empty names.
        self.bytes = self.bytes.saturating_add(what.len() + value.len() + size_of::<Fact>());
        match self.bytes <= MOST_BYTES {
            true => self.list.push(Fact { place, what, value, cause }),
            false => self.is_cut = true,
        }
    }
}

/// Facts by place and name; of equal ones by their number.
type Index<'a> = BTreeMap<(&'a str, &'a str, usize), &'a Fact>;

fn index(facts: &Facts) -> Index<'_> {
    let mut index = Index::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for fact in &facts.list {
        let count = counts.entry((fact.place, fact.what.as_str())).or_default();
        index.insert((fact.place, fact.what.as_str(), *count), fact);
        *count += 1;
    }
    index
}

/// Adds what differs to a comparison.
pub fn compare(comparison: &mut Comparison, expected: &Facts, found: &Facts) {
    let (left, right) = (index(expected), index(found));
    // In the order of the files, not of names.
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let lists =
        expected.list.iter().map(|fact| (fact, true)).chain(found.list.iter().map(|fact| (fact, false)));
    let mut is_left = true;
    for (fact, from_left) in lists {
        if is_left && !from_left {
            is_left = false;
            seen.clear();
        }
        let count = seen.entry((fact.place, fact.what.as_str())).or_default();
        let key = (fact.place, fact.what.as_str(), *count);
        *count += 1;
        let (a, b) = (left.get(&key), right.get(&key));
        let is_told = !from_left && a.is_some();
        let is_equal = matches!((a, b), (Some(a), Some(b)) if a.value == b.value);
        if is_told || is_equal {
            continue;
        }
        // Of a member that one side lacks, its headers say nothing more.
        if fact.place == MEMBER_HEADERS && (a.is_none() || b.is_none()) {
            continue;
        }
        let value = |fact: Option<&&Fact>| {
            fact.map(|fact| if fact.value.is_empty() { "(there)".to_owned() } else { shown(&fact.value) })
        };
        let cause = a.zip(b).and_then(|(a, b)| fact.cause.or_else(|| of_texts(&a.value, &b.value)));
        comparison.add(Change {
            place: fact.place.to_owned(),
            what: shown(&fact.what),
            expected: value(a),
            found: value(b),
            cause,
            ..Change::default()
        });
    }
    orders(comparison, expected, found);
    if expected.is_cut || found.is_cut {
        comparison.notes.push("its tables are longer than is compared".to_owned());
    }
}

/// The same names in another order.
fn orders(comparison: &mut Comparison, expected: &Facts, found: &Facts) {
    let names = |facts: &'_ Facts| {
        let mut places: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for fact in &facts.list {
            places.entry(fact.place).or_default().push(fact.what.clone());
        }
        places
    };
    let right = names(found);
    for (place, left) in names(expected) {
        let Some(right) = right.get(place) else { continue };
        if !is_reordered(left.iter(), right.iter()) {
            continue;
        }
        let first = left.iter().zip(right).find(|(a, b)| a != b);
        comparison.add(Change {
            place: place.to_owned(),
            what: "order".to_owned(),
            expected: first.map(|(a, _)| shown(a)),
            found: first.map(|(_, b)| shown(b)),
            cause: Some(Cause::Order),
            ..Change::default()
        });
    }
}

/// A value as it is shown: not longer than a few lines.
pub fn shown(text: &str) -> String {
    const MOST: usize = 400;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

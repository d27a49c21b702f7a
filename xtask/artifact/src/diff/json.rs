//! JSON texts, by JSON Pointer (RFC 6901).

use super::{
    Change, Comparison,
    cause::{Cause, is_reordered, of_texts},
    fact::shown,
    text,
};
use serde_json::Value;

/// Longer texts are compared as texts, in bytes.
const LONGEST: usize = 64 << 20;

/// Compares two texts.
pub fn compare(comparison: &mut Comparison, expected: &[u8], found: &[u8]) {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    let is_short = expected.len().max(found.len()) <= LONGEST;
    let (Some(left), Some(right)) = (parse(expected).filter(|_| is_short), parse(found).filter(|_| is_short))
    else {
        return text::compare(comparison, expected, found);
    };
    if left == right {
        // `Value` compares objects whatever the order of their keys is.
        let texts = [&left, &right].map(Value::to_string);
        let cause = match is_reordered(expected.split(|b| *b == b'\n'), found.split(|b| *b == b'\n'))
            || texts[0] != texts[1]
        {
            true => Some(Cause::Order),
            false => None,
        };
        text::compare(comparison, expected, found);
        for change in &mut comparison.changes {
            change.cause = change.cause.or(cause);
        }
        comparison.notes.push("the same values, written in another way".to_owned());
        return;
    }
    values(comparison, left, right);
}

/// The values that differ. What is nested is bounded by the parser.
fn values(comparison: &mut Comparison, left: Value, right: Value) {
    let mut open = vec![(String::new(), Some(left), Some(right))];
    while let Some((place, left, right)) = open.pop() {
        match (left, right) {
            (Some(Value::Object(mut a)), Some(Value::Object(mut b))) => {
                let keys: std::collections::BTreeSet<String> = a.keys().chain(b.keys()).cloned().collect();
                for key in keys.into_iter().rev() {
                    let place = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
                    open.push((place, a.remove(&key), b.remove(&key)));
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                let texts = |list: &[Value]| list.iter().map(Value::to_string).collect::<Vec<_>>();
                if is_reordered(texts(&a).into_iter(), texts(&b).into_iter()) {
                    add(
                        comparison,
                        place,
                        Some("(one order)".into()),
                        Some("(another order)".into()),
                        Some(Cause::Order),
                    );
                    continue;
                }
                let count = a.len().max(b.len());
                let (mut a, mut b) = (a.into_iter(), b.into_iter());
                let items: Vec<_> =
                    (0..count).map(|index| (format!("{place}/{index}"), a.next(), b.next())).collect();
                open.extend(items.into_iter().rev());
            }
            (a, b) if a == b => {}
            (a, b) => {
                let value = |value: &Option<Value>| value.as_ref().map(|value| shown(&value.to_string()));
                let cause =
                    a.as_ref().zip(b.as_ref()).and_then(|(a, b)| of_texts(&a.to_string(), &b.to_string()));
                add(comparison, place, value(&a), value(&b), cause);
            }
        }
    }
}

fn add(
    comparison: &mut Comparison,
    what: String,
    expected: Option<String>,
    found: Option<String>,
    cause: Option<Cause>,
) {
    comparison.add(Change { place: "values".to_owned(), what, expected, found, cause, ..Change::default() });
}

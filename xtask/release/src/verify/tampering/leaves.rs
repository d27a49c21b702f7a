//! Every value of a manifest, changed one by one: what no check knows is listed here, and nothing else.

use super::{Release, text};
use crate::{BOM, Manifest};
use serde_json::Value;

/// What nobody can tell without building again, as JSON Pointers with `*` for a number or name.
const UNKNOWN: [&str; 10] = [
    // An action is made of inputs that are not at hand.
    "/artifacts/*/step/action",
    "/checks/*/action",
    "/intermediates/*/action",
    // Outputs that are not shipped.
    "/checks/*/outputs",
    "/intermediates/*/outputs",
    // Environments are made of packages that are not at hand.
    "/environments/*/tree",
    "/environments/*/nar",
    // Told by whoever imports.
    "/artifacts/*/step/imported",
    "/checks/*/imported",
    "/intermediates/*/imported",
];

fn is_unknown(pointer: &str) -> bool {
    UNKNOWN.iter().any(|known| {
        let (known, parts): (Vec<_>, Vec<_>) = (known.split('/').collect(), pointer.split('/').collect());
        known.len() == parts.len() && known.iter().zip(&parts).all(|(a, b)| *a == "*" || a == b)
    })
}

/// All pointers to something below a value, itself aside.
fn pointers(value: &Value, place: &str, list: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(values) => {
            values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, value) in children {
        let place = format!("{place}/{key}");
        list.push(place.clone());
        pointers(value, &place, list);
    }
}

/// A value of the same form that is another.
fn changed(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => {
            let last = text.chars().last();
            // Of a digest the first digit, so that it stays one.
            let digest = text.split('/').next().is_some_and(|hex| hex.len() == 64);
            let other = match (digest, text.strip_prefix("sha256-"), last) {
                (true, ..) => format!("{}{}", if text.starts_with('1') { '2' } else { '1' }, &text[1..]),
                (_, Some(hash), _) => {
                    format!("sha256-{}{}", if hash.starts_with('A') { 'B' } else { 'A' }, &hash[1..])
                }
                (_, _, Some(last)) => {
                    format!(
                        "{}{}",
                        &text[..text.len() - last.len_utf8()],
                        if last == 'x' { 'y' } else { 'x' }
                    )
                }
                (_, _, None) => "x".to_owned(),
            };
            Some(Value::String(other))
        }
        Value::Number(number) => Some(Value::from(number.as_u64()? + 1)),
        Value::Bool(value) => Some(Value::Bool(!value)),
        Value::Null => Some(Value::from("x")),
        _ => None,
    }
}

/// The places in the manifest at which a change is not found.
fn unfound(name: &str, change: impl Fn(&mut Value, &str) -> bool) -> Vec<String> {
    let mut release = Release::new(name);
    let json: Value = serde_json::from_slice(&release.read("release.json")).unwrap();
    let mut list = Vec::new();
    pointers(&json, "", &mut list);
    assert!(list.len() > 100);
    let bom = release.read(BOM);
    list.retain(|pointer| {
        let mut json = json.clone();
        if !change(&mut json, pointer) {
            return false;
        }
        std::fs::write(release.path.join(BOM), &bom).unwrap();
        // A bill of materials that does not fit would hide what else is not checked.
        if let (false, Ok(mut manifest)) =
            (pointer.starts_with("/bom"), serde_json::from_value::<Manifest>(json.clone()))
        {
            crate::bom::refresh(&release.path, &mut manifest);
            json["bom"] = serde_json::to_value(&manifest.bom).unwrap();
            release.manifest.bom = manifest.bom;
        }
        release.write_json(&(serde_json::to_string_pretty(&json).unwrap() + "\n"));
        text(&release.problems(true)).is_empty()
    });
    list
}

#[test]
fn every_value_is_checked_but_for_what_only_a_rebuild_can_tell() {
    for name in ["test", "packed"] {
        let unfound = unfound(name, |json, pointer| {
            let value = json.pointer_mut(pointer).unwrap();
            changed(value).map(|other| *value = other).is_some()
        });
        let (known, others): (Vec<_>, Vec<_>) = unfound.into_iter().partition(|pointer| is_unknown(pointer));
        assert_eq!(others, [""; 0], "{name}");
        // A list that no longer says what can't be told would hide what is not checked.
        assert!(known.iter().any(|pointer| pointer.ends_with("/tree")), "{known:?}");
    }
}

#[test]
fn nothing_can_be_left_out_or_doubled() {
    let parent = |pointer: &str| {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        (parent.to_owned(), key.replace("~1", "/").replace("~0", "~"))
    };
    for name in ["test", "packed"] {
        let removed = unfound(name, |json, pointer| {
            let (parent, key) = parent(pointer);
            match json.pointer_mut(&parent).unwrap() {
                Value::Object(map) => map.shift_remove(&key).is_some(),
                Value::Array(list) => {
                    list.remove(key.parse::<usize>().unwrap());
                    true
                }
                _ => false,
            }
        });
        assert_eq!(removed, [""; 0], "left out of {name}");
        let doubled = unfound(name, |json, pointer| {
            let (parent, key) = parent(pointer);
            let Value::Array(list) = json.pointer_mut(&parent).unwrap() else { return false };
            let index: usize = key.parse().unwrap();
            list.insert(index, list[index].clone());
            true
        });
        assert_eq!(doubled, [""; 0], "doubled in {name}");
        let swapped = unfound(name, |json, pointer| {
            let (parent, key) = parent(pointer);
            let Value::Array(list) = json.pointer_mut(&parent).unwrap() else { return false };
            let index: usize = key.parse().unwrap();
            index > 0 && list[index] != list[index - 1] && {
                list.swap(index, index - 1);
                true
            }
        });
        assert_eq!(swapped, [""; 0], "swapped in {name}");
    }
}

//! Values as YAML 1.2, as far as workflows need it: mappings, sequences and scalars in block style.

use serde_json::Value;
use std::fmt::Write as _;

/// A document. Mappings keep their order; texts of several lines are literal blocks.
pub(super) fn document(value: &Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

fn block(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let _ = write!(text, "{:indent$}{}:", "", scalar(key));
                under(text, value, indent, indent + 2);
            }
        }
        Value::Array(entries) => {
            for value in entries {
                let mut item = String::new();
                match value {
                    Value::Object(entries) if !entries.is_empty() => block(&mut item, value, indent + 2),
                    _ => under(&mut item, value, indent, indent + 2),
                }
                // The first line of a mapping stands beside the dash.
                let _ = write!(text, "{:indent$}- {}", "", item.trim_start_matches(' '));
            }
        }
        other => {
            let _ = writeln!(text, "{:indent$}{}", "", inline(other));
        }
    }
}

/// What stands behind a key or a dash.
fn under(text: &mut String, value: &Value, indent: usize, below: usize) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            text.push('\n');
            block(text, value, below);
        }
        Value::Array(entries) if !entries.is_empty() => {
            text.push('\n');
            block(text, value, below);
        }
        Value::String(lines) if is_literal(lines) => {
            text.push_str(" |\n");
            for line in lines.lines() {
                let _ = writeln!(text, "{:width$}{line}", "", width = indent + 2);
            }
        }
        other => {
            let _ = writeln!(text, " {}", inline(other));
        }
    }
}

/// Whether a text is several lines that a literal block gives back as they are.
fn is_literal(text: &str) -> bool {
    let is_plain =
        |line: &str| !line.is_empty() && !line.starts_with(' ') && line.bytes().all(|byte| byte >= b' ');
    text.ends_with('\n') && text.lines().count() > 1 && text.lines().all(is_plain)
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        // JSON's empty collections, numbers, booleans and null are YAML's.
        other => other.to_string(),
    }
}

/// A text as a plain scalar where no reader can take it for anything else, else in JSON's quotes, which are YAML's too.
fn scalar(text: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./@$(){}* =|&!'<>+,~\"^:".contains(&byte);
    let starts =
        text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'.' || byte == b'$');
    let is_ambiguous = text.contains(": ") || text.contains(" #") || text.ends_with([':', ' ']);
    let lower = text.to_ascii_lowercase();
    let is_other = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".inf", ".nan"]
        .contains(&lower.as_str());
    // GitHub's key is `on`, and its reader is one of YAML 1.2.
    let is_plain = starts && text.bytes().all(is_word) && !is_ambiguous && (!is_other || text == "on");
    match is_plain {
        true => text.to_owned(),
        false => Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn collections_nest_in_blocks() {
        let value = json!({
            "on": { "push": { "branches": ["main"] }, "pull_request": {} },
            "steps": [
                { "uses": "a/b@c", "with": { "depth": 0, "keep": false } },
                { "run": "one\ntwo: 3\n" },
                ["x", []],
                "- a", "yes", "a: b", "", "7", "#", "ä",
            ],
        });
        let expected = r##"on:
  push:
    branches:
      - main
  pull_request: {}
steps:
  - uses: a/b@c
    with:
      depth: 0
      keep: false
  - run: |
      one
      two: 3
"##;
        let text = document(&value);
        assert!(text.starts_with(expected), "{text}");
        for line in [
            "  - \"- a\"\n",
            "  - \"yes\"\n",
            "  - \"a: b\"\n",
            "  - \"\"\n",
            "  - \"7\"\n",
            "  - \"#\"\n",
            "  - \"ä\"\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}

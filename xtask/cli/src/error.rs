//! Errors as people and programs read them.

use builder::Broken;
use serde_json::{Value, json};
use store::{Hinted, find};

/// What begins a line with a hint, where one stands in a text.
const HINT: &str = "hint: ";

/// An error, taken apart.
struct Parts {
    /// What failed, and what caused it, outermost first.
    messages: Vec<String>,
    /// What to do, each once.
    hints: Vec<String>,
}

fn parts(error: &anyhow::Error) -> Parts {
    let (mut messages, mut hints) = (Vec::new(), Vec::new());
    for cause in error.chain() {
        let message = cause.to_string();
        if let Some(hint) = cause.downcast_ref::<Hinted>().map(Hinted::hint)
            && !hints.iter().any(|known| known == hint)
        {
            hints.push(hint.to_owned());
        }
        let mut lines = Vec::new();
        for line in message.trim_end().lines() {
            match line.trim_start().strip_prefix(HINT) {
                Some(hint) if !hints.iter().any(|known| known == hint) => hints.push(hint.to_owned()),
                Some(_) => {}
                None => lines.push(line),
            }
        }
        messages.push(lines.join("\n").trim_end().to_owned());
    }
    Parts { messages, hints }
}

/// `error: …`, then what caused it, a line each, then every hint once.
pub fn error_text(error: &anyhow::Error) -> String {
    let Parts { messages, hints } = parts(error);
    let mut text = String::new();
    for (index, message) in messages.iter().enumerate() {
        let start = if index == 0 { "error: " } else { "  caused by: " };
        text += &format!("{start}{message}\n");
    }
    for hint in hints {
        text += &format!("  {HINT}{hint}\n");
    }
    text
}

/// The same as JSON: `{"message", "causes", "hints", "log"}`.
pub fn error_value(error: &anyhow::Error) -> Value {
    let Parts { mut messages, hints } = parts(error);
    let causes = messages.split_off(1);
    let log = find::<Broken>(error).map(|broken| &broken.log);
    json!({ "message": messages.concat(), "causes": causes, "hints": hints, "log": log })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    fn error() -> anyhow::Error {
        anyhow!(store::hinted("it is not there", "fetch it"))
            .context("cannot read it\nsecond line\n  hint: fetch it\n  hint: or look elsewhere")
            .context("cannot build")
    }

    #[test]
    fn hints_come_last_and_once() {
        let expected = "error: cannot build\n  caused by: cannot read it\nsecond line\n  caused by: it is not there\n  \
                        hint: fetch it\n  hint: or look elsewhere\n";
        assert_eq!(error_text(&error()), expected);
    }

    #[test]
    fn json_has_the_same_in_fields() {
        let expected = json!({
            "message": "cannot build",
            "causes": ["cannot read it\nsecond line", "it is not there"],
            "hints": ["fetch it", "or look elsewhere"],
            "log": null,
        });
        assert_eq!(error_value(&error()), expected);
    }
}

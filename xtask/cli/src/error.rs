//! Errors as people and programs read them.

use builder::Broken;
use input::Unavailable;
use serde_json::{Value, json};
use store::{Damaged, Hinted, find};

/// What begins a line with a hint.
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
        messages.push(cause.to_string().trim_end().to_owned());
        for hint in hints_of(cause) {
            if !hints.iter().any(|known| known == hint) {
                hints.push(hint.to_owned());
            }
        }
    }
    Parts { messages, hints }
}

/// What a cause says about what to do. Its text is never asked: it may hold a stranger's words.
fn hints_of<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Vec<&'a str> {
    if let Some(hinted) = Hinted::of(cause) {
        return hinted.hints().iter().map(String::as_str).collect();
    }
    if let Some(Unavailable { hints, .. }) = cause.downcast_ref() {
        return hints.iter().map(String::as_str).collect();
    }
    if let Some(Broken { hints, .. }) = cause.downcast_ref() {
        return hints.iter().map(String::as_str).collect();
    }
    cause.downcast_ref::<Damaged>().map(|_| Damaged::HINT).into_iter().collect()
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
        let inner = store::hinted("it is not there", "fetch it");
        let outer = store::hinted("cannot read it\n  hint: of a stranger", "or look elsewhere");
        anyhow!(store::hinted("cannot use it", "fetch it").because(outer.because(inner)))
            .context("cannot build")
    }

    #[test]
    fn hints_come_last_and_once() {
        let expected = "error: cannot build\n  caused by: cannot use it\n  caused by: cannot read it\n  hint: of a stranger\n  \
                        caused by: it is not there\n  hint: fetch it\n  hint: or look elsewhere\n";
        assert_eq!(error_text(&error()), expected);
    }

    #[test]
    fn json_has_the_same_in_fields() {
        let expected = json!({
            "message": "cannot build",
            "causes": ["cannot use it", "cannot read it\n  hint: of a stranger", "it is not there"],
            "hints": ["fetch it", "or look elsewhere"],
            "log": null,
        });
        assert_eq!(error_value(&error()), expected);
    }
}

//! Tokens and numbers of configurations, as Python reads them.

use super::{Loaded, must, refused};
use serde_json::Value;
use std::collections::BTreeSet;

/// The tokens of a `tokenizer.json`: those of its model, and those added.
pub fn all(tokenizer: &Value) -> BTreeSet<String> {
    let mut tokens: BTreeSet<String> = match &tokenizer["model"]["vocab"] {
        Value::Object(map) => map.keys().cloned().collect(),
        Value::Array(pieces) => {
            pieces.iter().filter_map(|piece| piece.get(0)?.as_str()).map(str::to_owned).collect()
        }
        _ => BTreeSet::new(),
    };
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    tokens.extend(added.filter_map(|token| token["content"].as_str()).map(str::to_owned));
    tokens
}

/// A special token: text, or what says of itself that it is a token.
pub fn token(value: &Value) -> Loaded<Option<String>> {
    match value {
        Value::String(text) => Ok(Some(text.clone())),
        Value::Object(object) if object.get("__type").is_some_and(|it| it == "AddedToken") => {
            added_token(value).map(Some)
        }
        _ => Ok(None),
    }
}

/// The content of `AddedToken(**value)`.
pub fn added_token(value: &Value) -> Loaded<String> {
    let Value::Object(object) = value else { return refused("an added token is not an object") };
    for flag in ["single_word", "lstrip", "rstrip", "normalized", "special"] {
        must(
            object.get(flag).is_none_or(Value::is_boolean),
            "an added token has a flag that is neither true nor false",
        )?;
    }
    match object.get("content") {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(content)) => Ok(content.clone()),
        Some(_) => refused("an added token is not text"),
    }
}

/// `str(value)` of a special token.
pub fn python_text(value: &Value) -> String {
    value.as_str().or_else(|| value["content"].as_str()).unwrap_or("None").to_owned()
}

/// `int(text)`.
pub fn python_int(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fine =
        digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if fine { text.replace('_', "").parse().ok() } else { None }
}

/// A key of a dictionary of Python: numbers are the same when they are equal.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub enum Number {
    Whole(i64),
    Other(String),
}

impl Number {
    /// Nothing for what is not a number.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Whole((*value).into())),
            Value::Number(number) => Some(match number.as_i64() {
                Some(whole) => Self::Whole(whole),
                None => match number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 1e15) {
                    Some(whole) => Self::Whole(whole as i64),
                    None => Self::Other(number.to_string()),
                },
            }),
            // A number that is kept as an object.
            Value::Object(_) => Some(Self::Other(value.to_string())),
            _ => None,
        }
    }
}

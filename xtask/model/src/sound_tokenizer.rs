//! Whether the `tokenizers` library (0.22.2) reads a `tokenizer.json`: its parts, and what it asks of each.

use serde_json::{Map, Value};

type Checked = Result<(), String>;

const FIELDS: [&str; 9] = [
    "version",
    "truncation",
    "padding",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "model",
];
/// A part, the key under which a sequence of it stands, and its kinds.
const PARTS: [(&str, &str, &[&str]); 4] = [
    (
        "normalizer",
        "normalizers",
        &[
            "BertNormalizer",
            "ByteLevel",
            "Lowercase",
            "NFC",
            "NFD",
            "NFKC",
            "NFKD",
            "Nmt",
            "Precompiled",
            "Prepend",
            "Replace",
            "Sequence",
            "Strip",
            "StripAccents",
        ],
    ),
    (
        "pre_tokenizer",
        "pretokenizers",
        &[
            "BertPreTokenizer",
            "ByteLevel",
            "Delimiter",
            "CharDelimiterSplit",
            "Digits",
            "FixedLength",
            "Metaspace",
            "Punctuation",
            "Sequence",
            "Split",
            "UnicodeScripts",
            "Whitespace",
            "WhitespaceSplit",
        ],
    ),
    (
        "post_processor",
        "processors",
        &["BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"],
    ),
    (
        "decoder",
        "decoders",
        &[
            "BPEDecoder",
            "ByteFallback",
            "ByteLevel",
            "CTC",
            "Fuse",
            "Metaspace",
            "Replace",
            "Sequence",
            "Strip",
            "WordPiece",
        ],
    ),
];
/// Keys without which a kind is not read, in every part.
const NEEDS: [(&str, &[&str]); 3] = [
    ("Prepend", &["prepend"]),
    ("Replace", &["pattern", "content"]),
    ("Split", &["pattern", "behavior", "invert"]),
];

/// Gives the reason why the library does not read `tokenizer`.
pub(crate) fn check(tokenizer: &Value) -> Checked {
    let Value::Object(fields) = tokenizer else { return Err("it is not a JSON object".to_owned()) };
    if let Some(strange) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!("it has the key `{}`", strange.escape_debug()));
    }
    if fields.get("version").is_some_and(|version| version != "1.0") {
        return Err("its version is not 1.0".to_owned());
    }
    match fields.get("added_tokens") {
        None => {}
        Some(Value::Array(tokens)) => tokens.iter().try_for_each(added)?,
        Some(_) => return Err("`added_tokens` is not a list".to_owned()),
    }
    for (part, sequence, kinds) in PARTS {
        if let Some(value) = fields.get(part).filter(|value| !value.is_null()) {
            component(value, sequence, kinds).map_err(|reason| format!("its {part} {reason}"))?;
        }
    }
    for (part, needs) in [
        ("truncation", &["max_length", "strategy", "stride"][..]),
        ("padding", &["strategy", "pad_id", "pad_type_id", "pad_token"]),
    ] {
        if let Some(value) = fields.get(part).filter(|value| !value.is_null()) {
            has(value, needs).map_err(|reason| format!("its {part} {reason}"))?;
        }
    }
    match fields.get("model") {
        Some(Value::Object(fields)) => model(fields).map_err(|reason| format!("its model {reason}")),
        _ => Err("it has no model".to_owned()),
    }
}

fn has(value: &Value, needs: &[&str]) -> Checked {
    match needs.iter().find(|key| value.get(**key).is_none()) {
        Some(key) => Err(format!("lacks `{key}`")),
        None => Ok(()),
    }
}

fn added(token: &Value) -> Checked {
    let flags = ["single_word", "lstrip", "rstrip", "normalized", "special"];
    let is_flag = |key: &&str| token.get(*key).is_some_and(Value::is_boolean);
    let is_sound = token.get("id").is_some_and(is_id)
        && token.get("content").is_some_and(Value::is_string)
        && flags.iter().all(is_flag);
    if is_sound { Ok(()) } else { Err("an added token lacks an id, its content or a flag".to_owned()) }
}

fn is_id(value: &Value) -> bool {
    value.as_u64().is_some_and(|id| u32::try_from(id).is_ok())
}

/// The depth is bounded by that of JSON.
fn component(value: &Value, sequence: &str, kinds: &[&str]) -> Checked {
    let Value::Object(fields) = value else { return Err("is not an object".to_owned()) };
    let kind = match fields.get("type") {
        Some(Value::String(kind)) if kinds.contains(&kind.as_str()) => kind.as_str(),
        Some(_) => return Err("is of an unknown type".to_owned()),
        // Old files have no types.
        None if fields.is_empty() => return Err("is empty".to_owned()),
        None => return Ok(()),
    };
    if kind == "Sequence" {
        let Some(Value::Array(steps)) = fields.get(sequence) else {
            return Err(format!("lacks `{sequence}`"));
        };
        return steps.iter().try_for_each(|step| component(step, sequence, kinds));
    }
    if kind == "ByteLevel" && sequence != "normalizers" {
        return has(value, &["add_prefix_space", "trim_offsets"]);
    }
    let needs = NEEDS.iter().find(|(name, _)| *name == kind);
    needs.map_or(Ok(()), |(_, needs)| has(value, needs))
}

fn model(fields: &Map<String, Value>) -> Checked {
    let text = |key: &str| fields.get(key).is_some_and(Value::is_string);
    let vocabulary = match fields.get("vocab") {
        Some(Value::Object(vocabulary)) => Some(vocabulary),
        _ => None,
    };
    if vocabulary.is_some_and(|vocabulary| !vocabulary.values().all(is_id)) {
        return Err("has a token whose number is none".to_owned());
    }
    let kind = match fields.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(_) => return Err("has a type that is not text".to_owned()),
        None if fields.contains_key("merges") => "BPE",
        None if fields.contains_key("continuing_subword_prefix") => "WordPiece",
        None if vocabulary.is_some() => "WordLevel",
        None => "Unigram",
    };
    match (kind, vocabulary) {
        ("BPE", Some(vocabulary)) => {
            let prefix = fields.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or_default();
            merges(fields.get("merges"), vocabulary, prefix.chars().count())
        }
        ("WordLevel", Some(_)) if text("unk_token") => Ok(()),
        ("WordPiece", Some(_)) => {
            let is_sound = text("unk_token")
                && text("continuing_subword_prefix")
                && fields.get("max_input_chars_per_word").is_some_and(Value::is_u64);
            if is_sound { Ok(()) } else { Err("lacks what a WordPiece model has".to_owned()) }
        }
        ("Unigram", None) => {
            let Some(Value::Array(pieces)) = fields.get("vocab") else {
                return Err("has no vocabulary".to_owned());
            };
            let is_piece = |piece: &Value| match piece.as_array().map(Vec::as_slice) {
                Some([text, score]) => text.is_string() && score.is_number(),
                _ => false,
            };
            let unknown = fields.get("unk_id").filter(|id| !id.is_null());
            let is_inside = |id: &Value| id.as_u64().is_some_and(|id| id < pieces.len() as u64);
            if pieces.iter().all(is_piece) && !pieces.is_empty() && unknown.is_none_or(is_inside) {
                Ok(())
            } else {
                Err("is not a sound Unigram model".to_owned())
            }
        }
        _ => Err("has no vocabulary, or is of an unknown type".to_owned()),
    }
}

fn merges(merges: Option<&Value>, vocabulary: &Map<String, Value>, prefix: usize) -> Checked {
    let Some(Value::Array(merges)) = merges else { return Err("has no merges".to_owned()) };
    let are_texts = merges.first().is_some_and(Value::is_string);
    for merge in merges {
        let pair = match merge {
            Value::String(text) if are_texts && text.starts_with("#version") => continue,
            Value::String(text) if are_texts => match text.split(' ').collect::<Vec<_>>()[..] {
                [left, right] => Some((left, right)),
                _ => None,
            },
            Value::Array(pair) if !are_texts => match pair.as_slice() {
                [Value::String(left), Value::String(right)] => Some((left.as_str(), right.as_str())),
                _ => None,
            },
            _ => None,
        };
        let Some((left, right)) = pair else { return Err("has a merge that is not a pair".to_owned()) };
        let rest: String = right.chars().skip(prefix).collect();
        for token in [left, right, &format!("{left}{rest}")] {
            if !vocabulary.contains_key(token) {
                return Err(format!("merges to `{}`, which is not in its vocabulary", token.escape_debug()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokenizer(key: &str, value: Value) -> Value {
        let token = json!({
            "id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true
        });
        let mut tokenizer = json!({
            "version": "1.0", "added_tokens": [token], "normalizer": null,
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
        });
        tokenizer[key] = value;
        tokenizer
    }

    #[test]
    fn what_the_library_reads_is_sound() {
        for (key, value) in [
            ("padding", Value::Null),
            ("normalizer", json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]})),
            ("pre_tokenizer", json!({"type": "Metaspace", "replacement": "▁", "add_prefix_space": true})),
            ("model", json!({"vocab": {"a": 0}, "merges": []})),
            ("model", json!({"type": "BPE", "vocab": {"a": 0, "aa": 7}, "merges": [["a", "a"]]})),
            ("model", json!({"type": "BPE", "vocab": {"a": 0, "aa": 7}, "merges": ["#version: 0.2", "a a"]})),
            ("model", json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "b"})),
            ("model", json!({"type": "Unigram", "vocab": [["a", 0]], "unk_id": null})),
        ] {
            assert_eq!(check(&tokenizer(key, value.clone())), Ok(()), "{key} {value}");
        }
    }

    #[test]
    fn what_the_library_does_not_read_is_named() {
        for (key, value, reason) in [
            ("version", json!("2.0"), "version"),
            ("extra", json!(1), "the key `extra`"),
            ("added_tokens", Value::Null, "not a list"),
            ("added_tokens", json!([{"id": 3, "content": "a"}]), "a flag"),
            ("normalizer", json!({"type": "Sequence", "normalizers": [{"type": "Foo"}]}), "unknown type"),
            ("normalizer", json!("NFC"), "not an object"),
            ("pre_tokenizer", json!({"type": "ByteLevel"}), "lacks `add_prefix_space`"),
            ("padding", json!({}), "lacks `strategy`"),
            ("model", Value::Null, "no model"),
            ("model", json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}), "merges to `aa`"),
            ("model", json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a a a"]}), "not a pair"),
            ("model", json!({"type": "BPE", "vocab": {"a": -1}, "merges": []}), "number is none"),
            ("model", json!({"type": "BPE", "vocab": {"a": 0}}), "no merges"),
            ("model", json!({"type": "WordLevel", "vocab": {"a": 0}}), "no vocabulary"),
            ("model", json!({"type": "Unigram", "vocab": [["a", 0]], "unk_id": 1}), "sound Unigram"),
            ("model", json!({"type": "XPE", "vocab": {}}), "unknown type"),
        ] {
            let found = check(&tokenizer(key, value.clone())).unwrap_err();
            assert!(found.contains(reason), "{key} {value}: {found}");
        }
    }
}

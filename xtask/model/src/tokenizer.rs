//! What `mlc-chat-config.json` says about a tokenizer.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Refuses a `tokenizer.json` that adds a token twice, which run times read in different ways.
pub(crate) fn check(tokenizer: &Value) -> Result<()> {
    let mut seen = HashSet::new();
    for content in added(tokenizer) {
        ensure!(
            seen.insert(content),
            "tokenizer.json adds `{}` twice\nhint: remove one of them from `added_tokens`",
            content.escape_debug()
        );
    }
    Ok(())
}

fn added(tokenizer: &Value) -> impl Iterator<Item = &str> {
    let tokens = tokenizer["added_tokens"].as_array().into_iter().flatten();
    tokens.filter_map(|token| token["content"].as_str())
}

/// How many tokens there are: those of the model, those added, and special ones that only `settings`
/// (`tokenizer_config.json`) names. `None` if `tokenizer` has no vocabulary.
pub(crate) fn size(tokenizer: &Value, settings: &Value) -> Option<u64> {
    let vocabulary = &tokenizer["model"]["vocab"];
    let mut tokens: HashSet<&str> = match vocabulary {
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        Value::Array(pieces) => pieces.iter().filter_map(|piece| piece.get(0)?.as_str()).collect(),
        _ => return None,
    };
    tokens.extend(added(tokenizer));
    let text = |value: &'_ Value| -> Option<String> {
        value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
    };
    let names = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
    let single = names.iter().filter_map(|name| text(&settings[*name]));
    let list = settings["additional_special_tokens"].as_array().into_iter().flatten().filter_map(text);
    let decoder = settings["added_tokens_decoder"].as_object().into_iter().flatten();
    let decoder = decoder.filter_map(|(_, token)| text(token));
    let special: HashSet<String> = single.chain(list).chain(decoder).collect();
    let new = special.iter().filter(|token| !tokens.contains(token.as_str())).count();
    Some((tokens.len() + new) as u64)
}

/// How text is taken apart and put together.
pub(crate) fn info(tokenizer: Option<&Value>) -> Value {
    let nothing = Value::Null;
    let tokenizer = tokenizer.unwrap_or(&nothing);
    let decoders = members(&tokenizer["decoder"], "decoders");
    let mut method = decoders.iter().filter_map(|decoder| match decoder["type"].as_str() {
        Some("ByteLevel") => Some("byte_level"),
        Some("ByteFallback") => Some("byte_fallback"),
        _ => None,
    });
    let prepends = |step: &&Value| step["type"] == "Prepend" && step["prepend"] == "▁";
    let strips = |step: &&Value| {
        step["type"] == "Strip" && step["content"] == " " && step["start"] == 1 && step["stop"] == 0
    };
    json!({
        "token_postproc_method": method.next_back().unwrap_or("byte_fallback"),
        "prepend_space_in_encode": members(&tokenizer["normalizer"], "normalizers").iter().any(prepends),
        "strip_space_in_decode": decoders.iter().any(strips),
    })
}

/// The steps of a sequence, or the only step.
fn members<'a>(step: &'a Value, key: &str) -> Vec<&'a Value> {
    match step[key].as_array() {
        Some(steps) if step["type"] == "Sequence" => steps.iter().collect(),
        _ => vec![step],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_count_once() {
        let tokenizer = json!({
            "added_tokens": [{"content": "<s>"}, {"content": "<|im_end|>"}],
            "model": {"vocab": {"a": 0, "b": 1, "<s>": 2}}
        });
        let settings = json!({"eos_token": "<|im_end|>", "pad_token": {"content": "<pad>"}});
        assert_eq!(size(&tokenizer, &settings), Some(5));
        assert_eq!(size(&json!({}), &settings), None);
    }

    #[test]
    fn a_token_added_twice_is_refused() {
        let tokenizer = json!({"added_tokens": [{"content": "<s>"}, {"content": "<s>"}]});
        assert!(check(&tokenizer).unwrap_err().to_string().contains("`<s>` twice"));
    }

    #[test]
    fn sentence_pieces_have_spaces_before_words() {
        let tokenizer = json!({
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]},
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "ByteFallback"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}
            ]}
        });
        let expected = json!({
            "token_postproc_method": "byte_fallback", "prepend_space_in_encode": true, "strip_space_in_decode": true
        });
        assert_eq!(info(Some(&tokenizer)), expected);
        assert_eq!(info(None)["strip_space_in_decode"], false);
    }
}

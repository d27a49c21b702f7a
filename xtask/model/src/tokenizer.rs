//! What `mlc-chat-config.json` says about a tokenizer.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::collections::HashSet;
use store::hinted;

/// Refuses a `tokenizer.json` that adds a token twice, which run times read in different ways.
pub(crate) fn check(tokenizer: &Value) -> Result<()> {
    let mut seen = HashSet::new();
    for content in added(tokenizer) {
        ensure!(
            seen.insert(content),
            hinted(
                format!("tokenizer.json adds `{}` twice", content.escape_debug()),
                "remove one of them from `added_tokens`"
            )
        );
    }
    Ok(())
}

fn added(tokenizer: &Value) -> impl Iterator<Item = &str> {
    let tokens = tokenizer["added_tokens"].as_array().into_iter().flatten();
    tokens.filter_map(|token| token["content"].as_str())
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

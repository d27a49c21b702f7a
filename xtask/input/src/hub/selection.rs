//! Which files of a repository a conversion uses.

use super::is_file_name;
use anyhow::{Result, ensure};
use std::collections::BTreeSet;

/// The weights of a model of one file, and the index of one of several.
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files that are fetched: configuration, tokenizer, licence, and the weights once; and those of `include`.
///
/// Weights that stand there a second time are left out: other variants (`model.fp16.safetensors`), adapters
/// (`adapter_model.safetensors`), and files for their makers' own program (`consolidated.safetensors`).
///
/// # Errors
/// If the repository lacks a file of `include`.
pub fn select(names: &[&str], include: &[String]) -> Result<BTreeSet<String>> {
    for name in include {
        ensure!(
            is_file_name(name) && names.contains(&name.as_str()),
            "the repository has no file `{}`\n  hint: it has {}",
            name.escape_debug(),
            shown(names)
        );
    }
    let has_shards = names.contains(&INDEX) && names.iter().any(|name| is_shard(name));
    let of_weights = |name: &str| match (has_shards, names.contains(&SINGLE)) {
        (true, _) => is_shard(name),
        (false, true) => name == SINGLE,
        (false, false) => true,
    };
    let is_wanted = |name: &str| {
        if name.ends_with(".safetensors") {
            return is_file_name(name) && !is_other(name) && of_weights(name);
        }
        is_beside(name)
    };
    let wanted = names.iter().map(|name| (*name).to_owned());
    Ok(wanted.filter(|name| is_wanted(name) || include.contains(name)).collect())
}

/// Why there are no weights among these files, with what to do.
pub fn without_weights(names: &[&str]) -> String {
    let any = |is: fn(&str) -> bool| names.iter().any(|name| is(name));
    let hint = if any(|name| name.starts_with("adapter_")) {
        "it is a LoRA adapter: fetch its base model, and merge the adapter into it with Python's `peft`"
    } else if any(|name| name.ends_with(".gguf")) {
        "it holds GGUF, which llama.cpp reads: fetch the model of which it was made"
    } else if any(|name| name == "mlc-chat-config.json") {
        "it is converted already: MLC runs it as it is"
    } else {
        "weights in pickles (pytorch_model.bin) are not read; the hub may hold a converted revision"
    };
    format!("hint: {hint}")
}

fn shown(names: &[&str]) -> String {
    let mut names: Vec<String> = names.iter().map(|name| name.escape_debug().to_string()).collect();
    names.sort();
    let more = names.len().saturating_sub(20);
    names.truncate(20);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    names.join(", ") + &more
}

/// `model-00001-of-00002.safetensors`.
fn is_shard(name: &str) -> bool {
    let middle = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    middle
        .and_then(|middle| middle.split_once("-of-"))
        .is_some_and(|(one, all)| is_number(one) && is_number(all))
}

/// Whether a file holds other weights than those of the model itself, or says what is in such files.
fn is_other(name: &str) -> bool {
    if name.starts_with("adapter_") || name.starts_with("consolidated") {
        return true;
    }
    let stem = name.strip_suffix(".safetensors").or_else(|| name.strip_suffix(".json")).unwrap_or(name);
    let mut parts = stem.split('.').skip(1).filter(|part| !matches!(*part, "safetensors" | "index"));
    // What stands between two dots is a variant: `model.fp16-00001-of-00002.safetensors`.
    let is_of_weights = name.ends_with(".safetensors") || name.contains(".safetensors.");
    is_of_weights && parts.any(|part| part.starts_with(|first: char| first.is_ascii_alphabetic()))
}

/// Configuration, the tokenizer, the licence.
fn is_beside(name: &str) -> bool {
    let ending = name.rsplit('.').next().unwrap_or("");
    let of_use = matches!(ending, "json" | "model" | "tiktoken") || name == "merges.txt";
    let terms = ["LICENSE", "LICENCE", "NOTICE", "USE_POLICY"].iter().any(|start| name.starts_with(start));
    is_file_name(name) && (of_use && !is_other(name) || terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Vec<String> {
        select(names, &[]).unwrap().into_iter().collect()
    }

    #[test]
    fn what_a_conversion_uses_is_selected() {
        let all = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.model",
            "merges.txt",
            "LICENSE",
        ];
        assert_eq!(selected(&all).len(), all.len());
        let unused = [
            "pytorch_model.bin",
            "original/params.json",
            "../config.json",
            ".gitattributes",
            "README.md",
            "consolidated.safetensors",
            "a b.json",
            "",
        ];
        assert_eq!(selected(&unused), [""; 0]);
    }

    #[test]
    fn weights_are_fetched_once() {
        let beside =
            ["config.json", "adapter_config.json", "adapter_model.safetensors", "model.fp16.safetensors"];
        let single = [&beside[..], &["model.safetensors", "pytorch_model.safetensors"]].concat();
        assert_eq!(selected(&single), ["config.json", "model.safetensors"]);
        let several = ["model-00001-of-00001.safetensors", INDEX, "model.safetensors.index.fp16.json"];
        let several = [&single[..], &several, &["model.fp16-00001-of-00002.safetensors"]].concat();
        assert_eq!(selected(&several), ["config.json", "model-00001-of-00001.safetensors", INDEX]);
        // Names of their own, in an index that is read later.
        let named =
            ["config.json", INDEX, "Qwen2.5-a.safetensors", "part-2.safetensors", "part.bf16.safetensors"];
        assert_eq!(selected(&named), ["Qwen2.5-a.safetensors", "config.json", INDEX, "part-2.safetensors"]);
    }

    #[test]
    fn what_is_asked_for_is_fetched_too() {
        let names = ["config.json", "model.safetensors", "model.fp16.safetensors", "x/y.json"];
        let asked = select(&names, &["model.fp16.safetensors".to_owned()]).unwrap();
        assert_eq!(asked.len(), 3);
        for wrong in ["x/y.json", "missing.json"] {
            let error = select(&names, &[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains("has no file") && error.contains("it has config.json"), "{error}");
        }
    }

    #[test]
    fn what_holds_no_weights_is_named() {
        for (names, expected) in [
            (&["adapter_config.json", "adapter_model.safetensors"][..], "a LoRA adapter"),
            (&["model-q4.gguf"], "GGUF"),
            (&["mlc-chat-config.json", "params_shard_0.bin"], "converted already"),
            (&["pytorch_model.bin"], "pickles"),
        ] {
            assert!(without_weights(names).contains(expected), "{expected}");
        }
    }
}

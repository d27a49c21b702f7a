//! Which files of a repository a conversion uses.

use super::is_file_name;
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use store::hinted;

/// The weights of a model of one file, and the index of one of several.
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files that are fetched: configuration, tokenizer, license, and the weights once; and those of `include`.
///
/// Weights that stand there a second time are left out: other variants (`model.fp16.safetensors`), adapters
/// (`adapter_model.safetensors`), files for their makers' own program (`consolidated.safetensors`), and pickles
/// (`pytorch_model.bin`) beside safetensors.
///
/// # Errors
/// If the repository lacks a file of `include`.
pub fn select(names: &[&str], include: &[String]) -> Result<BTreeSet<String>> {
    for name in include {
        ensure!(
            is_file_name(name) && names.contains(&name.as_str()),
            hinted(
                format!("the repository has no file `{}`", name.escape_debug()),
                format!("it has {}", shown(names))
            )
        );
    }
    let has_shards = names.contains(&INDEX) && names.iter().any(|name| is_shard(name));
    let of_weights = |name: &str| match (has_shards, names.contains(&SINGLE)) {
        (true, _) => is_shard(name),
        (false, true) => name == SINGLE,
        (false, false) => true,
    };
    let is_safe = |name: &str| name.ends_with(".safetensors") && is_file_name(name) && !is_other(name);
    let has_safe = names.iter().any(|name| is_safe(name));
    let is_wanted = |name: &str| match () {
        () if name.ends_with(".safetensors") => is_safe(name) && of_weights(name),
        () if is_pickled(name) => !has_safe,
        () => is_beside(name),
    };
    let wanted = names.iter().map(|name| (*name).to_owned());
    Ok(wanted.filter(|name| is_wanted(name) || include.contains(name)).collect())
}

/// What to do where there are no weights among these files.
pub fn without_weights(names: &[&str]) -> &'static str {
    let any = |is: fn(&str) -> bool| names.iter().any(|name| is(name));
    if any(|name| name.starts_with("adapter_")) {
        "it is a LoRA adapter: fetch its base model, and give the adapter's directory to `model convert` with `--lora-adapter`"
    } else if any(|name| name.ends_with(".gguf")) {
        "it holds GGUF, which llama.cpp reads: fetch the model of which it was made"
    } else if any(|name| name == "mlc-chat-config.json") {
        "it is converted already: MLC runs it as it is"
    } else {
        "weights are read from safetensors and from pytorch_model.bin; the hub may hold a revision with such files"
    }
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
    is_part(name, SINGLE)
}

/// `pytorch_model.bin`, its parts, and their index.
fn is_pickled(name: &str) -> bool {
    const WHOLE: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
    WHOLE.contains(&name) || is_part(name, WHOLE[0])
}

/// Whether a name is that of a part of `whole`: `STEM-00001-of-00002.ENDING`.
fn is_part(name: &str, whole: &str) -> bool {
    let (stem, ending) = whole.split_once('.').unwrap_or((whole, ""));
    let middle = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
    let middle = middle.and_then(|rest| rest.strip_suffix(ending)).and_then(|rest| rest.strip_suffix('.'));
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

/// Configuration, the tokenizer, the license.
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
            "pytorch_model.pt",
            "pytorch_model-1.bin",
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
    fn pickles_are_fetched_where_nothing_else_holds_the_weights() {
        let pickled = ["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"];
        let beside = ["training_args.bin", "optimizer.pt", "x/pytorch_model.bin"];
        assert_eq!(selected(&[&pickled[..], &beside].concat()), pickled);
        assert_eq!(selected(&["pytorch_model.bin"]), ["pytorch_model.bin"]);
        let both = [&pickled[..], &["pytorch_model.bin", "model.safetensors"]].concat();
        assert_eq!(selected(&both), ["config.json", "model.safetensors"]);
    }

    #[test]
    fn what_is_asked_for_is_fetched_too() {
        let names = ["config.json", "model.safetensors", "model.fp16.safetensors", "x/y.json"];
        let asked = select(&names, &["model.fp16.safetensors".to_owned()]).unwrap();
        assert_eq!(asked.len(), 3);
        for wrong in ["x/y.json", "missing.json"] {
            let error = store::full_text(&select(&names, &[wrong.to_owned()]).unwrap_err());
            assert!(error.contains("has no file") && error.contains("it has config.json"), "{error}");
        }
    }

    #[test]
    fn what_holds_no_weights_is_named() {
        for (names, expected) in [
            (&["adapter_config.json", "adapter_model.safetensors"][..], "a LoRA adapter"),
            (&["model-q4.gguf"], "GGUF"),
            (&["mlc-chat-config.json", "params_shard_0.bin"], "converted already"),
            (&["tf_model.h5"], "safetensors and from pytorch_model.bin"),
        ] {
            assert!(without_weights(names).contains(expected), "{expected}");
        }
    }
}

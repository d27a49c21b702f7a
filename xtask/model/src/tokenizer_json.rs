//! `tokenizer.json` of a SentencePiece model, to the byte as `AutoTokenizer` of Python's `transformers` 4.57 makes it.

use crate::{
    added_tokens::{Added, Token, Tokens},
    sentencepiece::{Algorithm, Model, merges},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

const SPACE: &str = "▁";

/// What stands beside a `tokenizer.model`, each a JSON object, or empty where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// `config.json`.
    pub config: Map<String, Value>,
    /// `tokenizer_config.json`.
    pub tokenizer: Map<String, Value>,
    /// `special_tokens_map.json`.
    pub special: Map<String, Value>,
    /// `added_tokens.json`.
    pub added: Map<String, Value>,
}

/// A family of tokenizers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Llama,
    Gemma,
}

/// The text of `tokenizer.json`.
///
/// # Errors
/// When the bytes are no SentencePiece model, or the library converts it in a way that is not known here: why.
pub(crate) fn convert(model: &[u8], settings: &Settings) -> Result<String> {
    let class = class(settings)?;
    let model = Model::parse(model)?;
    let tokens = Tokens::read(settings, class)?;
    let flag = |name: &str, absent: bool| match settings.tokenizer.get(name) {
        None => Ok(absent),
        Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => bail!("tokenizer_config.json says `{name}` is {other}"),
    };
    let legacy = settings.tokenizer.get("legacy").is_none_or(Value::is_null) || flag("legacy", true)?;
    let prefix = flag("add_prefix_space", true)?;

    let vocabulary = vocabulary(&model, class, &tokens)?;
    let numbers: HashMap<&str, usize> =
        vocabulary.iter().enumerate().map(|(number, (text, _))| (text.as_str(), number)).collect();
    ensure!(numbers.len() == vocabulary.len(), "two of its pieces get the same name");
    let mut added = Added::new(&numbers);
    let pieces = model.pieces.iter().filter(|piece| piece.is_control() || piece.is_user_defined());
    added.add(pieces.map(|piece| {
        let turn = class == Class::Gemma && matches!(piece.text(), "<start_of_turn>" | "<end_of_turn>");
        Token::new(piece.text(), piece.is_control() || turn)
    }));
    tokens.add_to(&mut added);

    let mut result = Map::new();
    let mut put = |name: &str, value: Value| result.insert(name.to_owned(), value);
    put("version", "1.0".into());
    put("truncation", Value::Null);
    put("padding", Value::Null);
    put("added_tokens", added.json()?);
    let replace =
        |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    put(
        "normalizer",
        match class {
            Class::Gemma => replace(" ", SPACE),
            Class::Llama if legacy => {
                let prepend = prefix.then(|| json!({"type": "Prepend", "prepend": SPACE}));
                let steps: Vec<_> = prepend.into_iter().chain([replace(" ", SPACE)]).collect();
                json!({"type": "Sequence", "normalizers": steps})
            }
            Class::Llama => Value::Null,
        },
    );
    put(
        "pre_tokenizer",
        match class {
            Class::Gemma => json!({
                "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false
            }),
            Class::Llama if legacy => Value::Null,
            Class::Llama => json!({
                "type": "Metaspace", "replacement": SPACE, "prepend_scheme": if prefix { "first" } else { "never" },
                "split": false
            }),
        },
    );
    let ends = [("bos_token", flag("add_bos_token", true)?), ("eos_token", flag("add_eos_token", false)?)];
    put("post_processor", post_processor(&tokens, &added, ends)?);
    let mut decoders = vec![replace(SPACE, " "), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    if class == Class::Llama && prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    put("decoder", json!({"type": "Sequence", "decoders": decoders}));
    put("model", model_json(&model, class, &vocabulary, &numbers)?);
    serde_json::to_string_pretty(&result).context("cannot write JSON")
}

/// The class that the library takes: the one that is named, or that of the architecture.
fn class(settings: &Settings) -> Result<Class> {
    let text = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let named =
        text(&settings.tokenizer, "tokenizer_class").or_else(|| text(&settings.config, "tokenizer_class"));
    let class = match named {
        Some(name) => name,
        None => match text(&settings.config, "model_type").as_deref() {
            Some("llama" | "mistral" | "mixtral" | "phi3") => "LlamaTokenizer".to_owned(),
            Some("gemma" | "gemma2" | "gemma3" | "gemma3_text") => "GemmaTokenizer".to_owned(),
            _ => bail!("no `tokenizer_class` is named"),
        },
    };
    match class.strip_suffix("Fast").unwrap_or(&class) {
        "LlamaTokenizer" => Ok(Class::Llama),
        "GemmaTokenizer" => Ok(Class::Gemma),
        other => bail!("it is for `{}`, not for LlamaTokenizer or GemmaTokenizer", other.escape_debug()),
    }
}

/// Pieces with their scores as the library names them.
fn vocabulary(model: &Model, class: Class, tokens: &Tokens) -> Result<Vec<(String, f64)>> {
    let names = match class {
        Class::Llama => tokens.first_names(model),
        Class::Gemma => {
            let names =
                ["pad_token", "eos_token", "bos_token"].map(|name| tokens.text(name).map(str::to_owned));
            names.into_iter().collect::<Option<_>>().context("a special token of Gemma is null")?
        }
    };
    ensure!(names.len() == 3 && model.pieces.len() > 3, "it has fewer than four pieces");
    let rest = model.pieces[3..].iter().map(|piece| (piece.text().to_owned(), f64::from(piece.score())));
    let mut vocabulary: Vec<_> = names.into_iter().map(|name| (name, 0.0)).chain(rest).collect();
    if class == Class::Gemma
        && vocabulary.iter().all(|(text, _)| text != "\t")
        && let Some(tab) = vocabulary.iter_mut().find(|(text, _)| text == "<0x09>")
    {
        *tab = ("\t".to_owned(), 0.0);
    }
    Ok(vocabulary)
}

fn model_json(
    model: &Model,
    class: Class,
    vocabulary: &[(String, f64)],
    numbers: &HashMap<&str, usize>,
) -> Result<Value> {
    if model.algorithm()? == Algorithm::Unigram {
        let unknown = if class == Class::Gemma { 3 } else { 0 };
        return Ok(json!({"type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": true}));
    }
    let pieces = model.pieces.iter().enumerate();
    let mut of_model: HashMap<&str, usize> = pieces.map(|(number, piece)| (piece.text(), number)).collect();
    if class == Class::Gemma && !of_model.contains_key("\t") {
        let tab = *of_model.get("<0x09>").context("it has neither a tab nor its byte")?;
        of_model.insert("\t", tab);
    }
    let pairs = merges(&of_model, vocabulary.iter().map(|(text, score)| (text.as_str(), *score)));
    for (left, right) in &pairs {
        let there = numbers.contains_key(left) && numbers.contains_key(right);
        ensure!(
            there,
            "it merges `{}` and `{}`, which are no pieces",
            left.escape_debug(),
            right.escape_debug()
        );
    }
    let texts: Map<String, Value> =
        vocabulary.iter().enumerate().map(|(number, (text, _))| (text.clone(), number.into())).collect();
    Ok(json!({
        "type": "BPE", "dropout": null, "unk_token": model.unknown(), "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": texts,
        "merges": pairs
    }))
}

/// Whether a token can stand in the template of a post-processor.
pub(crate) fn is_plain(token: &str) -> bool {
    !token.is_empty()
        && !token.contains(':')
        && !token.contains(char::is_whitespace)
        && !token.starts_with('$')
}

/// What is put before and after a text, or a pair of them.
fn post_processor(tokens: &Tokens, added: &Added, ends: [(&str, bool); 2]) -> Result<Value> {
    let mut special = BTreeMap::new();
    let mut end = |(name, wanted): (&str, bool)| -> Result<Option<String>> {
        if !wanted {
            return Ok(None);
        }
        let text = tokens.text(name).with_context(|| format!("there is no {name} to add"))?;
        ensure!(is_plain(text), "`{}` cannot stand in a template", text.escape_debug());
        let number = added.number(text).with_context(|| format!("there is no {name}"))?;
        special.insert(text.to_owned(), json!({"id": text, "ids": [number], "tokens": [text]}));
        Ok(Some(text.to_owned()))
    };
    let (begin, end) = (end(ends[0])?, end(ends[1])?);
    let part = |sequence: &str, kind: u8| {
        let token = |text: &Option<String>| {
            text.iter().map(|text| json!({"SpecialToken": {"id": text, "type_id": kind}})).collect::<Vec<_>>()
        };
        let text = vec![json!({"Sequence": {"id": sequence, "type_id": kind}})];
        [token(&begin), text, token(&end)].concat()
    };
    let single = part("A", 0);
    let pair = [single.clone(), part("B", 1)].concat();
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}))
}

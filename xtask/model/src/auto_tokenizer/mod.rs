//! How many tokens a tokenizer has: `len(AutoTokenizer.from_pretrained(DIR, use_fast=True))` of Python's
//! `transformers` 4.57.6 with `tokenizers` 0.22.2, for a directory with a `tokenizer.json`.
//!
//! That library collects tokens from five files and from defaults of the class that they name, and refuses much. What
//! looks odd here is so there. Which class does what is a table ([`crate::tokenizer_class`]).

mod added;
mod choose;
mod value;

use self::{
    choose::choose,
    value::{all, token},
};
use crate::{
    expression::truth,
    sound_tokenizer::check,
    tokenizer_class::{Check, Classes, FastClass, Found, Given, classes},
    tokenizer_json::{self, Settings},
};
use anyhow::Result;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The attributes of a tokenizer that are tokens.
const SPECIAL: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const ADDITIONAL: &str = "additional_special_tokens";
const DECODER: &str = "added_tokens_decoder";

/// The files of a directory, as far as they are asked for.
pub(crate) struct Files<'a> {
    /// `config.json`.
    pub config: &'a Map<String, Value>,
    /// `tokenizer.json`.
    pub tokenizer: &'a Value,
    /// JSON by the name of its file: nothing where there is none, null where the file is not JSON.
    pub json: &'a dyn Fn(&str) -> Result<Option<Value>>,
    /// The bytes of `tokenizer.model`.
    pub model: &'a dyn Fn() -> Result<Vec<u8>>,
    /// Whether there is a file of this name.
    pub has: &'a dyn Fn(&str) -> bool,
}

/// How many tokens there are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Tokens(u64),
    /// The library does not load this tokenizer: why.
    Refused(String),
    /// The library may load this tokenizer, in a way that is not followed here: why.
    Unknown(String),
}

/// Why there is no number.
enum Stop {
    Refused(String),
    Unknown(String),
    Error(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

type Loaded<T> = Result<T, Stop>;

fn refused<T>(reason: impl Into<String>) -> Loaded<T> {
    Err(Stop::Refused(reason.into()))
}

/// Refuses unless something holds.
fn must(holds: bool, reason: &str) -> Loaded<()> {
    if holds { Ok(()) } else { refused(reason) }
}

/// Counts the tokens of a tokenizer.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn count(files: &Files) -> Result<Count> {
    match load(files) {
        Ok(tokens) => Ok(Count::Tokens(tokens.len() as u64)),
        Err(Stop::Refused(reason)) => Ok(Count::Refused(reason)),
        Err(Stop::Unknown(reason)) => Ok(Count::Unknown(reason)),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// The distinct tokens.
fn load(files: &Files) -> Loaded<BTreeSet<String>> {
    let settings = match (files.json)("tokenizer_config.json")? {
        None => Map::new(),
        Some(Value::Object(settings)) => settings,
        Some(_) => return refused("tokenizer_config.json is not a JSON object"),
    };
    let classes = classes()?;
    let class = match choose(files, &settings, &classes)? {
        Found::Fast(class) => class,
        Found::Slow(needed) if !needed.is_empty() && !needed.iter().any(|file| (files.has)(file)) => {
            return refused(format!("its class reads {}, not tokenizer.json", needed.join(", ")));
        }
        Found::Slow(_) => {
            return Err(Stop::Unknown(
                "its class is one in Python, which does not read tokenizer.json".to_owned(),
            ));
        }
    };
    Loading { files, class, classes: &classes, settings }.run()
}

/// A special token of a configuration.
#[derive(Clone, Debug)]
enum Special {
    Null,
    Token(String),
    /// A list, or what makes a class fail.
    Other(Value),
}

struct Loading<'a> {
    files: &'a Files<'a>,
    class: &'a FastClass,
    classes: &'a Classes,
    settings: Map<String, Value>,
}

impl Loading<'_> {
    fn checks(&self, check: Check) -> bool {
        self.class.checks.contains(&check)
    }

    fn run(mut self) -> Loaded<BTreeSet<String>> {
        let versions = self.settings.get("fast_tokenizer_files").and_then(Value::as_array);
        let is_version = |file: &Value| file.as_str().is_some_and(|file| file != "tokenizer.json");
        if versions.is_some_and(|files| files.iter().any(is_version)) {
            return Err(Stop::Unknown(
                "it names a tokenizer.json for each version of the library".to_owned(),
            ));
        }
        self.settings.remove("tokenizer_class");
        let arguments = self.settings.remove("init_inputs");
        let is_empty = arguments.is_none_or(|arguments| !truth(&arguments));
        must(is_empty || self.class.variadic, "`init_inputs` stand where the class takes files")?;
        let mut tokens = BTreeSet::new();
        let special = self.added(&mut tokens)?;
        self.keys()?;
        let special = self.special(special)?;
        self.base(&special, &mut tokens)?;
        self.after(&special)?;
        tokens.extend(special.into_values().flatten());
        tokens.remove("");
        Ok(tokens)
    }

    /// Refuses keys that no class takes.
    fn keys(&self) -> Loaded<()> {
        let taken = ["self", "tokenizer_object", "__slow_tokenizer"];
        for key in self.settings.keys() {
            let conflicts =
                [&self.classes.methods, &self.class.methods].iter().any(|names| names.contains(key));
            let is_set = taken.contains(&key.as_str()) && (key == "self" || !self.settings[key].is_null());
            must(
                !conflicts && !is_set,
                &format!("tokenizer_config.json has `{}`, which is a method", key.escape_debug()),
            )?;
        }
        for key in ["padding_side", "truncation_side"] {
            let is_side = |side: &Value| side == "right" || side == "left";
            must(self.settings.get(key).is_none_or(is_side), &format!("`{key}` is neither right nor left"))?;
        }
        if let Some(Value::Array(templates)) = self.settings.get("chat_template") {
            let is_template = |it: &Value| it.get("name").is_some() && it.get("template").is_some();
            must(templates.iter().all(is_template), "a chat template has no name")?;
        }
        let lacks = self.class.needs.iter().find(|key| !self.settings.contains_key(*key));
        must(lacks.is_none() && self.class.loads, "its class lacks what it needs")?;
        let says_begin = self.settings.get("add_bos_token").is_some_and(truth);
        must(!(self.checks(Check::NoBos) && says_begin), "its class takes no `add_bos_token`")
    }

    /// The special tokens by their attributes, with the defaults of the class.
    fn special(&self, mut given: BTreeMap<String, Special>) -> Loaded<BTreeMap<String, Vec<String>>> {
        let mut result = BTreeMap::new();
        let additional = self.additional(&mut given)?;
        if !additional.is_empty() {
            result.insert(ADDITIONAL.to_owned(), additional);
        }
        for name in SPECIAL {
            let token = match given.remove(name) {
                Some(Special::Token(token)) => Some(token),
                Some(Special::Null) => None,
                Some(Special::Other(_)) => return refused(format!("`{name}` is neither text nor a token")),
                None => self.class.tokens.get(name).cloned().or_else(|| {
                    let pad = if name == "pad_token" && !self.class.pads {
                        self.files.tokenizer["padding"].get(name)
                    } else {
                        None
                    };
                    pad.and_then(Value::as_str).map(str::to_owned)
                }),
            };
            if let Some(token) = token {
                result.insert(name.to_owned(), vec![token]);
            }
        }
        match self.settings.get("extra_special_tokens") {
            None => {}
            Some(Value::Object(extra)) => {
                for (name, value) in extra {
                    match token(value)? {
                        Some(token) => result.insert(name.clone(), vec![token]),
                        None => {
                            return refused("`extra_special_tokens` has what is neither text nor a token");
                        }
                    };
                }
            }
            Some(_) => return refused("`extra_special_tokens` is not an object"),
        }
        Ok(result)
    }

    fn additional(&self, given: &mut BTreeMap<String, Special>) -> Loaded<Vec<String>> {
        let mut own = Vec::new();
        for (key, default) in &self.class.additional_keys {
            match given.remove(key) {
                None => own.push(default.clone()),
                Some(Special::Token(token)) => own.push(token),
                Some(Special::Null) => {}
                Some(Special::Other(_)) => return refused(format!("`{key}` is neither text nor a token")),
            }
        }
        let list = match given.remove(ADDITIONAL) {
            None => None,
            Some(Special::Null) => Some(None),
            Some(Special::Other(Value::Array(list))) => {
                let tokens: Option<Vec<_>> = list.iter().map(token).collect::<Loaded<_>>()?;
                let Some(tokens) = tokens else {
                    return refused("a special token is neither text nor a token");
                };
                Some(Some(tokens))
            }
            Some(_) => return refused("`additional_special_tokens` is not a list"),
        };
        let outcome = match (&list, self.class.additional_with[..].first(), self.class.additional_with.get(1))
        {
            (Some(Some(_)), Some(with), _) | (Some(None), _, Some(with)) => *with,
            _ => Given::Kept,
        };
        must(outcome != Given::Refused, "its class takes no `additional_special_tokens`")?;
        let was_given = matches!(list, Some(Some(_)));
        let mut tokens = list.flatten().unwrap_or_default();
        if self.checks(Check::ExtraIds) {
            return self.extra_ids(tokens, was_given);
        }
        if self.checks(Check::Offset) {
            return self.offset(tokens, own, was_given);
        }
        if outcome == Given::Kept {
            tokens.extend(self.class.additional.iter().cloned());
        }
        tokens.extend(own);
        Ok(tokens)
    }

    fn extra_ids(&self, mut tokens: Vec<String>, was_given: bool) -> Loaded<Vec<String>> {
        let Some(count) = self.settings.get("extra_ids").map_or(Some(100), Value::as_i64) else {
            return refused("`extra_ids` is not a number");
        };
        let extra = tokens.iter().filter(|token| token.contains("<extra_id_")).count() as i64;
        if was_given && extra > 0 {
            must(
                count <= 0 || count == extra,
                "`extra_ids` and `additional_special_tokens` contradict each other",
            )?;
        } else {
            must(count < 1_000_000, "`extra_ids` is too large")?;
            tokens.extend((0..count).map(|number| format!("<extra_id_{number}>")));
        }
        Ok(tokens)
    }

    fn offset(&self, mut tokens: Vec<String>, own: Vec<String>, was_given: bool) -> Loaded<Vec<String>> {
        let Some(offset) = self.settings.get("offset").map_or(Some(103), Value::as_i64) else {
            return refused("`offset` is not a number");
        };
        must(offset < 1_000_000, "`offset` is too large")?;
        if !was_given {
            return Ok(own.into_iter().chain((2..offset).map(|number| format!("<unk_{number}>"))).collect());
        }
        tokens.extend(own.into_iter().filter(|token| !tokens.contains(token)).collect::<Vec<_>>());
        tokens.extend((tokens.len() as i64..offset - 1).map(|number| format!("<unk_{number}>")));
        let distinct: BTreeSet<_> = tokens.iter().collect();
        must(distinct.len() == tokens.len(), "`additional_special_tokens` has a token twice")?;
        Ok(tokens)
    }

    /// Collects the tokens of the vocabulary.
    fn base(&self, special: &BTreeMap<String, Vec<String>>, tokens: &mut BTreeSet<String>) -> Loaded<()> {
        let is_named =
            |name: &str, token: &str| special.get(name).is_some_and(|it| it[..] == [token.to_owned()]);
        let from_slow = self.settings.get("from_slow").is_some_and(truth)
            || self.checks(Check::PrefixFromSlow)
                && self.settings.get("add_prefix_space").is_some_and(|it| !it.is_null())
            || self.checks(Check::Offset)
                && !(is_named("pad_token", "<pad>")
                    && is_named("eos_token", "</s>")
                    && is_named("unk_token", "<unk>"));
        match self.settings.get("tokenizer_file") {
            None if !from_slow => {
                if let Err(reason) = check(self.files.tokenizer) {
                    return refused(format!("tokenizer.json is not one that `tokenizers` reads: {reason}"));
                }
                tokens.extend(all(self.files.tokenizer));
                return Ok(());
            }
            Some(Value::Null) | None => {}
            Some(_) if from_slow => {}
            Some(_) => return refused("`tokenizer_file` names another file"),
        }
        let Some(slow) = &self.class.slow else {
            return refused("there is no class in Python of which it could be made");
        };
        let has = |file: &str| (self.files.has)(file);
        let missing = self.class.files.iter().find(|file| !has(file));
        if let Some(missing) = missing.filter(|_| {
            matches!(
                slow.as_str(),
                "LlamaTokenizer"
                    | "GemmaTokenizer"
                    | "CodeLlamaTokenizer"
                    | "GPT2Tokenizer"
                    | "Qwen2Tokenizer"
            )
        }) {
            return refused(format!("it is made of {missing}, which is missing"));
        }
        must(self.class.files.iter().any(|file| has(file)), "the files that it is made of are missing")?;
        let unknown = |reason: &str| {
            Err(Stop::Unknown(format!("it is made of {}: {reason}", self.class.files.join(", "))))
        };
        match slow.as_str() {
            "LlamaTokenizer" | "GemmaTokenizer" => {
                let mut tokenizer = self.settings.clone();
                tokenizer.remove(DECODER);
                tokenizer.insert("tokenizer_class".to_owned(), slow.as_str().into());
                let settings = Settings { tokenizer, ..Settings::default() };
                match tokenizer_json::convert(&(self.files.model)()?, &settings) {
                    Ok(text) => tokens.extend(all(&serde_json::from_str(&text).unwrap_or_default())),
                    Err(error) => return unknown(&format!("{error:#}")),
                }
            }
            "GPT2Tokenizer" | "Qwen2Tokenizer" => match (self.files.json)("vocab.json")? {
                Some(Value::Object(vocabulary)) => {
                    tokens.extend(vocabulary.into_iter().map(|(token, _)| token))
                }
                _ => return refused("vocab.json is not a JSON object"),
            },
            _ => return unknown("that is not followed here"),
        }
        Ok(())
    }

    /// What the class does with its tokens.
    fn after(&self, special: &BTreeMap<String, Vec<String>>) -> Loaded<()> {
        let tokenizer = self.files.tokenizer;
        must(
            !(self.checks(Check::Normalizer) && tokenizer["normalizer"].is_null()),
            "its class needs a normalizer",
        )?;
        let is_clip = tokenizer["pre_tokenizer"]["type"] == "Sequence" && tokenizer["model"]["type"] == "BPE";
        must(!self.checks(Check::Clip) || is_clip, "it is not a tokenizer of CLIP")?;
        if self.checks(Check::Language)
            && let Some(language) = self.settings.get("src_lang").filter(|it| !it.is_null())
        {
            must(
                language.as_str().is_some_and(|it| self.class.additional.iter().any(|code| code == it)),
                "`src_lang` is not known",
            )?;
        }
        // What stands around a text in a language: the language, or what stands for the unknown one, and the end.
        if self.class.methods.iter().any(|name| name == "set_src_lang_special_tokens") {
            let knows = special.contains_key("unk_token") || !self.class.additional.is_empty();
            must(knows && special.contains_key("eos_token"), "its class needs a token that ends a text")?;
        }
        if !self.checks(Check::PostProcessor) {
            return Ok(());
        }
        let says = |key: &str, default: bool| self.settings.get(key).map_or(default, truth);
        for (name, wanted) in [
            ("bos_token", says("add_bos_token", self.class.add_bos_token)),
            ("eos_token", says("add_eos_token", false)),
        ] {
            let token = special.get(name).and_then(|tokens| tokens.first());
            if wanted {
                let stands = |token: &String| match token.as_str() {
                    // It is not added, and gets the number of the unknown token.
                    "" => special.contains_key("unk_token"),
                    // The text itself.
                    "$" | "$A" | "$a" => true,
                    token => tokenizer_json::is_plain(token),
                };
                must(token.is_some_and(stands), &format!("`{name}` cannot stand before or after a text"))?;
            }
        }
        Ok(())
    }
}

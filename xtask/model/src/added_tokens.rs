//! Tokens beside a vocabulary, as Python's `transformers` 4.57 collects them from the files beside a model.
//!
//! That library reads every configuration twice: for a tokenizer in Python, and for one in Rust that is made of it. What
//! looks odd here is so there.

use crate::{
    sentencepiece::Model,
    tokenizer_json::{Class, Settings},
};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The attributes of a tokenizer that are tokens, in the order in which they are added.
const SPECIAL: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const ADDITIONAL: &str = "additional_special_tokens";
/// A token that is found in a text before the text is cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Token {
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

/// A token of a configuration, and whether that says if texts are normalized first: if not, special tokens decide.
#[derive(Clone, Debug)]
struct Configured {
    token: Token,
    is_said: bool,
}

/// Two are the same when they do the same, whoever said so.
impl PartialEq for Configured {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

/// A special token as a configuration has it.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Text(String),
    Token(Configured),
    /// An object that becomes a token later.
    Object(Configured),
}

impl Token {
    /// As pieces and the usual special tokens are added.
    pub fn new(content: &str, special: bool) -> Self {
        Self { normalized: false, ..Self::named(content, special) }
    }

    /// As plain text is added.
    fn named(content: &str, special: bool) -> Self {
        let content = content.to_owned();
        Self { content, single_word: false, lstrip: false, rstrip: false, normalized: !special, special }
    }
}

impl Configured {
    fn of_object(object: &Map<String, Value>) -> Result<Self> {
        let content = object.get("content").and_then(Value::as_str).context("a token has no `content`")?;
        let flag =
            |name: &str| object.get(name).map(|value| value.as_bool().context("a token has a bad flag"));
        let special = flag("special").transpose()?.unwrap_or(false);
        let mut token = Token::named(content, special);
        let fields = [
            (&mut token.single_word, "single_word"),
            (&mut token.lstrip, "lstrip"),
            (&mut token.rstrip, "rstrip"),
            (&mut token.normalized, "normalized"),
        ];
        for (field, name) in fields {
            *field = flag(name).transpose()?.unwrap_or(*field);
        }
        Ok(Self { token, is_said: object.contains_key("normalized") })
    }

    fn said(token: Token) -> Self {
        Self { token, is_said: true }
    }

    fn marked(mut self, special: bool) -> Token {
        self.token.special |= special;
        if !self.is_said {
            self.token.normalized = !self.token.special;
        }
        self.token
    }
}

impl Given {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Token(it) => Some(&it.token.content),
            Self::Object(_) => None,
        }
    }

    /// Text, or what says of itself that it is a token.
    fn read(value: &Value) -> Result<Option<Self>> {
        Ok(match value {
            Value::Null => None,
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Object(object) if object.get("__type").is_some_and(|it| it == "AddedToken") => {
                Some(Self::Object(Configured::of_object(object)?))
            }
            _ => bail!("a special token is neither text nor a token"),
        })
    }
}

/// The tokens that the files beside the model name.
pub(crate) struct Tokens {
    /// By number.
    decoder: BTreeMap<i64, Configured>,
    /// Of [`SPECIAL`], those that there are.
    special: HashMap<&'static str, Given>,
    additional: Vec<Given>,
}

impl Tokens {
    pub fn read(settings: &Settings, class: Class) -> Result<Self> {
        let mut special: HashMap<&'static str, Option<Given>> = HashMap::new();
        for name in SPECIAL {
            if let Some(value) = settings.tokenizer.get(name) {
                special.insert(name, Given::read(value)?);
            }
        }
        let list = |value: &Value| -> Result<Vec<Given>> {
            let values = match value {
                Value::Null => return Ok(Vec::new()),
                value => value.as_array().with_context(|| format!("`{ADDITIONAL}` is not a list"))?,
            };
            let given = values.iter().map(|value| Given::read(value)?.context("a special token is null"));
            given.collect()
        };
        let mut additional = list(settings.tokenizer.get(ADDITIONAL).unwrap_or(&Value::Null))?;
        let mut decoder = BTreeMap::new();
        let mut known: HashMap<String, Configured> = HashMap::new();
        if let Some(tokens) = settings.tokenizer.get("added_tokens_decoder") {
            let tokens = tokens.as_object().context("`added_tokens_decoder` is not an object")?;
            for (number, token) in tokens {
                let token =
                    Configured::of_object(token.as_object().context("an added token is not an object")?)?;
                known.insert(token.token.content.clone(), token.clone());
                decoder.insert(number.parse().context("an added token has no number")?, token);
            }
        } else {
            // A variable of the library that is not what it should be.
            let mut last = "None".to_owned();
            for (key, value) in &settings.special {
                let as_token = |value: &Value| -> Result<Given> {
                    Ok(match value {
                        Value::Object(object) => {
                            let mut object = object.clone();
                            object.insert("special".to_owned(), true.into());
                            Given::Token(Configured::of_object(&object)?)
                        }
                        value => Given::read(value)?.context("a special token is null")?,
                    })
                };
                if key == ADDITIONAL {
                    for value in value.as_array().with_context(|| format!("`{ADDITIONAL}` is not a list"))? {
                        let given = as_token(value)?;
                        last = given.text().unwrap_or("None").to_owned();
                        if !additional.contains(&given) {
                            additional.push(given);
                        }
                    }
                } else if let Some(name) = SPECIAL.into_iter().find(|name| name == key) {
                    let given = if value.is_null() { None } else { Some(as_token(value)?) };
                    special.insert(name, given);
                }
            }
            let marked: Vec<String> = special
                .values()
                .flatten()
                .chain(&additional)
                .filter_map(|given| given.text().map(str::to_owned))
                .collect();
            for (content, number) in &settings.added {
                let number = number.as_i64().context("an added token has no number")?;
                let token = Configured::said(Token::named(content, marked.contains(content)));
                known.insert(last.clone(), token.clone());
                decoder.insert(number, token);
            }
        }
        let resolve = |given: Given| match given {
            Given::Object(token) => Given::Token(token),
            given => given,
        };
        let names = match class {
            Class::Llama => [("bos_token", Some("<s>")), ("eos_token", Some("</s>")), ("pad_token", None)],
            Class::Gemma => {
                [("bos_token", Some("<bos>")), ("eos_token", Some("<eos>")), ("pad_token", Some("<pad>"))]
            }
        };
        let defaults = names.into_iter().chain([("unk_token", Some("<unk>"))]);
        let mut resolved: HashMap<&'static str, Given> = HashMap::new();
        for (name, given) in special.iter().filter_map(|(name, given)| Some((*name, given.clone()?))) {
            let given = resolve(given);
            let token = given.text().and_then(|text| known.get(text)).cloned();
            resolved.insert(name, token.map_or(given, Given::Token));
        }
        for (name, default) in defaults {
            let text = match resolved.get(name) {
                Some(Given::Text(text)) => Some(text.clone()),
                Some(_) => None,
                None if special.contains_key(name) => None,
                None => default.map(str::to_owned),
            };
            if let Some(text) = text {
                resolved.insert(name, Given::Token(Configured::said(Token::new(&text, true))));
            }
        }
        Ok(Self { decoder, special: resolved, additional: additional.into_iter().map(resolve).collect() })
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.special.get(name)?.text()
    }

    /// Every special token once.
    fn all(&self) -> Vec<&Given> {
        let mut all: Vec<&Given> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for given in SPECIAL.iter().filter_map(|name| self.special.get(name)) {
            let text = given.text().unwrap_or("");
            if !seen.contains(&text) {
                seen.push(text);
                all.push(given);
            }
        }
        let more = self.additional.iter().filter(|given| !seen.contains(&given.text().unwrap_or("")));
        let more: Vec<_> = more.collect();
        all.extend(more);
        all
    }

    /// What the tokenizer in Python calls the first three numbers.
    pub fn first_names(&self, model: &Model) -> Vec<String> {
        let mut names: BTreeMap<i64, &str> =
            self.decoder.iter().map(|(number, it)| (*number, it.token.content.as_str())).collect();
        let piece = |number: usize| model.pieces.get(number).map(|piece| piece.text());
        let mut numbers: HashMap<&str, i64> = HashMap::new();
        for number in 0..model.pieces.len() {
            let name = names.get(&(number as i64)).copied().or_else(|| piece(number));
            if let Some(name) = name {
                numbers.insert(name, number as i64);
            }
        }
        numbers.extend(self.decoder.iter().map(|(number, it)| (it.token.content.as_str(), *number)));
        let start = numbers.len() as i64;
        let mut new = 0;
        for given in self.all() {
            let Some(text) = given.text().filter(|text| !text.is_empty()) else { continue };
            let is_there = names.values().any(|name| *name == text);
            if is_there && matches!(given, Given::Text(_)) {
                continue;
            }
            let number = *numbers.entry(text).or_insert_with(|| {
                new += 1;
                start + new - 1
            });
            names.insert(number, text);
        }
        let name = |number: usize| names.get(&(number as i64)).copied().or_else(|| piece(number));
        (0..3).filter_map(|number| name(number).map(str::to_owned)).collect()
    }

    pub fn add_to(&self, added: &mut Added) {
        let all = self.all();
        let is_special = |text: &str| all.iter().any(|given| given.text() == Some(text));
        let from_decoder: Vec<Configured> = self.decoder.values().cloned().collect();
        let mut tokens = from_decoder.clone();
        for given in &all {
            match given {
                Given::Text(text) => {
                    let there = from_decoder.iter().map(|it| &it.token).chain(added.tokens.values());
                    if there.into_iter().all(|token| token.content != *text) {
                        tokens.push(Configured::said(Token::named(text, true)));
                    }
                }
                // What went through the tokenizer in Python says it.
                Given::Token(it) | Given::Object(it) => {
                    if !from_decoder.contains(it) {
                        tokens.push(Configured::said(it.token.clone()));
                    }
                }
            }
        }
        let mark = |it: Configured| {
            let special = is_special(&it.token.content);
            it.marked(special)
        };
        added.add(tokens.into_iter().map(mark));
    }
}

/// The tokens beside the vocabulary, by number.
pub(crate) struct Added<'a> {
    numbers: &'a HashMap<&'a str, usize>,
    tokens: BTreeMap<usize, Token>,
}

impl<'a> Added<'a> {
    /// None yet, beside a vocabulary.
    pub fn new(numbers: &'a HashMap<&'a str, usize>) -> Self {
        Self { numbers, tokens: BTreeMap::new() }
    }

    pub fn number(&self, content: &str) -> Option<usize> {
        let added = self.tokens.iter().find(|(_, token)| token.content == content).map(|(number, _)| *number);
        added.or_else(|| self.numbers.get(content).copied())
    }

    /// Adds tokens, or changes what they do; those that were there before the first of them are left out, even where
    /// they were changed meanwhile.
    pub fn add(&mut self, tokens: impl Iterator<Item = Token>) {
        let mut known: HashSet<Token> = self.tokens.values().cloned().collect();
        for token in tokens {
            if token.content.is_empty() || !known.insert(token.clone()) {
                continue;
            }
            let next = self.tokens.keys().next_back().map_or(0, |last| last + 1).max(self.numbers.len());
            let number = self.number(&token.content).unwrap_or(next);
            self.tokens.insert(number, token);
        }
    }

    pub fn json(&self) -> Result<Value> {
        #[derive(Serialize)]
        struct Numbered<'a> {
            id: usize,
            #[serde(flatten)]
            token: &'a Token,
        }
        let tokens: Vec<_> = self.tokens.iter().map(|(id, token)| Numbered { id: *id, token }).collect();
        serde_json::to_value(tokens).context("cannot write JSON")
    }
}

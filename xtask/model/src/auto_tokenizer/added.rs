//! The tokens that the files beside `tokenizer.json` add.

use super::{
    ADDITIONAL, DECODER, Loaded, Loading, SPECIAL, Special, refused,
    value::{Number, added_token, python_int, python_text, token},
};
use crate::{expression::truth, tokenizer_class::Check};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

impl Loading<'_> {
    /// Collects the tokens that the files beside `tokenizer.json` add, and gives the special ones that they name.
    pub fn added(&mut self, tokens: &mut BTreeSet<String>) -> Loaded<BTreeMap<String, Special>> {
        let decoder = self.settings.get(DECODER).cloned();
        if let Some(decoder) = decoder {
            let Value::Object(decoder) = decoder else {
                return refused("`added_tokens_decoder` is not an object");
            };
            let mut numbered = BTreeMap::new();
            for (number, token) in &decoder {
                let Some(number) = python_int(number) else { return refused("an added token has no number") };
                numbered.insert(number, added_token(token)?);
            }
            // Pegasus takes it, and adds none of it.
            if !self.checks(Check::Offset) {
                tokens.extend(numbered.into_values());
            }
            return self.named(&mut Map::new());
        }
        let mut special = Map::new();
        // A variable of the library that is not what it should be.
        let mut last = "None".to_owned();
        match (self.files.json)("special_tokens_map.json")? {
            None => {}
            Some(Value::Object(map)) => {
                for (key, value) in map {
                    let value = match value {
                        Value::Object(_) => {
                            json!({ "__type": "AddedToken", "content": added_token(&value)? })
                        }
                        Value::Array(list) if key == ADDITIONAL => {
                            let before = special.get(ADDITIONAL).or_else(|| self.settings.get(ADDITIONAL));
                            let mut all = match before {
                                Some(Value::Array(before)) => before.clone(),
                                Some(before) if truth(before) => {
                                    return refused("`additional_special_tokens` is not a list");
                                }
                                _ => Vec::new(),
                            };
                            for token in list {
                                let token = match token {
                                    Value::Object(_) => {
                                        json!({ "__type": "AddedToken", "content": added_token(&token)? })
                                    }
                                    token => token,
                                };
                                last = python_text(&token);
                                all.push(token);
                            }
                            Value::Array(all)
                        }
                        value => value,
                    };
                    special.insert(key, value);
                }
            }
            Some(_) => return refused("special_tokens_map.json is not a JSON object"),
        }
        let mut numbered: BTreeMap<Number, String> = BTreeMap::new();
        let mut replaced = None;
        match (self.files.json)("added_tokens.json")? {
            None => {}
            Some(Value::Object(map)) => {
                for (content, number) in map {
                    let Some(number) = Number::of(&number) else {
                        return refused("added_tokens.json gives no numbers");
                    };
                    replaced = Some(content.clone());
                    numbered.insert(number, content);
                }
            }
            Some(_) => return refused("added_tokens.json is not a JSON object"),
        }
        let Some(added) = self.files.tokenizer.get("added_tokens").and_then(Value::as_array) else {
            return refused("tokenizer.json has no `added_tokens`");
        };
        for token in added {
            let Some(number) = token.get("id").and_then(Number::of) else {
                return refused("an added token has no `id`");
            };
            let content = added_token(token)?;
            if content == last {
                replaced = None;
            }
            numbered.insert(number, content);
        }
        if !self.checks(Check::Offset) {
            tokens.extend(numbered.into_values());
        }
        let mut named = self.named(&mut special)?;
        if let Some(replaced) = replaced {
            for name in SPECIAL {
                if let Some(Special::Token(token)) =
                    named.get_mut(name).filter(|it| matches!(it, Special::Token(token) if *token == last))
                {
                    token.clone_from(&replaced);
                }
            }
        }
        Ok(named)
    }

    /// The values of all keys that may be special tokens, those of `special` before those of `tokenizer_config.json`.
    fn named(&mut self, special: &mut Map<String, Value>) -> Loaded<BTreeMap<String, Special>> {
        self.settings.append(special);
        let own = self.class.additional_keys.keys().map(String::as_str);
        let names = SPECIAL.into_iter().chain([ADDITIONAL]).chain(own);
        let mut result = BTreeMap::new();
        for (name, value) in names.filter_map(|name| Some((name, self.settings.get(name)?))) {
            let value = match value {
                Value::Null => Special::Null,
                value => match token(value)? {
                    Some(token) => Special::Token(token),
                    None => Special::Other(value.clone()),
                },
            };
            result.insert(name.to_owned(), value);
        }
        Ok(result)
    }
}

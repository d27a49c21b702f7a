//! Which class is taken.

use super::{Files, Loaded, must, refused};
use crate::tokenizer_class::{Classes, Found};
use serde_json::{Map, Value};

/// The class that the configurations name.
pub fn choose<'a>(files: &Files, settings: &Map<String, Value>, classes: &'a Classes) -> Loaded<Found<'a>> {
    let not_null =
        |map: &Map<String, Value>, key: &str| map.get(key).filter(|value| !value.is_null()).cloned();
    let mut code = match settings.get("auto_map") {
        None => None,
        Some(Value::Array(list)) => Some(Value::Array(list.clone())),
        Some(Value::Object(map)) => not_null(map, "AutoTokenizer"),
        Some(_) => return refused("`auto_map` of tokenizer_config.json is neither an object nor a list"),
    };
    let mut named = not_null(settings, "tokenizer_class");
    let mut of_model = None;
    if named.is_none() {
        let model_type = files.config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let Some(class) = classes.models.get(model_type) else {
            return refused(format!(
                "no `tokenizer_class` is named, and the model type `{}` is not known",
                model_type.escape_debug()
            ));
        };
        of_model = classes.exactly(class);
        named = not_null(files.config, "tokenizer_class");
        if let Some(own) = files.config.get("auto_map").and_then(|map| map.get("AutoTokenizer")) {
            code = Some(own.clone());
        }
    }
    let name = match &named {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return refused("`tokenizer_class` is not text"),
    };
    let known = match name {
        Some(name) => classes.named(name),
        None => of_model,
    };
    if let Some(code) = code {
        let class = match &code {
            Value::Array(list) => {
                list.get(1).and_then(|fast| if fast.is_null() { list.first() } else { Some(fast) })
            }
            Value::String(text) if text.chars().count() > 1 => Some(&code),
            _ => None,
        };
        must(class.is_some_and(Value::is_string), "`auto_map` names no class")?;
        must(known.is_some(), "its class is code of the checkpoint, which is not run")?;
    }
    match (known, name) {
        (Some(found), _) => Ok(found),
        (None, Some(name)) => refused(format!("there is no class `{}`", name.escape_debug())),
        (None, None) => refused("the model type has no tokenizer"),
    }
}

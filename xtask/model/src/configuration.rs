//! The configuration of a model as the reference's class makes it of `config.json`: fields with defaults, then steps.
//!
//! A step is `field = value` or `require condition`, each perhaps behind `if condition:`; a requirement may end with a
//! sentence, `require condition: sentence`. Values and conditions are [expressions](crate::expression). `take(a, b, c)`
//! is the value of the first of these keys that `config.json` has and that is not a field, and takes it away (`a.b`: out of
//! the object `a`, which may be a field); the last may be a field or a literal instead. `longrope` is Phi 3's scaling of positions.

use crate::expression::{Scope, evaluate, names_in, truth};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::hinted;

/// Keys with values, in their order.
pub(crate) type Fields = Map<String, Value>;

/// A configuration class.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigTable {
    /// Its fields in order, each `name` or `name = default`.
    pub fields: Vec<String>,
    /// What its constructor does with them.
    pub steps: Vec<String>,
    /// The key of an object whose keys take the place of those beside it.
    #[serde(default)]
    pub merge: String,
    /// Keys that stay as they are beside that object.
    #[serde(default, rename = "merge-keeps")]
    pub merge_keeps: Vec<String>,
    /// Whether it looks into `rope_parameters` itself. Others get what is there under the keys of `transformers` 4.
    #[serde(default, rename = "reads-rope-parameters")]
    pub reads_rope_parameters: bool,
    /// The configuration of the text model inside, which keeps the keys that it does not know.
    pub text: Option<Box<ConfigTable>>,
}

impl ConfigTable {
    /// The configuration that the class makes of `source`: of `config.json`, or of one that it made before.
    ///
    /// # Errors
    /// When a key is missing or has a value that the reference refuses.
    pub fn make(&self, source: &Fields) -> Result<Fields> {
        let mut scope = self.fields(&self.merged(source))?;
        if let Some(text) = &self.text {
            let inner = match scope.fields.get("text_config") {
                Some(Value::Object(inner)) => inner.clone(),
                None | Some(Value::Null) => {
                    scope.fields.insert("is_text_model".to_owned(), true.into());
                    text.make_text(scope.rest.clone())?
                }
                Some(other) => bail!("`text_config` is {other}, not an object"),
            };
            let inner = text.make_text(inner).context("`text_config` cannot be used")?;
            scope.fields.insert("text_config".to_owned(), Value::Object(inner));
        }
        scope.run(&self.steps)?;
        Ok(scope.fields)
    }

    /// The keys of `config.json`, with those of a model inside it over them.
    fn merged(&self, source: &Fields) -> Fields {
        let mut merged = source.clone();
        if let Some(Value::Object(inner)) = source.get(&self.merge) {
            merged.shift_remove(&self.merge);
            let stays = |key: &String| self.merge_keeps.contains(key) && source.contains_key(key);
            let inner = inner.iter().filter(|(key, _)| !stays(key));
            merged.extend(inner.map(|(key, value)| (key.clone(), value.clone())));
        }
        merged
    }

    /// The same for the text model inside, whose other keys stay in `kwargs`.
    fn make_text(&self, mut source: Fields) -> Result<Fields> {
        if let Some(Value::Object(known)) = source.remove("kwargs") {
            source.extend(known);
        }
        let mut scope = self.fields(&source)?;
        scope.run(&self.steps)?;
        scope.fields.insert("kwargs".to_owned(), Value::Object(scope.rest));
        Ok(scope.fields)
    }

    fn fields(&self, source: &Fields) -> Result<Making> {
        let mut fields = Map::new();
        let mut missing = Vec::new();
        for field in &self.fields {
            let (name, default) = match field.split_once(" = ") {
                Some((name, default)) => (name, Some(default)),
                None => (field.as_str(), None),
            };
            let value = match (source.get(name), default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => evaluate(default, &|_: &str| Ok(Value::Null))?,
                (None, None) => {
                    missing.push(format!("`{name}`"));
                    continue;
                }
            };
            fields.insert(name.to_owned(), value);
        }
        ensure!(missing.is_empty(), "it has no {}, for which there is no default", missing.join(", "));
        let rest = source.iter().filter(|(key, _)| !fields.contains_key(*key) && *key != "kwargs");
        let rest = rest.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Making { fields, rest })
    }
}

/// A configuration that is being made.
struct Making {
    fields: Fields,
    /// The keys that are no fields.
    rest: Fields,
}

impl Scope for Making {
    fn value(&self, path: &str) -> Result<Value> {
        let (first, inner) = path.split_once('.').map_or((path, None), |(first, inner)| (first, Some(inner)));
        let field = self.fields.get(first).with_context(|| format!("there is no field `{first}`"))?;
        Ok(match inner {
            Some(inner) => below(field, inner)?.unwrap_or(Value::Null),
            None => field.clone(),
        })
    }

    fn key(&self, path: &str) -> Result<Option<Value>> {
        let (first, inner) = path.split_once('.').map_or((path, None), |(first, inner)| (first, Some(inner)));
        match (self.fields.get(first).or_else(|| self.rest.get(first)), inner) {
            (Some(found), Some(inner)) => {
                below(found, inner).with_context(|| format!("`{first}` cannot be used"))
            }
            (found, _) => Ok(found.cloned()),
        }
    }
}

/// What stands in an object, if it is one. A text has no keys; anything else is refused, as Python does.
fn below(value: &Value, path: &str) -> Result<Option<Value>> {
    let mut found = value.clone();
    for part in path.split('.') {
        found = match found {
            Value::Object(mut map) => match map.remove(part) {
                Some(value) => value,
                None => return Ok(None),
            },
            Value::Null | Value::String(_) | Value::Array(_) => return Ok(None),
            other => bail!("it is {other}, not an object with `{part}`"),
        };
    }
    Ok(Some(found))
}

impl Making {
    fn run(&mut self, steps: &[String]) -> Result<()> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &str) -> Result<()> {
        let rest = match step.strip_prefix("if ").and_then(|rest| rest.split_once(": ")) {
            Some((condition, rest)) if truth(&evaluate(condition, self)?) => rest,
            Some(_) => return Ok(()),
            None => step,
        };
        if let Some(requirement) = rest.strip_prefix("require ") {
            return require(requirement, self);
        }
        let (name, expression) = rest.split_once(" = ").with_context(|| format!("`{step}` is not a step"))?;
        let value = match expression.strip_prefix("take(").and_then(|rest| rest.strip_suffix(')')) {
            Some(keys) => self.take(name, &keys.split(", ").collect::<Vec<_>>())?,
            None if expression == "longrope" => long_rope(&self.fields)?,
            None => evaluate(expression, self)?,
        };
        self.fields.insert(name.to_owned(), value);
        Ok(())
    }

    fn take(&mut self, field: &str, keys: &[&str]) -> Result<Value> {
        for key in keys {
            let found = match key.split_once('.') {
                Some((object, key)) => {
                    let object = self.fields.get_mut(object).or_else(|| self.rest.get_mut(object));
                    object.and_then(Value::as_object_mut).and_then(|object| object.shift_remove(key))
                }
                None => self.rest.shift_remove(*key),
            };
            if let Some(value) = found {
                return Ok(value);
            }
        }
        match keys.last() {
            Some(last) if names_in(last).is_empty() || self.fields.contains_key(*last) => {
                evaluate(last, self)
            }
            _ => bail!("it has none of `{field}`, `{}`", keys.join("`, `")),
        }
    }
}

/// Checks `condition: sentence`. Without a sentence, the condition speaks for itself.
///
/// # Errors
/// When it does not hold; the message names the keys and their values.
pub(crate) fn require(requirement: &str, names: &dyn Scope) -> Result<()> {
    let (condition, sentence) = match requirement.split_once(": ") {
        Some((condition, sentence)) => (condition, sentence.to_owned()),
        None => (requirement, format!("MLC needs `{requirement}`")),
    };
    let holds = evaluate(condition, names).with_context(|| sentence.clone())?;
    if truth(&holds) {
        return Ok(());
    }
    let found = |name: &String| names.value(name).ok().or_else(|| names.key(name).ok().flatten());
    let shown = |name: &String| Some(format!("`{name}` is {}", found(name)?));
    let values: Vec<_> = names_in(condition).iter().filter_map(shown).collect();
    match values.is_empty() {
        true => bail!("{sentence}"),
        false => bail!("{sentence}; {}", values.join(", ")),
    }
}

/// Phi 3's scaling of positions, with what the run time needs of it.
fn long_rope(fields: &Fields) -> Result<Value> {
    let Some(Value::Object(scaling)) = fields.get("rope_scaling") else { return Ok(Value::Null) };
    let Some(kind) = scaling.get("type") else { return Ok(Value::Null) };
    ensure!(
        kind == "su" || kind == "longrope",
        "the `type` of `rope_scaling` is {kind}; MLC's Phi 3 has \"longrope\" (or \"su\", its older name)"
    );
    let mut scaling = scaling.clone();
    scaling.insert("type".to_owned(), "longrope".into());
    scaling.insert("rope_type".to_owned(), "longrope".into());
    for name in ["max_position_embeddings", "original_max_position_embeddings"] {
        scaling.insert(name.to_owned(), fields.get(name).cloned().unwrap_or(Value::Null));
    }
    Ok(Value::Object(scaling))
}

/// `config.json` as `transformers` 4 wrote it. Version 5 moved what concerns positions into `rope_parameters`.
///
/// # Errors
/// When there is a parameter set for each kind of layer, which the older form has no words for.
pub(crate) fn with_rope_keys(config: &Fields) -> Result<Fields> {
    let mut config = config.clone();
    if let Some(Value::Object(text)) = config.get("text_config") {
        let text = with_rope_keys(text).context("`text_config` cannot be used")?;
        config.insert("text_config".to_owned(), Value::Object(text));
    }
    let parameters = match config.get("rope_parameters") {
        None | Some(Value::Null) => return Ok(config),
        Some(Value::Object(parameters)) => parameters.clone(),
        Some(other) => bail!("`rope_parameters` is {other}, not an object"),
    };
    config.shift_remove("rope_parameters");
    if let (Some(Value::Object(full)), Some(Value::Object(sliding))) =
        (parameters.get("full_attention"), parameters.get("sliding_attention"))
    {
        // Gemma 3: one base for layers that see everything, another for those with a window.
        ensure!(
            parameters.len() == 2 && is_default(full) && is_default(sliding),
            hinted(
                "`rope_parameters` scales positions by kinds of layers, which MLC does not",
                "take a checkpoint without scaling"
            )
        );
        for (key, parameters) in [("rope_theta", full), ("rope_local_base_freq", sliding)] {
            if let Some(theta) = parameters.get("rope_theta").filter(|_| !config.contains_key(key)) {
                config.insert(key.to_owned(), theta.clone());
            }
        }
        return Ok(config);
    }
    ensure!(
        !parameters.values().any(Value::is_object),
        hinted(
            format!(
                "`rope_parameters` has a set for each of {:?}, which is not understood",
                parameters.keys().collect::<Vec<_>>()
            ),
            "write `rope_theta` (and `rope_scaling`) into config.json as `transformers` 4 did"
        )
    );
    ensure!(
        config.contains_key("rope_theta") || parameters.contains_key("rope_theta"),
        hinted(
            "`rope_parameters` has no `rope_theta`",
            "write `rope_theta` into config.json as `transformers` 4 did"
        )
    );
    for key in ["rope_theta", "partial_rotary_factor", "original_max_position_embeddings"] {
        if let Some(value) = parameters.get(key).filter(|_| !config.contains_key(key)) {
            config.insert(key.to_owned(), value.clone());
        }
    }
    if !is_default(&parameters) && !config.contains_key("rope_scaling") {
        let mut scaling = parameters;
        scaling.shift_remove("rope_theta");
        scaling.shift_remove("partial_rotary_factor");
        // Phi 3 looks for its kind under the older name.
        if let Some(kind) = scaling.get("rope_type").filter(|kind| *kind == "longrope").cloned() {
            scaling.entry("type").or_insert(kind);
        }
        config.insert("rope_scaling".to_owned(), Value::Object(scaling));
    }
    Ok(config)
}

fn is_default(parameters: &Fields) -> bool {
    parameters.get("rope_type").is_none_or(|kind| kind.is_null() || kind == "default")
}

/// A whole number of `mlc-chat-config.json`, which the reference makes of whatever Pydantic takes for one.
pub(crate) fn whole(name: &str, value: &Value) -> Result<Value> {
    let whole = match value {
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .filter(|value| value.fract() == 0.0 && value.abs() < 1e15)
            .map(|value| value as i64),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    whole.map(Value::from).with_context(|| format!("`{name}` is {value}, not a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        value.as_object().unwrap().clone()
    }

    fn table() -> ConfigTable {
        ConfigTable {
            fields: ["size", "heads", "dim = 0", "window = 0"].map(str::to_owned).to_vec(),
            steps: [
                "if window == 0: window = take(positions, span)",
                "if dim == 0: dim = size // heads",
                "require dim * heads == size",
            ]
            .map(str::to_owned)
            .to_vec(),
            merge: String::new(),
            merge_keeps: Vec::new(),
            reads_rope_parameters: false,
            text: None,
        }
    }

    fn made(value: Value) -> Result<Value, String> {
        table().make(&fields(value)).map(Value::Object).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_missing_gets_its_default() {
        let expected = json!({"size": 64, "heads": 4, "dim": 16, "window": 128});
        assert_eq!(made(json!({"span": 1, "heads": 4, "positions": 128, "size": 64})), Ok(expected));
        let expected = json!({"size": 64.0, "heads": 4, "dim": 16.0, "window": null});
        assert_eq!(made(json!({"heads": 4, "positions": null, "size": 64.0})), Ok(expected));
    }

    #[test]
    fn a_refusal_names_the_keys_and_what_they_are() {
        for (source, reason) in [
            (json!({"size": 64, "positions": 1}), "it has no `heads`, for which there is no default"),
            (json!({"size": 64, "heads": 4}), "it has none of `window`, `positions`, `span`"),
            (
                json!({"size": 64, "heads": 4, "dim": 15, "span": 1}),
                "`dim` is 15, `heads` is 4, `size` is 64",
            ),
            (json!({"size": 64, "heads": 4, "dim": null, "span": 1}), "`dim` is null, not a number"),
            (json!({"size": 64, "heads": 0, "span": 1}), "64 // 0 has no value"),
        ] {
            let error = made(source).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn positions_are_read_from_where_transformers_5_writes_them() {
        let rope =
            |value| with_rope_keys(&fields(value)).map(Value::Object).map_err(|error| format!("{error:#}"));
        assert_eq!(rope(json!({"rope_theta": 5})), Ok(json!({"rope_theta": 5})));
        let found = rope(json!({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}));
        assert_eq!(found, Ok(json!({"rope_theta": 1e6})));
        let found =
            rope(json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0}}));
        let scaling = json!({"rope_type": "llama3", "factor": 8.0});
        assert_eq!(found, Ok(json!({"rope_theta": 5e5, "rope_scaling": scaling})));
        let both = json!({"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}});
        let found = rope(json!({"text_config": {"rope_parameters": both}}));
        assert_eq!(found, Ok(json!({"text_config": {"rope_theta": 1e6, "rope_local_base_freq": 1e4}})));
        for (parameters, reason) in [
            (json!({"rope_type": "default"}), "has no `rope_theta`"),
            (json!({"main": {"rope_theta": 1}}), "a set for each of [\"main\"]"),
            (json!(3), "not an object"),
        ] {
            let error = rope(json!({"rope_parameters": parameters})).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}

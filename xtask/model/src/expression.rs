//! A small expression language over a model's configuration.
//!
//! The tables under `architectures/` say with it how sizes, names and conditions follow from `config.json`:
//! Python's operators `or and not == != < <= > >= + - * // %`, calls of `min` and `max`, literals, and names of
//! keys. `or` and `and` give one of their operands, as in Python, and a key that is absent is null.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Where names get their values from. `None` means that the name is not known, which reads as null.
pub(crate) type Names<'a> = &'a dyn Fn(&str) -> Result<Value>;

enum Node {
    Literal(Value),
    Name(String),
    Not(Box<Node>),
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Operator(&'static str, Box<Node>, Box<Node>),
    Call(String, Vec<Node>),
}

/// Evaluates `text`.
///
/// # Errors
/// When the text is not an expression, or arithmetic meets something that is not a whole number.
pub(crate) fn evaluate(text: &str, names: Names) -> Result<Value> {
    let context = || format!("cannot evaluate `{text}`");
    let tokens = tokens(text).with_context(context)?;
    let mut parser = Parser { tokens: &tokens };
    let node = parser.or().with_context(context)?;
    ensure!(parser.tokens.is_empty(), "cannot evaluate `{text}`: unexpected `{}`", parser.tokens[0]);
    value(&node, names).with_context(context)
}

/// Evaluates `text` to a size: a whole number that is not negative.
pub(crate) fn size(text: &str, names: Names) -> Result<u64> {
    let value = evaluate(text, names)?;
    value.as_u64().with_context(|| format!("`{text}` gives {value}, which is not a size"))
}

/// Replaces every `{expression}` in `template`.
pub(crate) fn interpolate(template: &str, names: Names) -> Result<String> {
    let mut result = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (expression, after) =
            after.split_once('}').with_context(|| format!("no `}}` in `{template}`"))?;
        result.push_str(before);
        match evaluate(expression, names)? {
            Value::String(text) => result.push_str(&text),
            Value::Number(number) => result.push_str(&number.to_string()),
            other => bail!("`{{{expression}}}` in `{template}` gives {other}, which is no name"),
        }
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

/// Whether Python would take the value for true.
pub(crate) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn tokens(text: &str) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => 2 + rest[1..].find('\'').context("a string has no end")?,
            'a'..='z' | 'A'..='Z' | '_' | '0'..='9' | '.' => {
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len())
            }
            _ if ["//", "==", "!=", "<=", ">="].iter().any(|operator| rest.starts_with(operator)) => 2,
            '<' | '>' | '+' | '-' | '*' | '%' | '(' | ')' | ',' => 1,
            other => bail!("unexpected `{other}`"),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [String],
}

impl Parser<'_> {
    fn take(&mut self, wanted: &[&'static str]) -> Option<&'static str> {
        let found = wanted.iter().find(|token| self.tokens.first().is_some_and(|first| first == *token))?;
        self.tokens = &self.tokens[1..];
        Some(found)
    }

    fn or(&mut self) -> Result<Node> {
        let mut left = self.and()?;
        while self.take(&["or"]).is_some() {
            left = Node::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Node> {
        let mut left = self.not()?;
        while self.take(&["and"]).is_some() {
            left = Node::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Node> {
        if self.take(&["not"]).is_some() {
            return Ok(Node::Not(Box::new(self.not()?)));
        }
        let left = self.sum()?;
        Ok(match self.take(&["==", "!=", "<=", ">=", "<", ">"]) {
            Some(operator) => Node::Operator(operator, Box::new(left), Box::new(self.sum()?)),
            None => left,
        })
    }

    fn sum(&mut self) -> Result<Node> {
        let mut left = self.product()?;
        while let Some(operator) = self.take(&["+", "-"]) {
            left = Node::Operator(operator, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Node> {
        let mut left = self.atom()?;
        while let Some(operator) = self.take(&["*", "//", "%"]) {
            left = Node::Operator(operator, Box::new(left), Box::new(self.atom()?));
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<Node> {
        if self.take(&["-"]).is_some() {
            let zero = Node::Literal(Value::from(0));
            return Ok(Node::Operator("-", Box::new(zero), Box::new(self.atom()?)));
        }
        if self.take(&["("]).is_some() {
            let inner = self.or()?;
            self.take(&[")"]).context("`)` is missing")?;
            return Ok(inner);
        }
        let (token, rest) = self.tokens.split_first().context("it ends too early")?;
        self.tokens = rest;
        Ok(match token.as_str() {
            "null" => Node::Literal(Value::Null),
            "true" => Node::Literal(Value::Bool(true)),
            "false" => Node::Literal(Value::Bool(false)),
            text if text.starts_with('\'') => Node::Literal(text.trim_matches('\'').into()),
            number if number.starts_with(|c: char| c.is_ascii_digit()) => {
                Node::Literal(if number.contains('.') {
                    number.parse::<f64>().with_context(|| format!("`{number}` is not a number"))?.into()
                } else {
                    number.parse::<i64>().with_context(|| format!("`{number}` is not a number"))?.into()
                })
            }
            name if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                if self.take(&["("]).is_none() {
                    return Ok(Node::Name(name.to_owned()));
                }
                let mut arguments = vec![self.or()?];
                while self.take(&[","]).is_some() {
                    arguments.push(self.or()?);
                }
                self.take(&[")"]).context("`)` is missing")?;
                Node::Call(name.to_owned(), arguments)
            }
            other => bail!("unexpected `{other}`"),
        })
    }
}

fn value(node: &Node, names: Names) -> Result<Value> {
    Ok(match node {
        Node::Literal(value) => value.clone(),
        Node::Name(name) => names(name)?,
        Node::Not(inner) => Value::Bool(!truth(&value(inner, names)?)),
        Node::Or(left, right) => match value(left, names)? {
            left if truth(&left) => left,
            _ => value(right, names)?,
        },
        Node::And(left, right) => match value(left, names)? {
            left if truth(&left) => value(right, names)?,
            left => left,
        },
        Node::Operator(operator @ ("==" | "!="), left, right) => {
            Value::Bool((value(left, names)? == value(right, names)?) == (*operator == "=="))
        }
        Node::Operator(operator, left, right) => {
            let (a, b) = (whole(left, names)?, whole(right, names)?);
            let result = match *operator {
                "<" => return Ok(Value::Bool(a < b)),
                "<=" => return Ok(Value::Bool(a <= b)),
                ">" => return Ok(Value::Bool(a > b)),
                ">=" => return Ok(Value::Bool(a >= b)),
                "+" => a.checked_add(b),
                "-" => a.checked_sub(b),
                "*" => a.checked_mul(b),
                "//" => a.checked_div_euclid(b),
                _ => a.checked_rem_euclid(b),
            };
            result.with_context(|| format!("{a} {operator} {b} has no value"))?.into()
        }
        Node::Call(name, arguments) => {
            let values =
                arguments.iter().map(|argument| whole(argument, names)).collect::<Result<Vec<_>>>()?;
            match name.as_str() {
                "min" => values.into_iter().min(),
                "max" => values.into_iter().max(),
                _ => bail!("there is no function `{name}`"),
            }
            .into()
        }
    })
}

fn whole(node: &Node, names: Names) -> Result<i64> {
    let value = value(node, names)?;
    if let (Value::Null, Node::Name(name)) = (&value, node) {
        bail!("the configuration has no `{name}`");
    }
    match &value {
        Value::Bool(value) => Ok(i64::from(*value)),
        _ => value.as_i64().with_context(|| format!("{value} is not a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(name: &str) -> Result<Value> {
        let config = json!({
            "hidden_size": 896, "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": true,
            "head_dim": null, "n_inner": 0, "hidden_act": "silu", "layer": 3
        });
        Ok(config.get(name).cloned().unwrap_or(Value::Null))
    }

    #[test]
    fn sizes_follow_from_the_configuration() {
        let head = "(head_dim or hidden_size // num_attention_heads)";
        assert_eq!(size(head, &names).unwrap(), 64);
        let rows = format!("(num_attention_heads + 2 * num_key_value_heads) * {head}");
        assert_eq!(size(&rows, &names).unwrap(), 1152);
        assert_eq!(size("n_inner or 4 * hidden_size", &names).unwrap(), 3584);
        assert_eq!(size("min(hidden_size, 512) - 2 - 1", &names).unwrap(), 509);
    }

    #[test]
    fn conditions_read_as_python() {
        for (text, expected) in [
            ("not tie_word_embeddings", false),
            ("hidden_act == 'silu' and layer % 2 == 1", true),
            ("layer >= 4 or head_dim", false),
            ("missing != null", false),
            ("-1 < 0", true),
        ] {
            assert_eq!(truth(&evaluate(text, &names).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn names_are_made_by_interpolation() {
        let name = interpolate("layers.{layer + 1}.{hidden_act}.weight", &names).unwrap();
        assert_eq!(name, "layers.4.silu.weight");
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, reason) in [
            ("missing * 2", "the configuration has no `missing`"),
            ("1 +", "it ends too early"),
            ("(1", "`)` is missing"),
            ("1 // 0", "1 // 0 has no value"),
            ("9223372036854775807 + 1", "has no value"),
            ("1 ? 2", "unexpected `?`"),
            ("1 2", "unexpected `2`"),
            ("sin(1)", "no function `sin`"),
            ("hidden_act + 1", "not a whole number"),
        ] {
            let error = format!("{:#}", evaluate(text, &names).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

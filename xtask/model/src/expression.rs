//! A small expression language over a model's configuration.
//!
//! The tables under `architectures/` say with it how sizes, names and conditions follow from `config.json`:
//! Python's operators `or and not == != < <= > >= + - * // %`, `A if C else B`, `A in (B, C)`, literals, and names of
//! keys, with what Python does with them: `or` and `and` give one of their operands, null is not a number, true is one.
//!
//! Functions: `min`, `max`; `has(key)`, whether the configuration has the key, be it null; `given(key, default)`, the value
//! of a key that is not a field; `number(value)`, whether it is one; `length(value)`, the length of a list, else null.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Where names get their values from.
pub(crate) trait Scope {
    /// The value of a name.
    fn value(&self, name: &str) -> Result<Value>;
    /// The value of a key by its path, if the configuration has it.
    fn key(&self, path: &str) -> Result<Option<Value>> {
        bail!("`{path}` cannot be looked up here")
    }
}

impl<F: Fn(&str) -> Result<Value>> Scope for F {
    fn value(&self, name: &str) -> Result<Value> {
        self(name)
    }
}

/// The scope of an evaluation.
pub(crate) type Names<'a> = &'a dyn Scope;

enum Node {
    Literal(Value),
    Name(String),
    Not(Box<Node>),
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    If { condition: Box<Node>, then: Box<Node>, other: Box<Node> },
    In(Box<Node>, Vec<Node>),
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
    let node = parser.whole().with_context(context)?;
    ensure!(parser.tokens.is_empty(), "cannot evaluate `{text}`: unexpected `{}`", parser.tokens[0]);
    value(&node, names).with_context(context)
}

/// Evaluates `text` to a size: a whole number that is not negative.
pub(crate) fn size(text: &str, names: Names) -> Result<u64> {
    let value = evaluate(text, names)?;
    value.as_u64().with_context(|| format!("`{text}` gives {value}, which is not a size"))
}

/// The names that stand in `text`, each once, in their order.
pub(crate) fn names_in(text: &str) -> Vec<String> {
    const WORDS: [&str; 15] = [
        "or", "and", "not", "if", "else", "in", "null", "true", "false", "min", "max", "has", "given",
        "number", "length",
    ];
    let is_name = |token: &String| token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let mut names: Vec<String> = Vec::new();
    for token in tokens(text).unwrap_or_default() {
        if is_name(&token) && !WORDS.contains(&token.as_str()) && !names.contains(&token) {
            names.push(token);
        }
    }
    names
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
            other => bail!("`{{{expression}}}` in `{template}` gives {other}, which is not a name"),
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
            '[' if rest.starts_with("[]") => 2,
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

    fn whole(&mut self) -> Result<Node> {
        let then = self.or()?;
        if self.take(&["if"]).is_none() {
            return Ok(then);
        }
        let condition = self.or()?;
        self.take(&["else"]).context("`else` is missing")?;
        let (condition, then, other) = (Box::new(condition), Box::new(then), Box::new(self.whole()?));
        Ok(Node::If { condition, then, other })
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
        if self.take(&["in"]).is_some() {
            self.take(&["("]).context("`(` is missing")?;
            return Ok(Node::In(Box::new(left), self.list()?));
        }
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

    /// What follows a `(`: nodes between commas, and the `)`.
    fn list(&mut self) -> Result<Vec<Node>> {
        let mut nodes = vec![self.whole()?];
        while self.take(&[","]).is_some() {
            nodes.push(self.whole()?);
        }
        self.take(&[")"]).context("`)` is missing")?;
        Ok(nodes)
    }

    fn atom(&mut self) -> Result<Node> {
        if self.take(&["-"]).is_some() {
            let zero = Node::Literal(Value::from(0));
            return Ok(Node::Operator("-", Box::new(zero), Box::new(self.atom()?)));
        }
        if self.take(&["("]).is_some() {
            let inner = self.whole()?;
            self.take(&[")"]).context("`)` is missing")?;
            return Ok(inner);
        }
        let (token, rest) = self.tokens.split_first().context("it ends too early")?;
        self.tokens = rest;
        Ok(match token.as_str() {
            "null" => Node::Literal(Value::Null),
            "true" => Node::Literal(Value::Bool(true)),
            "false" => Node::Literal(Value::Bool(false)),
            "[]" => Node::Literal(Value::Array(Vec::new())),
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
                Node::Call(name.to_owned(), self.list()?)
            }
            other => bail!("unexpected `{other}`"),
        })
    }
}

fn value(node: &Node, names: Names) -> Result<Value> {
    Ok(match node {
        Node::Literal(value) => value.clone(),
        Node::Name(name) => names.value(name)?,
        Node::Not(inner) => Value::Bool(!truth(&value(inner, names)?)),
        Node::Or(left, right) => match value(left, names)? {
            left if truth(&left) => left,
            _ => value(right, names)?,
        },
        Node::And(left, right) => match value(left, names)? {
            left if truth(&left) => value(right, names)?,
            left => left,
        },
        Node::If { condition, then, other } => match truth(&value(condition, names)?) {
            true => value(then, names)?,
            false => value(other, names)?,
        },
        Node::In(left, nodes) => {
            let left = value(left, names)?;
            for node in nodes {
                if equal(&left, &value(node, names)?) {
                    return Ok(Value::Bool(true));
                }
            }
            Value::Bool(false)
        }
        Node::Operator(operator @ ("==" | "!="), left, right) => {
            Value::Bool(equal(&value(left, names)?, &value(right, names)?) == (*operator == "=="))
        }
        Node::Operator(operator, left, right) => {
            arithmetic(operator, number(left, names)?.1, number(right, names)?.1)?
        }
        Node::Call(name, arguments) => call(name, arguments, names)?,
    })
}

fn call(name: &str, arguments: &[Node], names: Names) -> Result<Value> {
    Ok(match (name, arguments) {
        ("min" | "max", [first, others @ ..]) => {
            let mut best = number(first, names)?;
            for other in others {
                let other = number(other, names)?;
                if if name == "min" { other.1.less(best.1) } else { best.1.less(other.1) } {
                    best = other;
                }
            }
            best.0
        }
        ("has", [Node::Name(path)]) => Value::Bool(names.key(path)?.is_some()),
        ("given", [Node::Name(path)]) => names.key(path)?.unwrap_or(Value::Null),
        ("given", [Node::Name(path), default]) => match names.key(path)? {
            Some(found) => found,
            None => value(default, names)?,
        },
        ("number", [argument]) => Value::Bool(Number::of(&value(argument, names)?).is_some()),
        ("length", [argument]) => {
            value(argument, names)?.as_array().map_or(Value::Null, |list| list.len().into())
        }
        _ => bail!("there is no function `{name}` of {} values", arguments.len()),
    })
}

/// A number as Python has it, within the bounds of what configurations need.
#[derive(Clone, Copy)]
enum Number {
    Whole(i64),
    Real(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Whole(i64::from(*value))),
            Value::Number(number) if number.is_f64() => number.as_f64().map(Self::Real),
            Value::Number(number) => number.as_i64().map(Self::Whole),
            _ => None,
        }
    }

    fn real(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }

    fn less(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a < b,
            _ => self.real() < other.real(),
        }
    }
}

/// Python's `==`: numbers by value, and true is 1.
fn equal(a: &Value, b: &Value) -> bool {
    match (Number::of(a), Number::of(b)) {
        (Some(Number::Whole(a)), Some(Number::Whole(b))) => a == b,
        (Some(a), Some(b)) => a.real() == b.real(),
        _ => a == b,
    }
}

fn arithmetic(operator: &str, a: Number, b: Number) -> Result<Value> {
    match operator {
        "<" => return Ok(Value::Bool(a.less(b))),
        ">=" => return Ok(Value::Bool(!a.less(b))),
        ">" => return Ok(Value::Bool(b.less(a))),
        "<=" => return Ok(Value::Bool(!b.less(a))),
        _ => {}
    }
    let (Number::Whole(left), Number::Whole(right)) = (a, b) else {
        let (left, right) = (a.real(), b.real());
        ensure!(right != 0.0 || !matches!(operator, "//" | "%"), "{left} {operator} {right} has no value");
        return Ok(match operator {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "//" => (left / right).floor(),
            _ => left - right * (left / right).floor(),
        }
        .into());
    };
    // Python rounds quotients down.
    let quotient = || {
        let quotient = left.checked_div(right)?;
        if left % right != 0 && (left < 0) != (right < 0) { quotient.checked_sub(1) } else { Some(quotient) }
    };
    let result = match operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "//" => quotient(),
        _ => quotient().and_then(|quotient| left.checked_sub(quotient.checked_mul(right)?)),
    };
    Ok(result.with_context(|| format!("{left} {operator} {right} has no value"))?.into())
}

/// A value that must be a number, and the number.
fn number(node: &Node, names: Names) -> Result<(Value, Number)> {
    let value = value(node, names)?;
    let Some(number) = Number::of(&value) else {
        match node {
            Node::Name(name) => bail!("`{name}` is {value}, not a number"),
            _ => bail!("{value} is not a number"),
        }
    };
    Ok((value, number))
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
            ("missing == 0", false),
            ("tie_word_embeddings == 1.0", true),
            ("hidden_act in ('gelu', 'silu')", true),
            ("missing in (0, 'null')", false),
            ("(2 if n_inner else 3) == 3", true),
            ("-7 // 2 == -4 and -7 % 2 == 1 and 7 % -2 == -1", true),
            ("7.5 // 2 == 3 and number(n_inner) and not number(hidden_act)", true),
            ("min(2048, 8192.0, 2048.0) == 2048 and length(hidden_act) == null", true),
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
            ("missing * 2", "`missing` is null, not a number"),
            ("1 if 2", "`else` is missing"),
            ("1 in 2", "`(` is missing"),
            ("1 +", "it ends too early"),
            ("(1", "`)` is missing"),
            ("1 // 0", "1 // 0 has no value"),
            ("9223372036854775807 + 1", "has no value"),
            ("1 ? 2", "unexpected `?`"),
            ("1 2", "unexpected `2`"),
            ("sin(1)", "no function `sin`"),
            ("hidden_act + 1", "not a number"),
            ("has(hidden_act)", "cannot be looked up here"),
        ] {
            let error = format!("{:#}", evaluate(text, &names).unwrap_err());
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

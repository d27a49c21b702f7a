//! JSON as Python's `json` reads and writes it.
//!
//! Python keeps every whole number, reads `NaN`, `Infinity` and `-Infinity`, and takes what is too large for a double
//! for infinite. A [`Value`] has no place for those: they stand in it as an object with the one key [`LITERAL`], which
//! no text that [`parse`] takes can contain.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;

/// The key under which a number stands that a [`Value`] cannot hold.
const LITERAL: &str = "$python::number";
/// The digits of a whole number that Python reads (`sys.int_info.default_max_str_digits`).
const MOST_DIGITS: usize = 4300;

/// Reads JSON as `json.loads` does: doubles correctly rounded, whole numbers of any size, `NaN` and infinities; of a
/// key that stands twice, the last value at the first place.
///
/// # Errors
/// When the text is not JSON. A lone half of a surrogate pair, and more than 128 levels, are refused where Python takes them.
pub(crate) fn parse(text: &str) -> Result<Value> {
    let (rewritten, count) = rewrite(text)?;
    let value = serde_json::from_str(rewritten.as_deref().unwrap_or(text))?;
    ensure!(literals(&value) <= count, "the key `{LITERAL}` is reserved");
    Ok(value)
}

/// The text with objects in place of numbers that a [`Value`] cannot hold, and how many; nothing where there are none.
fn rewrite(text: &str) -> Result<(Option<String>, usize)> {
    let bytes = text.as_bytes();
    let (mut result, mut kept, mut count) = (String::new(), 0, 0);
    let mut position = 0;
    while let Some(&byte) = bytes.get(position) {
        if byte == b'"' {
            position += 1;
            while let Some(&inner) = bytes.get(position).filter(|byte| **byte != b'"') {
                position += if inner == b'\\' { 2 } else { 1 };
            }
            position += 1;
        } else if matches!(byte, b'-' | b'0'..=b'9' | b'N' | b'I') {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
            let length = bytes[position..].iter().position(|byte| !is_part(byte));
            let end = length.map_or(bytes.len(), |length| position + length);
            if let Some(replacement) = replacement(&text[position..end])? {
                result.push_str(&text[kept..position]);
                result.push_str(&replacement);
                kept = end;
                count += 1;
            }
            position = end;
        } else {
            position += 1;
        }
    }
    if count == 0 {
        return Ok((None, 0));
    }
    result.push_str(&text[kept..]);
    Ok((Some(result), count))
}

/// What stands for a token in a text that a [`Value`] can hold, where that is something else.
fn replacement(token: &str) -> Result<Option<String>> {
    let literal = |text: &str| Some(format!("{{\"{LITERAL}\":\"{text}\"}}"));
    Ok(match token {
        "NaN" | "Infinity" | "-Infinity" => literal(token),
        // A whole number has no negative zero.
        "-0" => Some("0".to_owned()),
        _ => {
            let digits = token.strip_prefix('-').unwrap_or(token);
            if digits.bytes().all(|byte| byte.is_ascii_digit()) {
                ensure!(digits.len() <= MOST_DIGITS, "a number has {} digits", digits.len());
                let fits = token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok();
                // What Python does not take for a number is left to be refused.
                if fits || digits.is_empty() || digits.starts_with('0') { None } else { literal(token) }
            } else {
                let is_infinite = |value: f64| value.is_infinite() && token.contains(['e', 'E', '.']);
                match token.parse().ok().filter(|value| is_infinite(*value)) {
                    Some(value) => literal(&repr(value)),
                    None => None,
                }
            }
        }
    })
}

/// How many objects of a value stand for numbers.
fn literals(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(literals).sum(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| usize::from(key == LITERAL) + literals(value)).sum()
        }
        _ => 0,
    }
}

/// The number that an object stands for.
fn literal(value: &Value) -> Option<&str> {
    value.as_object()?.get(LITERAL)?.as_str()
}

/// Serializes `value` as `json.dumps(value, indent=indent)` does: ASCII only, numbers as Python prints them, and no
/// newline at the end.
pub(crate) fn to_string(value: &impl Serialize, indent: usize) -> Result<String> {
    let value = serde_json::to_value(value).context("cannot write JSON")?;
    let mut text = String::new();
    Writer { text: &mut text, indent }.value(&value, 0);
    Ok(text)
}

struct Writer<'a> {
    text: &'a mut String,
    indent: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, level: usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(value) => self.text.push_str(&repr(value)),
                None => self.text.push_str(&number.to_string()),
            },
            Value::String(text) => self.string(text),
            Value::Array(values) => {
                self.members('[', ']', level, values, |writer, value| writer.value(value, level + 1))
            }
            Value::Object(map) => match literal(value) {
                Some(number) => self.text.push_str(number),
                None => self.members('{', '}', level, map, |writer, (key, value)| {
                    writer.string(key);
                    writer.text.push_str(": ");
                    writer.value(value, level + 1);
                }),
            },
        }
    }

    fn members<T>(
        &mut self,
        open: char,
        close: char,
        level: usize,
        members: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, T),
    ) {
        self.text.push(open);
        let mut any = false;
        for member in members {
            if any {
                self.text.push(',');
            }
            any = true;
            self.line(level + 1);
            write(self, member);
        }
        if any {
            self.line(level);
        }
        self.text.push(close);
    }

    fn line(&mut self, level: usize) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', self.indent * level));
    }

    fn string(&mut self, text: &str) {
        let mut units = [0; 2];
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                ' '..='~' => self.text.push(character),
                _ => {
                    for unit in character.encode_utf16(&mut units) {
                        // Writing to a string cannot fail.
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
            }
        }
        self.text.push('"');
    }
}

/// `repr(value)` of Python: the shortest digits that read back as the same number, and of those the nearest to it.
pub(crate) fn repr(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let minus = if value.is_sign_negative() { "-" } else { "" };
    let (digits, exponent) = shortest(value.abs());
    let (first, rest) = digits.split_at(1);
    match exponent {
        -4..0 => format!("{minus}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        0..16 => {
            let whole = exponent as usize + 1;
            let padded = format!("{digits:0<width$}", width = whole + 1);
            format!("{minus}{}.{}", &padded[..whole], &padded[whole..])
        }
        _ => {
            let point = if rest.is_empty() { "" } else { "." };
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{minus}{first}{point}{rest}e{sign}{:02}", exponent.abs())
        }
    }
}

/// The digits of a number, and the power of ten of the first.
fn shortest(value: f64) -> (String, i32) {
    let parts = |text: &str| {
        let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
        (digits.replace('.', ""), exponent.parse().unwrap_or(0))
    };
    let (digits, exponent) = parts(&format!("{value:e}"));
    // Of two that are equally near, Python takes the even one, and the standard library the larger one.
    let even = format!("{value:.*e}", digits.len() - 1);
    if even.parse() == Ok(value) { parts(&even) } else { (digits, exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::process::Command;

    #[test]
    fn numbers_are_pythons() {
        for (value, expected) in [
            (64944.0, "64944.0"),
            (4.501953125, "4.501953125"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1e16, "1e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e15, "1000000000000000.0"),
            (-0.0, "-0.0"),
            (5e-324, "5e-324"),
            (72.00088500976562, "72.00088500976562"),
            (-0.00012, "-0.00012"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
        ] {
            assert_eq!(repr(value), expected);
        }
    }

    #[test]
    fn text_is_pythons() {
        let value = json!({"a": [1, 2.0, [], {}, null, true], "▁\u{7f}\n\"😀": "\u{1}"});
        let expected = "{\n  \"a\": [\n    1,\n    2.0,\n    [],\n    {},\n    null,\n    true\n  ],\n  \
                        \"\\u2581\\u007f\\n\\\"\\ud83d\\ude00\": \"\\u0001\"\n}";
        assert_eq!(to_string(&value, 2).unwrap(), expected);
    }

    #[test]
    fn numbers_that_a_value_cannot_hold_are_kept() {
        for (read, written) in [
            ("30.420001983642578", "30.420001983642578"),
            ("100000000000000000000000000000000", "100000000000000000000000000000000"),
            ("-9223372036854775809", "-9223372036854775809"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e400", "Infinity"),
            ("-1.5E+309", "-Infinity"),
            ("1e-400", "0.0"),
            ("NaN", "NaN"),
            ("-Infinity", "-Infinity"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1E5", "100000.0"),
        ] {
            assert_eq!(to_string(&parse(read).unwrap(), 2).unwrap(), written);
            let inside = parse(&format!("{{\"-1e400 \\\" NaN\":[{read}, {read}],\"a\":1}}")).unwrap();
            let expected =
                format!("{{\n \"-1e400 \\\" NaN\": [\n  {written},\n  {written}\n ],\n \"a\": 1\n}}");
            assert_eq!(to_string(&inside, 1).unwrap(), expected);
        }
        let digits = "9".repeat(MOST_DIGITS + 1);
        for wrong in [
            "nan", "+1", "01", "-01", "1.", ".5", "-", "--1", "infinity", "-NaN", "1e", "0x10", "\"", &digits,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse("{\"a\": 1, \"b\": 2, \"a\": 3}").unwrap().to_string(), "{\"a\":3,\"b\":2}");
    }

    #[test]
    fn no_text_stands_for_a_number() {
        for text in ["{\"$python::number\": \"x\"}", "{\"\\u0024python::number\": \"x\"}"] {
            assert!(parse(text).unwrap_err().to_string().contains("is reserved"), "{text}");
        }
    }

    /// Doubles of every kind as text: shortest, with too few and too many digits, and as exact as they are.
    const RANDOM: &str = r#"
import json, random, struct
random.seed(57)
texts = []
while len(texts) < 100_000:
    value, = struct.unpack("<d", random.randbytes(8))
    if value - value != 0:
        continue
    texts += [repr(value), f"{value:.{random.randrange(1, 40)}e}", repr(float(f"{random.uniform(-1000, 1000):.6}"))]
    texts += [f"{random.getrandbits(64)}.{random.getrandbits(40)}e{random.randint(-340, 320)}"]
    texts += [str(random.getrandbits(random.randrange(1, 200)) - random.getrandbits(64))]
    texts += [repr(struct.unpack("<f", struct.pack("<f", random.uniform(0, 90)))[0])]
for text in texts:
    print(text, json.dumps(json.loads(text)))
"#;

    #[test]
    fn a_hundred_thousand_numbers_are_read_and_written_as_python_does() {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let output = Command::new(python).args(["-c", RANDOM]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() >= 100_000);
        for (read, written) in text.lines().filter_map(|line| line.split_once(' ')) {
            assert_eq!(to_string(&parse(read).unwrap(), 2).unwrap(), written, "{read}");
        }
    }
}

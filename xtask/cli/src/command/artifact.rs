//! `artifact FILE`.

use crate::context::Global;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{path::PathBuf, process::ExitCode};

/// Show what stands in a library: imports, exports, hardening, time stamps; or in an AAR, and which rules it breaks
#[derive(clap::Args)]
pub struct Arguments {
    /// A DLL, shared library or AAR
    file: PathBuf,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let shown = arguments.file.display();
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("cannot read {shown}"))?;
    let mut problems = Vec::new();
    let value = match bytes.as_slice() {
        [b'M', b'Z', ..] => serde_json::to_value(artifact::inspect_pe(&bytes)?)?,
        [0x7f, b'E', b'L', b'F', ..] => serde_json::to_value(artifact::inspect_elf(&bytes)?)?,
        [b'P', b'K', ..] => {
            let aar = artifact::inspect_aar(&bytes).with_context(|| format!("{shown} is no sound AAR"))?;
            problems = aar.problems();
            serde_json::to_value(aar)?
        }
        _ => bail!("{shown} is neither a PE file, an ELF file nor an AAR"),
    };
    if global.json {
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(verdict(&problems));
    }
    print!("{}", text(&value, ""));
    Ok(verdict(&problems))
}

/// The fields of an object, one on a line, lists with their lengths.
fn text(object: &Value, indent: &str) -> String {
    let mut text = String::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        text += &match value {
            Value::Array(list) => {
                let items: String = list.iter().map(|item| self::item(item, indent)).collect();
                format!("{indent}{key}: {}\n{items}", list.len())
            }
            Value::Object(_) => format!("{indent}{key}:\n{}", self::text(value, &format!("{indent}  "))),
            other => format!("{indent}{key}: {other}\n"),
        };
    }
    text
}

/// An item of a list; a hyphen is where one of several fields begins.
fn item(item: &Value, indent: &str) -> String {
    match item {
        Value::String(text) => format!("{indent}  {text}\n"),
        Value::Object(_) => {
            let fields = text(item, &format!("{indent}    "));
            format!("{indent}  - {}", fields.trim_start())
        }
        other => format!("{indent}  {other}\n"),
    }
}

/// Tells what is wrong; the exit status says whether there was anything.
fn verdict(problems: &[String]) -> ExitCode {
    for problem in problems {
        eprintln!("problem: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_field_is_a_line_and_lists_have_lengths() {
        let value = serde_json::json!({
            "members": ["a", "b"],
            "libraries": [{ "name": "x.so", "elf": { "needed": ["libc.so"], "sections": [[".text", 1]] } }],
            "least": null
        });
        let expected = "members: 2\n  a\n  b\nlibraries: 1\n  - name: \"x.so\"\n    elf:\n      needed: 1\n        \
                        libc.so\n      sections: 1\n        [\".text\",1]\nleast: null\n";
        assert_eq!(super::text(&value, ""), expected);
    }
}

//! `artifact FILE`.

use crate::context::Global;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{path::PathBuf, process::ExitCode};

/// Show what stands in a library, an archive, a wheel or an AAR
///
/// Of a DLL or shared library: imports, exports, hardening, time stamps, tools. Of a .zip or .tar.gz archive: its members, and
/// what its libraries need. Of a wheel: its metadata too. Of an AAR: what Android build tools read, and which rules it
/// breaks; then the exit status is 1.
#[derive(clap::Args)]
pub struct Arguments {
    /// A DLL, shared library, archive, wheel or AAR
    file: PathBuf,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let shown = arguments.file.display();
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("cannot read {shown}"))?;
    let mut problems = Vec::new();
    let name = arguments.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut value = match bytes.as_slice() {
        [b'M', b'Z', ..] => named(serde_json::to_value(artifact::inspect_pe(&bytes)?)?, artifact::pe_name),
        [0x7f, b'E', b'L', b'F', ..] => {
            named(serde_json::to_value(artifact::inspect_elf(&bytes)?)?, artifact::elf_name)
        }
        [b'P', b'K', ..] if artifact::is_aar(&name, &bytes) => {
            let aar = artifact::inspect_aar(&bytes).with_context(|| format!("{shown} is not a sound AAR"))?;
            problems = aar.problems();
            serde_json::to_value(aar)?
        }
        [b'P', b'K', ..] | [0x1f, 0x8b, ..] => {
            let contents = artifact::list_contents(&name, &bytes);
            serde_json::to_value(contents.with_context(|| format!("{shown} is not a sound archive"))?)?
        }
        _ => bail!("{shown} is neither a PE file, an ELF file nor an archive (.zip, .tar.gz, .whl, .aar)"),
    };
    for library in value.get_mut("libraries").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(elf) = library.get_mut("elf") {
            *elf = named(elf.take(), artifact::elf_name);
        }
    }
    if global.json() {
        crate::events::result(&value)?;
        return Ok(verdict(&problems));
    }
    print!("{}", text(&value, ""));
    Ok(verdict(&problems))
}

/// A library's fields with its machine by name, beside the number that the file has.
fn named(mut value: Value, name: fn(u16) -> String) -> Value {
    let number = value.get("machine").and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
    if let (Some(number), Value::Object(fields)) = (number, &mut value) {
        fields.shift_insert(1, "machine_name".to_owned(), name(number).into());
    }
    value
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
    fn a_machine_has_its_name_beside_the_number() {
        let value = super::named(serde_json::json!({ "machine": 0x8664, "exports": [] }), artifact::pe_name);
        assert_eq!(
            super::text(&value, ""),
            "machine: 34404\nmachine_name: \"x86-64 (0x8664)\"\nexports: 0\n"
        );
    }

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

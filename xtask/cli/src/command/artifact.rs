//! `artifact FILE`.

use crate::context::Global;
use anyhow::{Context, Result, bail};
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
    for (key, value) in value.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Array(list) => {
                println!("{key}: {}", list.len());
                for item in list {
                    println!("  {}", item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                }
            }
            other => println!("{key}: {other}"),
        }
    }
    Ok(verdict(&problems))
}

/// Tells what is wrong; the exit status says whether there was anything.
fn verdict(problems: &[String]) -> ExitCode {
    for problem in problems {
        eprintln!("problem: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

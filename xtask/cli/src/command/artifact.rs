//! `artifact FILE`.

use crate::context::Global;
use anyhow::{Context, Result, bail};
use std::{path::PathBuf, process::ExitCode};

/// Show what stands in a library: imports, exports, hardening, time stamps
#[derive(clap::Args)]
pub struct Arguments {
    /// A DLL or shared library
    file: PathBuf,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let shown = arguments.file.display();
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("cannot read {shown}"))?;
    let value = match bytes.as_slice() {
        [b'M', b'Z', ..] => serde_json::to_value(artifact::inspect_pe(&bytes)?)?,
        [0x7f, b'E', b'L', b'F', ..] => serde_json::to_value(artifact::inspect_elf(&bytes)?)?,
        _ => bail!("{shown} is neither a PE nor an ELF file"),
    };
    if global.json {
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(ExitCode::SUCCESS);
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
    Ok(ExitCode::SUCCESS)
}

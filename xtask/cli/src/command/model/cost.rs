//! `model report`: what quantization costs.

use super::published;
use crate::context::Global;
use anyhow::{Result, bail};
use input::Published;
use model::{Report, WeightError};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};
use store::{hinted, printable};

/// Show what quantization costs: the error of each weight, or several quantizations side by side
///
/// With several converted models of one checkpoint, a line for each has its size, the error over all of
/// its weights, and the weight that suffers most; the smallest model comes first.
///
/// Examples:
///   cargo xtask model report CHECKPOINT OUT --picture error.svg
///   cargo xtask model report CHECKPOINT OUT-q3f16_1 OUT-q4f16_1 OUT-q4f16_2
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The checkpoint
    source: PathBuf,
    /// What it was converted to; several are compared
    #[arg(value_name = "DIR|OWNER/NAME@REVISION", required = true)]
    converted: Vec<PathBuf>,
    /// How it was quantized; `auto` is what its mlc-chat-config.json says
    #[arg(long, value_name = "SCHEME", default_value = "auto")]
    quantization: String,
    /// The architecture
    #[arg(long, default_value = "auto")]
    architecture: String,
    /// Draw the errors by layer as an SVG picture, of one model
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let source = model::checkpoint_directory(&arguments.source)?;
    let report = |converted: &Path| {
        let directory = published::directory(global, converted, Published::Whole)?;
        model::report(&source, &directory, &arguments.quantization, &arguments.architecture)
    };
    if let [converted] = &arguments.converted[..] {
        let report = report(converted)?;
        if let Some(path) = &arguments.picture {
            let name = converted.file_name().unwrap_or(converted.as_os_str()).to_string_lossy();
            store::write_output(path, model::picture(&report, &name).as_bytes())?;
        }
        one(global, &report.errors)?;
    } else {
        if arguments.quantization != "auto" || arguments.picture.is_some() {
            bail!(hinted(
                "`--quantization` and `--picture` are about one converted model, and several are given",
                "leave them out, or run the command for each model"
            ));
        }
        let reports =
            arguments.converted.iter().map(|converted| Ok((converted.as_path(), report(converted)?)));
        several(global, reports.collect::<Result<_>>()?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one(global: &Global, errors: &[WeightError]) -> Result<()> {
    if global.json() {
        return crate::events::result(&errors);
    }
    println!("{:>10} {:>10} {:>9} {:>10}  weight", "largest", "RMS", "relative", "cosine");
    for error in errors {
        println!(
            "{:10.3e} {:10.3e} {:8.3}% {:10.7}  {}",
            error.largest,
            error.rms,
            error.relative * 100.0,
            error.cosine,
            printable(&error.name)
        );
    }
    Ok(())
}

fn several(global: &Global, mut reports: Vec<(&Path, Report)>) -> Result<()> {
    reports.sort_by_key(|(_, report)| report.bytes);
    if global.json() {
        let rows: Vec<_> = reports
            .iter()
            .map(|(path, report)| {
                json!({
                    "model": path,
                    "quantization": report.quantization,
                    "bytes": report.bytes,
                    "relative": report.relative,
                    "worst": report.worst(),
                })
            })
            .collect();
        return crate::events::result(&rows);
    }
    println!("{:>12} {:>9} {:>9}  {:24}  model", "size", "relative", "worst", "quantization");
    for (path, report) in &reports {
        let worst = report.worst();
        println!(
            "{:>8.1} MiB {:8.3}% {:8.3}%  {:24}  {}{}",
            report.bytes as f64 / (1 << 20) as f64,
            report.relative * 100.0,
            worst.map_or(0.0, |error| error.relative * 100.0),
            report.quantization,
            printable(&path.display().to_string()),
            worst.map_or_else(String::new, |error| format!(" ({} is worst)", printable(&error.name)))
        );
    }
    Ok(())
}

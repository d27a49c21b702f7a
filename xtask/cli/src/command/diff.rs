//! `diff EXPECTED FOUND`.

use crate::{context::Global, report::Report};
use anyhow::Result;
use artifact::Comparison;
use std::{path::PathBuf, process::ExitCode};

/// Compare two files, directories or archives, and say what differs and why
///
/// Archives are opened, and archives in them; PE, ELF and COFF files are compared by headers, sections, imports, exports,
/// resources, debug directory, symbols and notes, static libraries by member, Java classes by what they declare, JSON by
/// value, texts by line; then by byte, with the nearest symbol. Where the pattern is known, the likely cause is named:
/// time stamp, path, user name, order, processor, permissions, version of a tool. The exit status is 0 when both are the
/// same, and 1 when they differ.
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  cargo xtask diff dist/tvm ../other/dist/tvm\n  cargo xtask diff official.whl ours.whl --report wheel-report"
)]
pub struct Arguments {
    /// What is expected
    #[arg(value_name = "EXPECTED")]
    left: PathBuf,
    /// What was found
    #[arg(value_name = "FOUND")]
    right: PathBuf,
    #[command(flatten)]
    report: Report,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    arguments.report.check(&arguments.left)?;
    arguments.report.check(&arguments.right)?;
    let comparison = artifact::compare_paths(&arguments.left, &arguments.right)?;
    let json = serde_json::to_value(&comparison)?;
    let html = release::comparison_page(&comparison);
    arguments.report.write(&json, &html, (&arguments.left, &arguments.right))?;
    match global.json() {
        true => crate::events::result(&json)?,
        false => print!("{}", text(&comparison)),
    }
    Ok(if comparison.same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What differs, for a terminal.
pub fn text(comparison: &Comparison) -> String {
    if comparison.same {
        return format!("{}: the same, byte for byte\n", comparison.name);
    }
    let mut text = String::new();
    let mut open = vec![(comparison.name.clone(), comparison)];
    while let Some((path, comparison)) = open.pop() {
        if !comparison.changes.is_empty() || !comparison.notes.is_empty() || comparison.members.is_empty() {
            text += &format!("{path} ({}) differs\n", comparison.kind);
        }
        for note in &comparison.notes {
            text += &format!("  {note}\n");
        }
        for change in &comparison.changes {
            let at = change.offset.map_or_else(String::new, |offset| format!(" at {offset:#x}"));
            let symbol = change.symbol.as_ref().map_or_else(String::new, |symbol| format!(" in {symbol}"));
            let cause = change.cause.map_or_else(String::new, |cause| format!(" [{cause}]"));
            text += &format!("  {}: {}{at}{symbol}{cause}\n", change.place, change.what);
            let value =
                |value: &Option<String>| value.as_deref().unwrap_or("(not there)").replace('\n', "\\n");
            text +=
                &format!("    expected {}\n    found    {}\n", value(&change.expected), value(&change.found));
        }
        if comparison.left_out > 0 {
            text += &format!("  and {} more\n", comparison.left_out);
        }
        open.extend(comparison.members.iter().rev().map(|it| (format!("{path} > {}", it.name), it)));
    }
    for (cause, count) in comparison.causes() {
        text += &format!("likely cause: {cause} ({count}); {}\n", cause.advice());
    }
    text
}

//! `diff EXPECTED FOUND`, and what other commands write about differences.

use crate::context::Global;
use anyhow::{Context, Result, ensure};
use artifact::Comparison;
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};
use store::write_output;

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

/// Where to write about differences.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Report {
    /// Write report.json and report.html, a page that needs nothing else, into this directory
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Run diffoscope as well, where it is installed; its page goes into the directory of `--report`
    #[arg(long, requires = "report")]
    pub diffoscope: bool,
}

impl Report {
    /// Writes the report, if it is asked for. `sides` are for diffoscope.
    pub fn write(&self, json: &serde_json::Value, html: &str, sides: (&Path, &Path)) -> Result<()> {
        let Some(directory) = &self.report else { return Ok(()) };
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        write_output(
            &directory.join("report.json"),
            (serde_json::to_string_pretty(json)? + "\n").as_bytes(),
        )?;
        write_output(&directory.join("report.html"), html.as_bytes())?;
        if self.diffoscope {
            diffoscope(sides, &directory.join("diffoscope.html"))?;
        }
        Ok(())
    }

    /// Fails when the report would go into what it is about.
    pub fn check(&self, about: &Path) -> Result<()> {
        let inside = |directory: &PathBuf| is_inside(directory, about);
        ensure!(
            !self.report.as_ref().is_some_and(inside),
            "the report may not go into {}\n  hint: choose a directory outside of it",
            about.display()
        );
        Ok(())
    }
}

/// Whether a path, which may not be there yet, is a directory or below it.
pub fn is_inside(path: &Path, directory: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else { return false };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute
        .ancestors()
        .find_map(|above| above.canonicalize().ok())
        .is_some_and(|above| above.starts_with(&directory))
}

/// Runs diffoscope. It exits with 1 when there is a difference. Errors: it can't be run, or fails.
fn diffoscope((left, right): (&Path, &Path), page: &Path) -> Result<()> {
    let status = Command::new("diffoscope").arg("--html").arg(page).arg("--").args([left, right]).status();
    match status {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("diffoscope is not installed, so {} is not written", page.display());
            Ok(())
        }
        Err(error) => Err(error).context("cannot run diffoscope"),
        Ok(status) if matches!(status.code(), Some(0 | 1)) => Ok(()),
        Ok(status) => anyhow::bail!("diffoscope failed: {status}"),
    }
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    arguments.report.check(&arguments.left)?;
    arguments.report.check(&arguments.right)?;
    let comparison = artifact::compare_paths(&arguments.left, &arguments.right)?;
    let json = serde_json::to_value(&comparison)?;
    let html = release::comparison_page(&comparison);
    arguments.report.write(&json, &html, (&arguments.left, &arguments.right))?;
    match global.json {
        true => println!("{}", serde_json::to_string_pretty(&json)?),
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

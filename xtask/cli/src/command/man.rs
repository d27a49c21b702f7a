//! `man DIR`.

use crate::context::project_root;
use anyhow::{Context, Result};
use std::{path::PathBuf, process::ExitCode};

/// Write manual pages, one a command, or the reference of the book
///
/// Examples:
///   cargo xtask man ~/.local/share/man/man1
///   cargo xtask man docs/reference --format markdown       # commands, environment variables, formats
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The directory to write them to
    directory: PathBuf,
    /// How to write them
    #[arg(long, value_enum, default_value_t = Format::Man)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For `man`
    Man,
    /// For the book
    Markdown,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let writing = || format!("cannot write to {}", arguments.directory.display());
    std::fs::create_dir_all(&arguments.directory).with_context(writing)?;
    if let Format::Markdown = arguments.format {
        for (name, text) in crate::reference::pages(&project_root()?)? {
            store::write_output(&arguments.directory.join(name), text.as_bytes())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // The generator writes into the files that it finds; ours are replaced whole.
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    clap_mangen::generate_to(crate::options::command_line(), scratch.path()).with_context(writing)?;
    for page in std::fs::read_dir(scratch.path()).with_context(writing)? {
        let page = page.with_context(writing)?;
        store::copy_output(&page.path(), &arguments.directory.join(page.file_name()))?;
    }
    Ok(ExitCode::SUCCESS)
}

//! `patch check` and `patch refresh`.

use crate::context::Global;
use anyhow::Result;
use builder::Patched;
use std::process::ExitCode;

/// Check the patches of patches/ against the locked sources, or bring them up to date
///
/// Patches apply strictly: every line stands where the patch says. Each has a header with a paragraph `Why:` and one
/// `Upstream:`. Nothing is downloaded: `cargo xtask fetch NAME` brings a source into the store.
///
/// Examples:
///   cargo xtask patch check
///   cargo xtask patch refresh llvm && git diff patches
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say of each patch whether it applies, and else which hunk stops where
    Check {
        /// Only these directories of patches/ [default: all]
        #[arg(value_name = "SOURCE")]
        sources: Vec<String>,
    },
    /// Write patches anew whose hunks are at other lines of the locked source now
    ///
    /// A hunk is looked for in the whole file, with up to two lines less of context at either end, and moved where there is
    /// one place only. The header stays as it is; the changes are yours to look at and commit.
    Refresh {
        /// Only these directories of patches/ [default: all]
        #[arg(value_name = "SOURCE")]
        sources: Vec<String>,
    },
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let patches = match &arguments.command {
        Command::Check { sources } => builder::check_patches(&project, &store, sources)?,
        Command::Refresh { sources } => builder::refresh_patches(&project, &store, sources)?,
    };
    if global.json() {
        crate::events::result(&patches)?;
    } else {
        for patched in &patches {
            println!("{}", line(patched));
            for change in &patched.changes {
                println!("  {change}");
            }
            for hint in &patched.hints {
                println!("  hint: {hint}");
            }
        }
    }
    let failed = patches.iter().any(|patched| patched.problem.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn line(patched: &Patched) -> String {
    let name = &patched.patch;
    match (&patched.problem, &patched.untried) {
        (Some(problem), _) => format!("{name}: {problem}"),
        (None, Some(why)) => format!("{name}: not tried, {why}"),
        (None, None) if patched.changes.is_empty() => format!("{name}: applies to `{}`", patched.input),
        (None, None) => format!("{name}: written anew for `{}`", patched.input),
    }
}

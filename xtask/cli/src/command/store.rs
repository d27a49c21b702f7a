//! `store gc`, `fsck`, `path` and `du`.

use crate::context::Global;
use anyhow::Result;
use std::process::ExitCode;
use store::Digest;

/// Look after the store
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Remove what neither a release, nor an environment, nor a lock of this repository reaches
    Gc {
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Hash every blob; damaged ones go to quarantine, and every result that was made from one is removed
    Fsck,
    /// Print the file of a blob
    Path {
        /// SHA256/SIZE
        digest: Digest,
    },
    /// How much the store holds
    Du,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let progress = global.progress();
    match &arguments.command {
        Command::Gc { dry_run } => {
            let project = global.project()?;
            let store = if *dry_run { global.look_at_store()? } else { global.open_store()? };
            let collected = operation::collect_garbage(&project, &store, *dry_run, &progress)?;
            if global.json {
                println!("{}", serde_json::to_string_pretty(&collected)?);
            } else {
                println!(
                    "{} {} blobs ({} MB), {} results, {} checkouts, {} directories of ended processes, {} foreign entries",
                    if *dry_run { "would remove" } else { "removed" },
                    collected.blobs,
                    collected.bytes / 1_000_000,
                    collected.results,
                    collected.checkouts,
                    collected.temporary,
                    collected.foreign
                );
            }
            for left in &collected.left {
                eprintln!("cannot remove {left}");
            }
            Ok(if collected.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Fsck => {
            let examined = global.open_store()?.examine(&progress)?;
            if global.json {
                println!("{}", serde_json::to_string_pretty(&examined)?);
            } else {
                println!("{} blobs hashed", examined.blobs);
                for blob in &examined.damaged {
                    println!("damaged, now in quarantine: {blob}");
                }
                for result in &examined.incomplete {
                    println!("incomplete, now removed: result {result}");
                }
                for result in &examined.derived {
                    println!("made from something damaged, now removed: result {result}");
                }
                for path in &examined.foreign {
                    println!("not a file of the store, now in quarantine: {}", path.escape_debug());
                }
                for root in &examined.roots {
                    println!("may be wrong, make it again: release {}", root.escape_debug());
                }
            }
            Ok(if examined.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Path { digest } => {
            println!("{}", global.open_store()?.blob_path(digest, false)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Du => {
            let store = global.look_at_store()?;
            let usage = store.usage()?;
            if global.json {
                println!("{}", serde_json::to_string_pretty(&usage)?);
            } else {
                println!("{}", store.root().display());
                for (kind, (number, bytes)) in &usage.kinds {
                    println!("{kind:18} {number:8} {:8} MB", bytes / 1_000_000);
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

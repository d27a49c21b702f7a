//! `store gc`, `fsck`, `path`, `du`, `export` and `import`.

mod results;

use crate::context::Global;
use anyhow::Result;
use std::{fmt::Display, process::ExitCode, time::Duration};
use store::{Digest, Retention};

/// Look after the store
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Remove what neither a release, nor an environment, nor a lock of this repository reaches
    ///
    /// It waits until no other process uses the store. What is reached stays, whatever its age and size. A result counts as used
    /// when a build finds it, a blob of no result when a file was last linked to it.
    ///
    /// Example:
    ///   cargo xtask store gc --older-than 30 --max-size 50G --dry-run
    #[command(verbatim_doc_comment)]
    Gc {
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
        /// Only what was not used for so many days
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u32>,
        /// Only as much as is needed for the store's files to take no more than this (20G, 500M), what was used last staying
        #[arg(long, value_name = "SIZE", value_parser = size)]
        max_size: Option<u64>,
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
    /// Write results, with all that they name, to a file for another store
    ///
    /// What is not built yet is built first. Of environments and sources only the digests go along, so that the file is small.
    /// Unpacked, it can be served by any web server, for `--from URL`.
    ///
    /// Example:
    ///   cargo xtask store export tvm -o results.tar
    #[command(verbatim_doc_comment)]
    Export(results::Export),
    /// Take the results of a file that `store export` wrote into the store
    ///
    /// All of it is checked before anything is taken in; that an action gives these outputs is its writer's word, which you
    /// trust by this command. What is built with them is marked in release.json, and `verify --rebuild` takes none of them.
    ///
    /// Example:
    ///   cargo xtask store import results.tar --name example.org && cargo xtask release
    #[command(verbatim_doc_comment)]
    Import(results::Import),
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let progress = global.progress();
    match &arguments.command {
        Command::Gc { dry_run, older_than, max_size } => {
            let project = global.project()?;
            let store = if *dry_run { global.look_at_store()? } else { global.open_store()? };
            let day = Duration::from_secs(24 * 3600);
            let retention =
                Retention { younger_than: older_than.map(|days| day * days), max_size: *max_size };
            let collected = operation::collect_garbage(&project, &store, &retention, *dry_run, &progress)?;
            if global.json() {
                crate::events::result(&collected)?;
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
                let names = operation::last_built(&project, &store, &collected.actions)?;
                listing("last results of recipes among them", &names);
            }
            for left in &collected.left {
                eprintln!("cannot remove {left}");
            }
            Ok(if collected.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Fsck => {
            let examined = global.open_store()?.examine(&progress)?;
            if global.json() {
                crate::events::result(&examined)?;
            } else {
                println!("{} blobs hashed", examined.blobs);
                listing("damaged, now in quarantine", &examined.damaged);
                listing("incomplete, now removed", &examined.incomplete);
                listing("made from something damaged, now removed", &examined.derived);
                let foreign: Vec<_> = examined.foreign.iter().map(|path| path.escape_debug()).collect();
                listing("not a file of the store, now in quarantine", &foreign);
                let roots: Vec<_> = examined.roots.iter().map(|root| root.escape_debug()).collect();
                listing("may be wrong, make it again", &roots);
            }
            Ok(if examined.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Path { digest } => {
            let path = global.open_store()?.blob_path(digest, false)?;
            if global.json() {
                crate::events::result(&serde_json::json!({ "path": path }))?;
            } else {
                println!("{}", path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Export(export) => results::export(global, export),
        Command::Import(import) => results::import(global, import),
        Command::Du => {
            let store = global.look_at_store()?;
            let usage = store.usage()?;
            if global.json() {
                crate::events::result(&usage)?;
            } else {
                println!("{}", store.root().display());
                for (kind, (number, bytes)) in &usage.kinds {
                    println!("{kind:18} {number:8} {:8} MB", bytes / 1_000_000);
                }
                // What goes depends on the locks of a checkout.
                if let Ok(project) = global.project() {
                    let garbage =
                        operation::collect_garbage(&project, &store, &Retention::default(), true, &progress)?;
                    let (blobs, bytes) = (garbage.blobs, garbage.bytes / 1_000_000);
                    println!("`cargo xtask store gc` would remove {blobs} blobs, {bytes} MB");
                }
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A number of bytes, with K, M, G or T for powers of 1000.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size such as 20G or 500M");
    let (number, factor) = match text.char_indices().last().ok_or_else(wrong)? {
        (end, 'K') => (&text[..end], 1_000),
        (end, 'M') => (&text[..end], 1_000_000),
        (end, 'G') => (&text[..end], 1_000_000_000),
        (end, 'T') => (&text[..end], 1_000_000_000_000),
        _ => (text, 1),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

/// How many of a kind `fsck` lists; `--json` has all.
const LISTED: usize = 10;

/// Says how many there are of a kind, and which the first of them are.
fn listing(what: &str, found: &[impl Display]) {
    if found.is_empty() {
        return;
    }
    println!("{what}: {}", found.len());
    for one in found.iter().take(LISTED) {
        println!("  {one}");
    }
    if found.len() > LISTED {
        println!("  … and {} more (`--json` lists all)", found.len() - LISTED);
    }
}

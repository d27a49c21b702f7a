//! `store gc`, `fsck`, `path` and `du`.

use crate::context::Global;
use anyhow::Result;
use std::process::ExitCode;
use store::{Digest, Reference};

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
    /// Hash every blob; damaged ones go to quarantine and are fetched or built again when they are needed
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
    let store = global.open_store()?;
    let progress = global.progress();
    match &arguments.command {
        Command::Gc { dry_run } => {
            let project = global.project()?;
            let mut kept: Vec<Reference> = super::fetch::inputs(&project, None)?
                .inputs
                .iter()
                .chain(&super::model::fetch::all_inputs(&project.root)?)
                .map(|input| Reference::Blob(input.digest))
                .collect();
            let options = input::FetchOptions { offline: true, ..global.fetch_options() };
            for name in project.environments()? {
                let (definition, lock) = project.environment(&name)?;
                // An environment that was never assembled here has nothing to keep.
                if let Ok(environment) =
                    environment::assemble(&store, &name, &definition, &lock, &options, &progress)
                {
                    kept.push(Reference::Tree(environment.root));
                }
            }
            let collected = store.collect_garbage(&kept, *dry_run, &progress)?;
            if global.json {
                println!("{}", serde_json::to_string_pretty(&collected)?);
            } else {
                println!(
                    "{} {} blobs ({} MB), {} results, {} checkouts",
                    if *dry_run { "would remove" } else { "removed" },
                    collected.blobs,
                    collected.bytes / 1_000_000,
                    collected.results,
                    collected.checkouts
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Fsck => {
            let examined = store.examine(&progress)?;
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
            }
            let sound = examined.damaged.is_empty() && examined.incomplete.is_empty();
            Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Path { digest } => {
            println!("{}", store.blob_path(digest, false)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Du => {
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

//! `fetch`.

use crate::context::Global;
use anyhow::Result;
use input::Input;
use std::process::ExitCode;

/// Download locked inputs into the store
///
/// Examples:
///   cargo xtask fetch                     every input and package of every lock
///   cargo xtask fetch --release tvm       what this release is made from
///   cargo xtask fetch android-ndk
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Only inputs and packages with these names
    #[arg(value_name = "NAME", add = crate::names::inputs())]
    names: Vec<String>,
    /// Only what this release is made from
    #[arg(long, value_name = "NAME", add = crate::names::releases())]
    release: Option<String>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let locked = operation::inputs(&project, arguments.release.as_deref())?;
    let options = locked.fetch_options(global.fetch_options());
    let mut inputs = locked.inputs;
    if !arguments.names.is_empty() {
        for name in &arguments.names {
            let mut known = inputs.iter().map(|input| input.name.as_str());
            anyhow::ensure!(
                known.clone().any(|known| known == name),
                store::Unknown::new("locked input", name, known.by_ref())
            );
        }
        inputs.retain(|input| arguments.names.contains(&input.name));
    }
    let inputs: Vec<&Input> = inputs.iter().collect();
    let progress = global.progress();
    input::fetch(&store, &inputs, &options, &progress)?;
    let bytes: u64 = inputs.iter().map(|input| input.digest.size).sum();
    if global.json() {
        crate::events::result(&serde_json::json!({ "inputs": inputs.len(), "bytes": bytes }))?;
    }
    progress.line(&format!("{} inputs, {} MB, are in the store", inputs.len(), bytes / 1_000_000));
    Ok(ExitCode::SUCCESS)
}

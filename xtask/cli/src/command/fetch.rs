//! `fetch`.

use crate::context::Global;
use anyhow::Result;
use build::Project;
use input::Input;
use std::process::ExitCode;

/// Download every locked input into the store
#[derive(clap::Args)]
pub struct Arguments {
    /// Only inputs and packages with these names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let store = global.open_store()?;
    let mut inputs = all_inputs(&project)?;
    if !arguments.names.is_empty() {
        for name in &arguments.names {
            anyhow::ensure!(
                inputs.iter().any(|input| input.name == *name),
                "nothing called `{name}` is locked"
            );
        }
        inputs.retain(|input| arguments.names.contains(&input.name));
    }
    let inputs: Vec<&Input> = inputs.iter().collect();
    let progress = global.progress();
    input::fetch(&store, &inputs, &global.fetch_options(), &progress)?;
    let bytes: u64 = inputs.iter().map(|input| input.digest.size).sum();
    progress.line(&format!("{} inputs, {} MB, are in the store", inputs.len(), bytes / 1_000_000));
    Ok(ExitCode::SUCCESS)
}

/// Every input of every lock, each once.
pub fn all_inputs(project: &Project) -> Result<Vec<Input>> {
    let mut inputs = project.inputs.inputs.clone();
    for name in project.environments()? {
        inputs.extend(project.environment(&name)?.1.inputs);
    }
    inputs.sort_by(|a, b| (&a.name, a.digest).cmp(&(&b.name, b.digest)));
    inputs.dedup();
    Ok(inputs)
}

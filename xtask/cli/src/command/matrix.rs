//! `matrix`.

use crate::context::Global;
use anyhow::Result;
use operation::Jobs;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Print the build matrix of a release, for a continuous integration service
///
/// One entry for everything that the release needs, checks included: what it is built from (`needs`), where (`environment`),
/// a key that changes when what it is made from does (`key`), and the minutes that it is expected to take: what it took
/// last with this store, else what ci/workflows.toml says. `cargo xtask ci workflow` writes whole workflows of the same.
#[derive(clap::Args)]
pub struct Arguments {
    /// The release, a file of releases/
    #[arg(default_value = "tvm", add = crate::names::releases())]
    release: String,
    /// For whom
    #[arg(long, value_enum, default_value_t = Format::Github)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// `{"include": […]}`, as a job's `strategy.matrix` takes it; entries of one `level` can run beside each other
    Github,
    /// A child pipeline with a job for each entry
    Gitlab,
    /// A list
    Json,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let mut jobs = Jobs::new(&project, &arguments.release)?;
    if let Ok(store) = global.look_at_store() {
        jobs.expect(&store);
    }
    let entries: Vec<Value> = jobs
        .jobs
        .iter()
        .map(|job| {
            json!({
                "name": job.name, "recipe": job.node.recipe, "target": job.node.target, "kind": job.kind,
                "environment": job.environment, "needs": job.needs, "level": job.level, "key": job.key,
                "minutes": job.minutes,
            })
        })
        .collect();
    let format = if global.json() { Format::Json } else { arguments.format };
    match format {
        Format::Github => println!("{}", json!({ "include": entries })),
        Format::Json if global.json() => crate::events::result(&entries)?,
        Format::Json => println!("{}", serde_json::to_string_pretty(&entries)?),
        Format::Gitlab => print!("{}", operation::child_pipeline(&project, &jobs)?),
    }
    Ok(ExitCode::SUCCESS)
}

//! `release`.

use crate::{
    context::{GivenInputs, Global, Others},
    show,
};
use anyhow::Result;
use operation::{Effort, ReleaseRequest, make_release};
use release::Written;
use std::{path::PathBuf, process::ExitCode, time::Instant};
use store::Progress;

/// Build a release: every artifact, every check, archives, manifest and checksums
///
/// What is in the store already is not built again; a second release does nothing. The directory is replaced only
/// when everything succeeded.
#[derive(clap::Args)]
pub struct Arguments {
    /// The release, a file of releases/
    #[arg(default_value = "tvm", add = crate::names::releases())]
    name: String,
    /// Where releases go [default: dist in the repository]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with what does not depend on a failed artifact
    #[arg(long)]
    keep_going: bool,
    /// Write the release without what waits for inputs that can't be had; release.json names what is missing
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    others: Others,
    #[command(flatten)]
    given: GivenInputs,
}

impl Arguments {
    fn effort(&self) -> Effort {
        match (self.partial, self.keep_going) {
            (true, _) => Effort::Partial,
            (false, true) => Effort::KeepGoing,
            (false, false) => Effort::Stop,
        }
    }
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let start = Instant::now();
    let mut project = global.project()?;
    let store = global.open_store_with(&arguments.others)?;
    arguments.given.apply(&mut project, &store, &global.progress())?;
    let directory = arguments.output.clone().unwrap_or_else(|| project.root.join("dist"));
    let destination = directory.join(&arguments.name);
    let progress = global.progress();
    let open = global.opener();
    let session = global.session(&project, &store, &progress, &open);
    let (name, effort) = (arguments.name.as_str(), arguments.effort());
    let request = ReleaseRequest { name, effort, left_out: &[], destination: &destination };
    let outcome = make_release(&session, &request)?;
    show::release(&progress, name, effort, &outcome);
    let Some((manifest, written)) = outcome.release else { return Ok(ExitCode::FAILURE) };
    if global.json() {
        crate::events::result_text(manifest.to_json()?);
        return Ok(ExitCode::SUCCESS);
    }
    let imported = manifest.steps().filter(|step| step.imported.is_some()).count();
    if imported > 0 {
        progress.note(&format!(
            "{imported} of {} steps were not built here, and release.json says whose they are; `cargo xtask verify --rebuild {}` builds them",
            manifest.steps().count(),
            destination.display()
        ));
    }
    for file in manifest.files().filter(|file| !file.path.contains('/')) {
        progress.line(&format!("{}  {}", file.sha256, file.path));
    }
    for model in &manifest.models {
        let title = model.conversion.title();
        progress.line(&format!("{}  {title}, {} files", model.outputs.hex(), model.files.len()));
    }
    progress.line(&format!(
        "{} {} in {:.1} s",
        destination.display(),
        if written == Written::New { "is written" } else { "is up to date" },
        start.elapsed().as_secs_f64()
    ));
    Ok(ExitCode::SUCCESS)
}

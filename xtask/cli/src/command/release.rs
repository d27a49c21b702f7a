//! `release`.

use crate::context::{GivenInputs, Global};
use anyhow::Result;
use builder::{Outcome, Plan, Project};
use input::Unavailable;
use release::{Definition, Manifest, Missing, Wanted, Written};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use store::{Reference, Store};

/// Build a release: every artifact, every check, archives, manifest and checksums
///
/// What is in the store already is not built again; a second release does nothing. The directory is replaced only
/// when everything succeeded.
#[derive(clap::Args)]
pub struct Arguments {
    /// The release, a file of releases/
    #[arg(default_value = "tvm")]
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
    given: GivenInputs,
}

/// What to do when something can't be built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Stop.
    Stop,
    /// Build everything else, and write no release.
    KeepGoing,
    /// Build everything else, and write a release that lacks what waits for inputs.
    Partial,
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
    let store = global.open_store()?;
    arguments.given.apply(&mut project, &store, &global.progress())?;
    let directory = arguments.output.clone().unwrap_or_else(|| project.root.join("dist"));
    let destination = directory.join(&arguments.name);
    let Some((manifest, written)) =
        make(global, &project, &store, &arguments.name, arguments.effort(), &[], &destination)?
    else {
        return Ok(ExitCode::FAILURE);
    };
    if global.json {
        println!("{}", manifest.to_json()?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let progress = global.progress();
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

/// Names what waits for inputs, and how to bring those.
fn tell_waiting(name: &str, waiting: &[Missing], effort: Effort) {
    if waiting.is_empty() {
        return;
    }
    eprintln!("release `{name}` lacks what waits for inputs that can't be had:");
    for missing in waiting {
        eprintln!("  {} waits for {}", missing.wanted, missing.waits_for.join(", "));
    }
    eprintln!(
        "  hint: bring an input with `cargo xtask fetch NAME` where its address answers, from a directory that `vendor` wrote \
         (`--vendored DIR`), or from a copy of your own (`--input NAME=PATH`; of a model, `--input MODEL=DIRECTORY`)"
    );
    match effort {
        Effort::Stop => eprintln!("  hint: `--keep-going` builds everything else first"),
        Effort::KeepGoing => {
            eprintln!("  hint: `--partial` writes the release without them, and says so in release.json")
        }
        Effort::Partial => {}
    }
}

/// Builds and writes a release without what is `left_out`, which its manifest names as missing; nothing when something
/// of it failed, which has been told then.
pub fn make(
    global: &Global,
    project: &Project,
    store: &Store,
    name: &str,
    effort: Effort,
    left_out: &[Missing],
    destination: &Path,
) -> Result<Option<(Manifest, Written)>> {
    let mut definition = Definition::load(&project.root, name)?;
    for missing in left_out {
        definition.leave_out(&missing.wanted);
    }
    let mut goals = definition.artifacts(project)?;
    goals.extend(definition.checks(project)?);
    let plan = Plan::new(project, &goals)?;
    let quiet = Global { quiet: true, json: false, ..global.clone() };
    let shown = if global.json { &quiet } else { global };
    let outcomes = match goals.is_empty() {
        true => Vec::new(),
        false => super::build::execute(shown, project, store, &plan, effort != Effort::Stop)?,
    };
    let nodes = builder::waiting(&plan, &outcomes);
    let mut waiting: Vec<_> = goals
        .iter()
        .filter_map(|node| {
            Some(Missing { wanted: Wanted::Step(node.clone()), waits_for: nodes.get(node)?.clone() })
        })
        .collect();
    let mut references = Vec::new();
    let mut failed = false;
    for (node, outcome) in plan.nodes.iter().zip(&outcomes) {
        match outcome {
            Outcome::Built(built) => {
                references.push(Reference::Action(built.resolved.key));
                references.push(Reference::Tree(built.resolved.environment.root));
            }
            Outcome::Failed(_) | Outcome::Skipped(_) => failed |= !nodes.contains_key(node),
        }
    }
    let mut models = Vec::new();
    for conversion in &definition.models {
        if effort == Effort::Stop && (failed || !waiting.is_empty()) {
            break;
        }
        match super::model::store::convert_for_release(shown, store, &project.root, conversion) {
            Ok(model) => {
                references.push(Reference::Action(model.0.action));
                models.push(model);
            }
            Err(error) => {
                eprint!("{}", crate::progress::error_text(&error));
                match error.downcast_ref::<Unavailable>() {
                    Some(unavailable) => waiting.push(Missing {
                        wanted: Wanted::Model { model: conversion.title() },
                        waits_for: unavailable.names.clone(),
                    }),
                    None => failed = true,
                }
            }
        }
    }
    tell_waiting(name, &waiting, effort);
    if failed || (effort != Effort::Partial && !waiting.is_empty()) {
        return Ok(None);
    }
    for missing in &waiting {
        definition.leave_out(&missing.wanted);
    }
    waiting.extend_from_slice(left_out);
    let manifest = release::assemble(project, store, &definition, &plan, &outcomes, &models, waiting)?;
    for file in manifest.files() {
        references.push(Reference::Blob(store::Digest::from_hex(&file.sha256, file.size)?));
    }
    let written = release::write(store, &manifest, destination)?;
    if written == Written::New {
        store.add_root(name, &references)?;
    }
    Ok(Some((manifest, written)))
}

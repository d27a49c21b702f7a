//! Building and writing a release.

use crate::{Session, model::convert_for_release};
use anyhow::Result;
use builder::{Outcome, Plan};
use input::{Model, Unavailable};
use release::{Conversion, Definition, Manifest, Missing, Wanted, Written};
use std::path::Path;
use store::{Digest, Reference};

/// What to do when something can't be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Stop.
    Stop,
    /// Build everything else, and write no release.
    KeepGoing,
    /// Build everything else, and write a release that lacks what waits for inputs.
    Partial,
}

/// A release that is asked for.
pub struct ReleaseRequest<'a> {
    /// Its name in `releases/`.
    pub name: &'a str,
    /// What to do when something can't be built.
    pub effort: Effort,
    /// What to make it without; its manifest names this as missing.
    pub left_out: &'a [Missing],
    /// Where it is written.
    pub destination: &'a Path,
}

/// A model of a release: the digest of its files and whether the store had them, or why it can't be made.
pub struct ModelOutcome {
    /// What was asked for.
    pub conversion: Conversion,
    /// The root of its outputs, and whether they were there already.
    pub result: Result<(Digest, bool)>,
}

/// What became of a release.
pub struct ReleaseOutcome {
    /// What was built.
    pub plan: Plan,
    /// What became of each node of the plan.
    pub outcomes: Vec<Outcome>,
    /// What became of the models that were tried.
    pub models: Vec<ModelOutcome>,
    /// What waits for inputs that can't be had.
    pub unavailable: Vec<Missing>,
    /// The release, and whether it is new; nothing when it was not written.
    pub release: Option<(Manifest, Written)>,
}

/// Builds and writes a release. What fails is an outcome; then nothing is written.
///
/// # Errors
/// The release or a recipe is malformed; the backend can't be opened; files of the repository changed meanwhile; the release
/// can't be written.
pub fn make_release(session: &Session<'_>, request: &ReleaseRequest<'_>) -> Result<ReleaseOutcome> {
    let (project, store, effort) = (session.project, session.store, request.effort);
    release::check_destination(request.destination)?;
    let mut definition = Definition::load(&project.root, request.name)?;
    for missing in request.left_out {
        definition.leave_out(&missing.wanted);
    }
    let mut goals = definition.artifacts(project)?;
    goals.extend(definition.checks(project)?);
    let plan = Plan::new(project, &goals)?;
    let mut models = Vec::new();
    for conversion in &definition.models {
        models.extend(Model::load(&project.root, &conversion.name)?.lock(&project.root)?.inputs);
    }
    let outcomes = session.execute_beside(&plan, effort != Effort::Stop, &models)?;
    let nodes = builder::waiting(&plan, &outcomes);
    let mut unavailable: Vec<_> = goals
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
    let (mut models, mut converted) = (Vec::new(), Vec::new());
    for conversion in &definition.models {
        if effort == Effort::Stop && (failed || !unavailable.is_empty()) {
            break;
        }
        let result = match convert_for_release(session, conversion) {
            Ok((model, inputs, cached)) => {
                references.push(Reference::Action(model.action));
                let root = model.outputs;
                converted.push((model, inputs));
                Ok((root, cached))
            }
            Err(error) => {
                match store::find::<Unavailable>(&error) {
                    Some(lacking) => unavailable.push(Missing {
                        wanted: Wanted::Model { model: conversion.title() },
                        waits_for: lacking.names.clone(),
                    }),
                    None => failed = true,
                }
                Err(error)
            }
        };
        models.push(ModelOutcome { conversion: conversion.clone(), result });
    }
    let mut outcome = ReleaseOutcome { plan, outcomes, models, unavailable, release: None };
    if failed || (effort != Effort::Partial && !outcome.unavailable.is_empty()) {
        return Ok(outcome);
    }
    let mut missing = outcome.unavailable.clone();
    for missing in &missing {
        definition.leave_out(&missing.wanted);
    }
    missing.extend_from_slice(request.left_out);
    let (plan, outcomes) = (&outcome.plan, &outcome.outcomes);
    let manifest = release::assemble(project, store, &definition, plan, outcomes, &converted, missing)?;
    for file in manifest.files() {
        references.push(Reference::Blob(Digest::from_hex(&file.sha256, file.size)?));
    }
    let written = release::write(store, &manifest, request.destination)?;
    if written == Written::New {
        store.add_root(request.name, &references)?;
    }
    outcome.release = Some((manifest, written));
    Ok(outcome)
}

//! How it was made: a formula for each environment, with its packages and the steps that ran in it.

use super::{Packages, component, properties};
use crate::{Manifest, Step};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The formulas: one for each environment, one for the conversion of models.
pub fn all(manifest: &Manifest, packages: &Packages) -> Value {
    let environments = manifest.environments.iter().map(|(name, facts)| {
        let steps = manifest.steps().filter(|step| step.environment == *name);
        json!({
            "bom-ref": format!("environment:{name}"),
            "components": packages.get(name).cloned().unwrap_or_default(),
            "workflows": steps.map(|step| workflow(step, manifest)).collect::<Vec<_>>(),
            "properties": properties([
                ("lock", facts.lock.to_string()),
                ("nar", facts.nar.clone()),
                ("tree", facts.tree.to_string()),
            ]),
        })
    });
    let conversions: Vec<Value> = manifest.models.iter().map(|model| conversion(model, manifest)).collect();
    let models =
        (!conversions.is_empty()).then(|| json!({ "bom-ref": "conversions", "workflows": conversions }));
    environments.chain(models).collect()
}

fn step_reference(recipe: &str, target: &str) -> String {
    format!("step:{recipe}@{target}")
}

fn workflow(step: &Step, manifest: &Manifest) -> Value {
    let is = |steps: &[Step]| steps.iter().any(|it| it.recipe == step.recipe && it.target == step.target);
    let inputs = step.inputs.iter().filter(|name| manifest.inputs.contains_key(*name));
    let steps: BTreeSet<_> = manifest.steps().map(|it| (&it.recipe, &it.target)).collect();
    let dependencies = step.dependencies.iter().filter(|name| steps.contains(&(*name, &step.target)));
    let references = inputs
        .map(|name| component::input_reference(name))
        .chain(dependencies.map(|name| step_reference(name, &step.target)));
    let inputs: Vec<Value> = references.map(|it| json!({ "resource": { "ref": it } })).collect();
    let made = manifest
        .artifacts
        .iter()
        .filter(|it| it.step.recipe == step.recipe && it.step.target == step.target)
        .map(|it| json!({ "type": "artifact", "resource": { "ref": component::artifact_reference(it) } }));
    let outputs: Vec<Value> = made.collect();
    let reference = step_reference(&step.recipe, &step.target);
    let mut facts = vec![("action", step.action.to_string()), ("outputs", step.outputs.to_string())];
    facts.extend(step.imported.as_ref().map(|from| ("imported", from.clone())));
    let mut workflow = json!({
        "bom-ref": reference,
        "uid": step.action.hex(),
        "name": format!("{}@{}", step.recipe, step.target),
        "taskTypes": [if is(&manifest.checks) { "test" } else { "build" }],
        "properties": properties(facts),
    });
    if let Value::Object(map) = &mut workflow {
        map.extend((!inputs.is_empty()).then(|| ("inputs".into(), inputs.into())));
        map.extend((!outputs.is_empty()).then(|| ("outputs".into(), outputs.into())));
    }
    workflow
}

fn conversion(model: &crate::Model, manifest: &Manifest) -> Value {
    let known = model.inputs.iter().filter(|name| manifest.inputs.contains_key(*name));
    let inputs = known.map(|name| json!({ "resource": { "ref": component::input_reference(name) } }));
    json!({
        "bom-ref": format!("conversion:{}", model.conversion.title()),
        "uid": model.action.hex(),
        "name": model.conversion.title(),
        "taskTypes": ["build"],
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": [{ "type": "artifact", "resource": { "ref": component::model_reference(model) } }],
    })
}

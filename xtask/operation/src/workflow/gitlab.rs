//! Pipelines of GitLab CI/CD.

use super::{Data, written};
use crate::matrix::{Job, Jobs};
use anyhow::Result;
use builder::Project;
use serde_json::{Map, Value, json};

/// `.gitlab-ci.yml`.
pub(super) fn pipeline(data: &Data, jobs: &Jobs) -> String {
    let mut file = head(data);
    file.insert(
        "checks".to_owned(),
        json!({
            "stage": "build",
            "rules": [{ "if": "$CI_PIPELINE_SOURCE == \"merge_request_event\"" }],
            "variables": { "GIT_DEPTH": "0" },
            "script": [
                "bash ci/prepare.sh",
                "cargo ci --changed \"$CI_MERGE_REQUEST_DIFF_BASE_SHA\" --junit junit.xml",
            ],
            "artifacts": { "when": "always", "reports": { "junit": "junit.xml" } },
        }),
    );
    file.insert(
        "program".to_owned(),
        json!({
            "stage": "build",
            "rules": [not_for_merge_requests()],
            "script": [
                "bash ci/prepare.sh",
                "cargo build --locked --profile tool --package xtask",
                "mkdir -p program",
                "cp target/tool/xtask program/",
            ],
            "artifacts": { "paths": ["program/"], "expire_in": "1 week" },
        }),
    );
    add(&mut file, jobs, true);
    written(&file.into())
}

/// A pipeline of the nodes alone, for one that has the program already (`program/xtask`).
///
/// # Errors
/// When `ci/workflows.toml` can't be read.
pub fn child_pipeline(project: &Project, jobs: &Jobs) -> Result<String> {
    let mut file = head(&Data::read(&project.root)?);
    add(&mut file, jobs, false);
    Ok(written(&file.into()))
}

fn head(data: &Data) -> Map<String, Value> {
    let mut file = Map::new();
    file.insert("stages".to_owned(), json!(["build", "release"]));
    file.insert("default".to_owned(), json!({ "image": data.image, "interruptible": true }));
    file
}

fn not_for_merge_requests() -> Value {
    json!({ "if": "$CI_PIPELINE_SOURCE != \"merge_request_event\"" })
}

fn add(file: &mut Map<String, Value>, jobs: &Jobs, with_program: bool) {
    let needs = |names: &[&str]| -> Value {
        let program = with_program.then_some("program");
        program.into_iter().chain(names.iter().copied()).map(Value::from).collect::<Vec<_>>().into()
    };
    for job in &jobs.jobs {
        let names: Vec<&str> = job.needs.iter().map(String::as_str).collect();
        let mut node = node(job, needs(&names));
        if !with_program {
            // A pipeline that is made anew each time can name what it is made from. It is checked when it is imported.
            let paths = [format!("results/{}.tar", job.name)];
            node.insert("cache".to_owned(), json!({ "key": format!("node-{}", job.key), "paths": paths }));
        }
        file.insert(job.name.clone(), node.into());
    }
    // A job may need fifty others at most; what all others are needed by stands behind the stage.
    file.insert(
        "assemble".to_owned(),
        json!({
            "stage": "release",
            "rules": [not_for_merge_requests()],
            "script": ["bash ci/prepare.sh", format!("bash ci/assemble.sh {}", jobs.release)],
            "artifacts": { "paths": [format!("dist/{}/", jobs.release)] },
        }),
    );
}

fn node(job: &Job, needs: Value) -> Map<String, Value> {
    let script =
        ["bash ci/prepare.sh".to_owned(), format!("bash ci/build-node.sh {} {}", job.node, job.name)];
    let artifacts = json!({ "paths": [format!("results/{}.tar", job.name)], "expire_in": "1 week" });
    let entries = [
        ("stage", "build".into()),
        ("rules", json!([not_for_merge_requests()])),
        ("needs", needs),
        ("timeout", format!("{} minutes", 30 + 3 * job.minutes).into()),
        ("script", json!(script)),
        ("artifacts", artifacts),
    ];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

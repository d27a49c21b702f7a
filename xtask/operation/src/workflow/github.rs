//! Workflows of GitHub Actions.
//!
//! Each names the least permissions, pins actions by commit, keeps no credentials in the checkout, and expands nothing inside a
//! script: what comes from an event goes through a variable.

use super::{Data, written};
use crate::matrix::{Job, Jobs};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Where a repository says which archive of Debian's its runners take packages from; they have another distribution's. A
/// secret, since the address of a private mirror may hold a password.
const MIRROR: &str = "${{ secrets.MLC_REPRO_DEBIAN_MIRROR }}";

/// All workflows: paths and texts.
pub(super) fn files(data: &Data, jobs: &Jobs) -> Result<Vec<(String, String)>> {
    let writer = Writer { data, jobs };
    let workflows = [
        ("checks", writer.checks()?),
        ("nightly", writer.nightly()?),
        ("release", writer.release()?),
        ("model", writer.model()?),
    ];
    let file = |(name, value): (&str, Value)| {
        (format!(".github/workflows/{name}.yml"), writer.with_versions(&written(&value)))
    };
    Ok(workflows.into_iter().map(file).collect())
}

struct Writer<'a> {
    data: &'a Data,
    jobs: &'a Jobs,
}

impl Writer<'_> {
    fn action(&self, name: &str) -> Result<String> {
        let action = self.data.actions.iter().find(|action| action.name == name);
        let action = action.with_context(|| format!("ci/workflows.toml pins no action `{name}`"))?;
        Ok(format!("{name}@{}", action.commit))
    }

    /// Behind each commit the version that it is, for people and for what proposes newer ones.
    fn with_versions(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for action in &self.data.actions {
            let pin = format!("{}@{}", action.name, action.commit);
            text = text.replace(&pin, &format!("{pin} # {}", action.version));
        }
        text
    }

    fn uses(&self, name: &str, with: Value) -> Result<Value> {
        Ok(json!({ "uses": self.action(name)?, "with": with }))
    }

    /// The checkout, and what a machine of GitHub's needs before it can build.
    fn start(&self, depth: u32) -> Result<Vec<Value>> {
        let checkout = json!({ "persist-credentials": false, "fetch-depth": depth });
        Ok(vec![self.uses("actions/checkout", checkout)?, json!({ "run": "bash ci/prepare.sh" })])
    }

    fn upload(&self, name: &str, path: &str) -> Result<Value> {
        let with =
            json!({ "name": name, "path": path, "if-no-files-found": "error", "compression-level": 0 });
        self.uses("actions/upload-artifact", with)
    }

    fn download(&self, name: &str, path: &str) -> Result<Value> {
        self.uses("actions/download-artifact", json!({ "name": name, "path": path }))
    }

    fn job(&self, name: &str, minutes: u64, steps: Vec<Value>) -> Map<String, Value> {
        let mut job = Map::new();
        job.insert("name".to_owned(), name.into());
        job.insert("runs-on".to_owned(), self.data.runner.clone().into());
        job.insert("timeout-minutes".to_owned(), minutes.into());
        job.insert("permissions".to_owned(), json!({ "contents": "read" }));
        job.insert("steps".to_owned(), steps.into());
        job
    }

    fn workflow(name: &str, on: Value, jobs: Map<String, Value>) -> Value {
        json!({
            "name": name, "on": on, "permissions": {}, "env": { "MLC_REPRO_DEBIAN_MIRROR": MIRROR },
            "concurrency": {
                "group": format!("{name}-${{{{ github.ref }}}}"),
                // What was pushed is checked to its end.
                "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
            },
            "jobs": jobs,
        })
    }

    /// Changes that are proposed, and what was pushed.
    fn checks(&self) -> Result<Value> {
        let mut steps = self.start(0)?;
        steps.push(json!({
            "name": "What the change can affect",
            "if": "github.event_name == 'pull_request'",
            "env": { "BASE": "${{ github.event.pull_request.base.sha }}" },
            "run": "cargo ci --changed \"$BASE\"",
        }));
        steps.push(json!({
            "name": "Everything", "if": "github.event_name != 'pull_request'", "run": "cargo ci --keep-going",
        }));
        let mut jobs = Map::new();
        jobs.insert("checks".to_owned(), self.job("checks", 120, steps).into());
        let on = json!({ "pull_request": {}, "push": { "branches": ["main"] } });
        Ok(Self::workflow("checks", on, jobs))
    }

    /// A second builder: another user, another directory, another backend, another day.
    fn nightly(&self) -> Result<Value> {
        let release = &self.data.release;
        let mut steps = self.start(1)?;
        steps.push(json!({ "name": "Build", "run": format!("cargo xtask release {release}") }));
        steps.push(json!({
            "name": "Build again: another user, directory and backend",
            "run": format!("bash ci/second-builder.sh {release}"),
        }));
        let mut reachable = self.start(1)?;
        reachable.push(json!({ "name": "What has vanished", "run": "cargo xtask lock check --reachable" }));
        let mut jobs = Map::new();
        jobs.insert("rebuild".to_owned(), self.job("rebuild", 240, steps).into());
        jobs.insert("reachable".to_owned(), self.job("reachable", 60, reachable).into());
        let on = json!({ "schedule": [{ "cron": self.data.nightly }], "workflow_dispatch": {} });
        Ok(Self::workflow("nightly", on, jobs))
    }

    /// A job a node, one that assembles and attests, one that publishes.
    fn release(&self) -> Result<Value> {
        let mut jobs = Map::new();
        let mut steps = self.start(1)?;
        steps.push(json!({ "run": "cargo build --locked --profile tool --package xtask" }));
        steps.push(self.upload("program", "target/tool/xtask")?);
        jobs.insert("program".to_owned(), self.job("program", 60, steps).into());
        for job in &self.jobs.jobs {
            jobs.insert(job.name.clone(), self.node(job)?.into());
        }
        jobs.insert("images".to_owned(), self.images()?.into());
        jobs.insert("assemble".to_owned(), self.assemble()?.into());
        jobs.insert("publish".to_owned(), self.publish()?.into());
        let on = json!({ "push": { "tags": ["v*"] }, "workflow_dispatch": {} });
        Ok(Self::workflow("release", on, jobs))
    }

    fn node(&self, job: &Job) -> Result<Map<String, Value>> {
        let mut steps = self.start(1)?;
        steps.push(self.download("program", "program")?);
        for name in &job.needs {
            steps.push(self.download(&format!("result-{name}"), "results")?);
        }
        // Empty where the repository has no such secrets.
        steps.push(json!({
            "run": format!("bash ci/build-node.sh {} {}", job.node, job.name),
            "env": {
                "MLC_REPRO_CACHE": "${{ secrets.MLC_REPRO_CACHE }}",
                "MLC_REPRO_CACHE_TOKEN": "${{ secrets.MLC_REPRO_CACHE_TOKEN }}",
            },
        }));
        steps.push(self.upload(&format!("result-{}", job.name), &format!("results/{}.tar", job.name))?);
        // Downloads and the environment come before the work; the work may take longer on a slow machine.
        let mut value = self.job(&job.node.to_string(), 30 + 3 * job.minutes, steps);
        let needs: Vec<&str> = ["program"].into_iter().chain(job.needs.iter().map(String::as_str)).collect();
        value.insert("needs".to_owned(), json!(needs));
        Ok(value)
    }

    fn assemble(&self) -> Result<Map<String, Value>> {
        let release = &self.data.release;
        let mut steps = self.start(1)?;
        steps.push(self.download("program", "program")?);
        steps.push(self.uses(
            "actions/download-artifact",
            json!({ "pattern": "result-*", "path": "results", "merge-multiple": true }),
        )?);
        steps.push(json!({ "run": format!("bash ci/assemble.sh {release}") }));
        let attest = "actions/attest-build-provenance";
        let sums = format!("dist/{release}/SHA256SUMS");
        steps.push(self.uses(attest, json!({ "subject-checksums": sums }))?);
        steps.push(self.upload(release, &format!("dist/{release}"))?);
        let mut job = self.job("assemble", 60, steps);
        let names: Vec<&str> =
            ["program"].into_iter().chain(self.jobs.jobs.iter().map(|job| job.name.as_str())).collect();
        job.insert("needs".to_owned(), json!(names));
        job.insert("permissions".to_owned(), attesting());
        Ok(job)
    }

    /// Environments as container images: for CI elsewhere, and the dev container.
    fn images(&self) -> Result<Map<String, Value>> {
        let mut steps = self.start(1)?;
        steps.push(self.download("program", "program")?);
        steps.push(json!({ "run": format!("bash ci/images.sh {}", self.data.images.join(" ")) }));
        steps.push(self.uses("actions/attest-build-provenance", json!({ "subject-path": "images/*" }))?);
        steps.push(self.upload("images", "images")?);
        let mut job = self.job("images", 60, steps);
        job.insert("needs".to_owned(), json!(["program"]));
        job.insert("permissions".to_owned(), attesting());
        Ok(job)
    }

    fn publish(&self) -> Result<Map<String, Value>> {
        let release = &self.data.release;
        let steps = vec![
            self.download(release, release)?,
            self.download("images", "images")?,
            json!({
                "env": { "GH_TOKEN": "${{ github.token }}", "GH_REPO": "${{ github.repository }}", "TAG": "${{ github.ref_name }}" },
                "run": format!("gh release create \"$TAG\" --verify-tag --title \"$TAG\" || true\nfind {release} images -type f -print0 | xargs -0 gh release upload \"$TAG\"\n"),
            }),
        ];
        let mut job = self.job("publish", 30, steps);
        job.insert("needs".to_owned(), json!(["assemble", "images"]));
        job.insert("if".to_owned(), "github.ref_type == 'tag'".into());
        job.insert("environment".to_owned(), "release".into());
        job.insert("permissions".to_owned(), json!({ "contents": "write" }));
        Ok(job)
    }

    /// A conversion on demand.
    fn model(&self) -> Result<Value> {
        let mut steps = self.start(1)?;
        steps.push(json!({
            "env": {
                "MODEL": "${{ inputs.model }}",
                "QUANTIZATION": "${{ inputs.quantization }}",
                "TEMPLATE": "${{ inputs.template }}",
                "HF_TOKEN": "${{ secrets.HF_TOKEN }}",
            },
            "run": "bash ci/convert-model.sh",
        }));
        steps.push(self.upload("model", "dist/model")?);
        let mut jobs = Map::new();
        jobs.insert("convert".to_owned(), self.job("convert", 120, steps).into());
        let input =
            |description: &str| json!({ "description": description, "required": true, "type": "string" });
        let on = json!({ "workflow_dispatch": { "inputs": {
            "model": input("A model of the hub: OWNER/NAME@REVISION"),
            "quantization": input("The quantization, such as q4f16_1"),
            "template": input("The conversation template, such as qwen2"),
        } } });
        Ok(Self::workflow("model", on, jobs))
    }
}

/// The permissions of a job that attests what it has made.
fn attesting() -> Value {
    json!({ "contents": "read", "id-token": "write", "attestations": "write" })
}

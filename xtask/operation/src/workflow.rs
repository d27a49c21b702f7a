//! Files for CI services, from `ci/workflows.toml` and the plan of its release.

mod github;
mod gitlab;
mod nix;
mod yaml;

use crate::matrix::Jobs;
use anyhow::{Context, Result, ensure};
use builder::{Node, Project};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

pub use gitlab::child_pipeline;

/// A CI service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI/CD.
    GitLab,
    /// The flake, whose derivations are the nodes.
    Nix,
}

/// `ci/workflows.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// The machines of GitHub that jobs run on.
    runner: String,
    /// The container image of GitLab's jobs, by digest: it has Rust and Debian's apt.
    image: String,
    /// The release that is built and published.
    release: String,
    /// The environments that are published with it as container images.
    images: Vec<String>,
    /// When the nightly workflow starts, as cron has it, in UTC.
    nightly: String,
    /// Minutes that a node is expected to take, where nothing is said.
    minutes: u64,
    /// Minutes for nodes, by `RECIPE` or `RECIPE@TARGET`.
    expected: BTreeMap<String, u64>,
    /// Actions of GitHub's, each by the commit of its version.
    #[serde(rename = "action")]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    name: String,
    version: String,
    commit: String,
}

impl Data {
    /// What a node is expected to take where nobody says anything.
    pub const MINUTES: u64 = 3;

    /// Reads `ci/workflows.toml`, if there is one.
    pub fn find(root: &Path) -> Result<Option<Self>> {
        root.join("ci/workflows.toml").exists().then(|| Self::read(root)).transpose()
    }

    /// Reads `ci/workflows.toml`.
    ///
    /// # Errors
    /// When it can't be read, is malformed, or pins an action by anything but a commit.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("ci/workflows.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let data: Self = toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
        for action in &data.actions {
            let is_commit =
                action.commit.len() == 40 && action.commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            ensure!(is_commit, "{}: `{}` is pinned by no commit", path.display(), action.name);
        }
        Ok(data)
    }

    /// How long a node is expected to take.
    pub fn minutes(&self, node: &Node) -> u64 {
        let known = self.expected.get(&node.to_string()).or_else(|| self.expected.get(&*node.recipe));
        known.copied().unwrap_or(self.minutes)
    }
}

/// The files of a service: their paths in the repository, and their texts.
///
/// # Errors
/// As of [`Jobs::new`]; also if `ci/workflows.toml` can't be read, is malformed, or lacks an action that a workflow uses.
pub fn workflows(project: &Project, service: Service) -> Result<Vec<(String, String)>> {
    let data_and_jobs = || {
        let data = Data::read(&project.root)?;
        let jobs = Jobs::new(project, &data.release)?;
        anyhow::Ok((data, jobs))
    };
    match service {
        Service::GitHub => {
            let (data, jobs) = data_and_jobs()?;
            github::files(&data, &jobs)
        }
        Service::GitLab => {
            let (data, jobs) = data_and_jobs()?;
            Ok(vec![(".gitlab-ci.yml".to_owned(), gitlab::pipeline(&data, &jobs))])
        }
        Service::Nix => Ok(vec![("nix/plan.json".to_owned(), nix::plan(project)?)]),
    }
}

/// A workflow, with a first line that says where it comes from.
fn written(value: &Value) -> String {
    let text = yaml::document(value);
    format!(
        "# Written by `cargo xtask ci workflow` from ci/workflows.toml and the recipes; change those.\n{text}"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_those_that_the_data_give() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let project = Project::load(&root).unwrap();
        for service in [Service::GitHub, Service::GitLab, Service::Nix] {
            for (path, text) in workflows(&project, service).unwrap() {
                let there = std::fs::read_to_string(root.join(&path)).unwrap();
                assert!(
                    there == text,
                    "{path} is out of date: run `cargo xtask ci workflow github`, `… gitlab` and `… nix`"
                );
            }
        }
    }

    #[test]
    fn each_job_comes_after_all_that_it_needs() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let project = Project::load(&root).unwrap();
        let jobs = Jobs::new(&project, "tvm").unwrap().jobs;
        assert!(jobs.iter().any(|job| job.kind == "check") && jobs.iter().any(|job| job.kind == "artifact"));
        for (index, job) in jobs.iter().enumerate() {
            for name in &job.needs {
                let before = jobs[..index].iter().find(|before| before.name == *name).unwrap();
                assert!(before.level < job.level && before.needs.iter().all(|name| job.needs.contains(name)));
            }
        }
    }
}

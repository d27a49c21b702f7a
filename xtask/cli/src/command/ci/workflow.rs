//! `ci workflow`.

use crate::context::Global;
use anyhow::{Context, Result, ensure};
use std::process::ExitCode;

/// Write the workflows of a CI service, or the flake's plan, from ci/workflows.toml and the recipes
///
/// For GitHub: .github/workflows/*.yml. For GitLab: .gitlab-ci.yml. Every node of a release is a job, which takes the results
/// of its dependencies' jobs as files (`store import`) and hands on its own (`store export`); the last job assembles the release
/// and verifies it. For Nix: nix/plan.json, from which flake.nix makes a derivation of each node. Run this after a change of a recipe's dependencies: a test compares.
#[derive(clap::Args)]
pub struct Arguments {
    /// For which service
    #[arg(value_enum)]
    service: Service,
    /// Write nothing; fail if a file is not what would be written
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Service {
    /// GitHub Actions
    Github,
    /// GitLab CI/CD
    Gitlab,
    /// The flake
    Nix,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    let service = match arguments.service {
        Service::Github => operation::Service::GitHub,
        Service::Gitlab => operation::Service::GitLab,
        Service::Nix => operation::Service::Nix,
    };
    let files = operation::workflows(&project, service)?;
    if arguments.check {
        let is_other = |(path, text): &&(String, String)| {
            !std::fs::read_to_string(project.root.join(path)).is_ok_and(|there| there == *text)
        };
        let others: Vec<_> = files.iter().filter(is_other).collect();
        for (path, _) in &others {
            println!("{path} is not what ci/workflows.toml and the recipes give");
        }
        let error =
            || store::hinted(format!("{} files are out of date", others.len()), "run this without `--check`");
        ensure!(others.is_empty(), error());
        return Ok(ExitCode::SUCCESS);
    }
    for (path, text) in files {
        let full = project.root.join(&path);
        if let Some(parent) = full.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        store::write_output(&full, text.as_bytes())?;
        global.progress().line(&format!("{path} is written"));
    }
    Ok(ExitCode::SUCCESS)
}

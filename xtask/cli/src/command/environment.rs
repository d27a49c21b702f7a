//! `environment list`, `build` and `shell`.

use crate::context::Global;
use anyhow::{Context, Result};
use environment::{Backend, Environment, Launch};
use std::{collections::BTreeMap, process::ExitCode};
use store::{Store, Tree};

/// List, assemble and enter the environments that builds run in
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Every environment: how many packages, how large, what for
    List,
    /// Assemble environments and print their digests
    Build {
        /// Which [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Print the Nix hash of the tree as well
        #[arg(long)]
        nar: bool,
    },
    /// Run a shell, or a command, in an environment, as a build would
    ///
    /// /build/work and /build/out are empty and thrown away afterwards; /build/src is the current directory, read-only.
    Shell {
        /// The environment
        name: String,
        /// A command instead of a shell
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let project = global.project()?;
    match &arguments.command {
        Command::List => {
            let mut rows = Vec::new();
            for name in project.environments()? {
                let (definition, lock) = project.environment(&name)?;
                let bytes: u64 = lock.inputs.iter().map(|input| input.digest.size).sum();
                rows.push((name, lock.inputs.len(), bytes, definition.description));
            }
            if global.json {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(name, packages, bytes, description)| {
                        serde_json::json!({ "name": name, "packages": packages, "bytes": bytes, "description": description })
                    })
                    .collect();
                println!("{}", serde_json::to_string_pretty(&rows)?);
                return Ok(ExitCode::SUCCESS);
            }
            for (name, packages, bytes, description) in rows {
                println!("{name:10} {packages:4} packages {:5} MB  {description}", bytes / 1_000_000);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Build { names, nar } => {
            let store = global.open_store()?;
            let all = project.environments()?;
            let names = if names.is_empty() { &all } else { names };
            let mut rows = Vec::new();
            for name in names {
                let environment = assemble(global, &project, &store, name)?;
                let hash = match nar {
                    true => Some(store.nar_hash(&Tree::read(&store, &environment.root)?)?),
                    false => None,
                };
                if !global.json {
                    println!("{name:10} {} {}", environment.root, hash.as_deref().unwrap_or_default());
                }
                rows.push(serde_json::json!({ "name": name, "tree": environment.root, "nar": hash }));
            }
            if global.json {
                println!("{}", serde_json::to_string_pretty(&rows)?);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Shell { name, command } => {
            let store = global.open_store()?;
            let environment = assemble(global, &project, &store, name)?;
            let sandbox = super::build::sandbox(global, &project, &store)?;
            let root = store.checkout(&environment.root, &global.progress())?;
            let scratch = store.scratch()?;
            let [work, out] = ["work", "out"].map(|name| scratch.path().join(name));
            for directory in [&work, &out] {
                std::fs::create_dir(directory)?;
            }
            let variables = BTreeMap::from(
                [
                    ("HOME", "/build/work"),
                    ("LC_ALL", "C.UTF-8"),
                    ("PATH", "/usr/lib/llvm-18/bin:/usr/bin:/bin"),
                    ("TERM", "xterm"),
                    ("TZ", "UTC"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
            );
            let shell = ["/bin/bash".to_owned()];
            let launch = Launch {
                root: &root,
                arguments: if command.is_empty() { &shell } else { command },
                variables: &variables,
                source: &std::env::current_dir()?,
                work: &work,
                out: &out,
                interactive: true,
            };
            let status = sandbox.run(&launch, &mut |_| {})?;
            Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
        }
    }
}

fn assemble(global: &Global, project: &build::Project, store: &Store, name: &str) -> Result<Environment> {
    let (definition, lock) = project.environment(name)?;
    environment::assemble(store, name, &definition, &lock, &global.fetch_options(), &global.progress())
        .with_context(|| format!("cannot assemble environment `{name}`"))
}

//! `environment list`, `build`, `shell` and `export`.

use crate::context::Global;
use anyhow::{Context, Result};
use builder::{Node, Project};
use environment::{Environment, Exit, Image, ImageFormat, Launch, Limits, Source};
use std::{
    io::{BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};
use store::{OutputFile, Store};

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
        #[arg(value_name = "NAME", add = crate::names::environments())]
        names: Vec<String>,
        /// Print the Nix hash of the tree as well
        #[arg(long)]
        nar: bool,
    },
    /// Run a shell, or a command, in an environment, as a build would
    ///
    /// /build/work and /build/out are empty and thrown away afterwards; /build/src is the current directory, read-only. With
    /// another `--backend` than the sandbox there is no shell at a terminal, and a command must be given. Variables are
    /// those of a build; TARGET and VERSION are those of the recipe, where one is named.
    Shell {
        /// The environment, or what is built in it
        #[arg(value_name = "NAME|RECIPE@TARGET", add = crate::names::places())]
        name: String,
        /// A command instead of a shell
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Write an environment as a container image, for continuous integration or a dev container
    ///
    /// The same environment gives the same bytes on every machine.
    ///
    /// Examples:
    ///   cargo xtask environment export windows -o windows.tar && docker load -i windows.tar
    ///   cargo xtask environment export linux --format oci -o linux.tar
    ///   skopeo copy oci-archive:linux.tar docker://registry.example/linux:1
    #[command(verbatim_doc_comment)]
    Export {
        /// The environment
        #[arg(add = crate::names::environments())]
        name: String,
        /// How to write it
        #[arg(long, value_enum, default_value_t = Format::Docker)]
        format: Format,
        /// The file; it is replaced when the image is complete
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// An OCI image layout in a tar archive: skopeo, podman, containerd, Docker since 25
    Oci,
    /// What `docker load` of every version reads
    Docker,
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
            if global.json() {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(name, packages, bytes, description)| {
                        serde_json::json!({ "name": name, "packages": packages, "bytes": bytes, "description": description })
                    })
                    .collect();
                crate::events::result(&rows)?;
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
                    true => Some(store.nar_hash_of(&environment.root)?),
                    false => None,
                };
                if !global.json() {
                    println!("{name:10} {} {}", environment.root, hash.as_deref().unwrap_or_default());
                }
                rows.push(serde_json::json!({ "name": name, "tree": environment.root, "nar": hash }));
            }
            if global.json() {
                crate::events::result(&rows)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Shell { name, command } => {
            let store = global.open_store()?;
            let (name, node) = place(&project, name)?;
            let environment = assemble(global, &project, &store, &name)?;
            let progress = global.progress();
            let open = global.opener();
            let session = global.session(&project, &store, &progress, &open);
            let backend = session.backend()?;
            let node =
                node.as_ref().map(|node| Ok::<_, anyhow::Error>((project.recipe(&node.recipe)?, node)));
            let mut variables = builder::variables(&environment, node.transpose()?);
            variables.insert(builder::JOBS.to_owned(), global.jobs().to_string());
            if std::io::stdin().is_terminal() {
                // For whoever types; no build has it.
                variables.insert("TERM".to_owned(), "xterm".to_owned());
            }
            let shell = ["/bin/bash".to_owned()];
            let launch = Launch {
                store: &store,
                environment: &environment,
                arguments: if command.is_empty() { &shell } else { command },
                variables: &variables,
                source: Source::Directory(&std::env::current_dir()?),
                action: None,
                interactive: true,
                needs: Limits::default(),
                progress: &progress,
            };
            let mut said = Ok(());
            let ended = backend.run(&launch, &mut |bytes| {
                if said.is_ok() {
                    said = std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush());
                }
            })?;
            said.context("cannot pass the command's output on")?;
            Ok(match ended.exit {
                Exit::Exited(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
                // As shells say it.
                Exit::Signalled(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
            })
        }
        Command::Export { name, format, output } => {
            let store = global.open_store()?;
            let environment = assemble(global, &project, &store, name)?;
            export(global, &store, &environment, *format, output)
        }
    }
}

fn export(
    global: &Global,
    store: &Store,
    environment: &Environment,
    format: Format,
    output: &Path,
) -> Result<ExitCode> {
    let progress = global.progress();
    let image = Image::of(store, environment, &progress)?;
    let format = match format {
        Format::Oci => ImageFormat::Oci,
        Format::Docker => ImageFormat::Docker,
    };
    let writing = || format!("cannot write {}", output.display());
    let mut file = OutputFile::create(output)?;
    image
        .write(store, format, BufWriter::with_capacity(1 << 20, file.as_file_mut()), &progress)
        .with_context(writing)?;
    file.finish()?;
    let [id, manifest] = image.ids();
    if global.json() {
        let layers: Vec<_> = image
            .layers()
            .map(|(name, size, sha256)| serde_json::json!({ "name": name, "size": size, "sha256": sha256 }))
            .collect();
        let value =
            serde_json::json!({ "name": image.name, "id": id, "manifest": manifest, "layers": layers });
        crate::events::result(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, size, sha256) in image.layers() {
        progress.line(&format!("{:16} {:5} MB  {name}", &sha256[..16], size / 1_000_000));
    }
    progress.line(&format!("{} is {id}, its manifest {manifest}", image.name));
    Ok(ExitCode::SUCCESS)
}

/// The environment that is meant, and the node that would be built in it, if one was named.
fn place(project: &Project, text: &str) -> Result<(String, Option<Node>)> {
    if !text.contains('@') {
        return Ok((text.to_owned(), None));
    }
    let node = operation::goals(project, &[text.to_owned()])?.remove(0);
    Ok((project.node(&node)?.1.environment.clone(), Some(node)))
}

fn assemble(global: &Global, project: &Project, store: &Store, name: &str) -> Result<Environment> {
    let (definition, lock) = project.environment(name)?;
    environment::assemble(store, name, &definition, &lock, &global.fetch_options(), &global.progress())
        .with_context(|| format!("cannot assemble environment `{name}`"))
}

//! `doctor`.

use crate::context::{BackendKind, Global};
use anyhow::{Context, Result, bail, ensure};
use builder::Cause;
use clap::ValueEnum;
use environment::{Check, windows_drive};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};
use store::hinted;

/// Say what works on this machine, and how to mend what does not
///
/// Of the backends only the one that is chosen must work (`--backend`, MLC_REPRO_BACKEND; else the
/// sandbox); of the others it is said why they do not.
///
/// Examples:
///   cargo xtask doctor --backend docker
///   cargo xtask doctor --log build.log     a build that failed, here or by hand: what its log means
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Explain the known failures in the log of a build instead (`-`: standard input); the status is 1 where none is found
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// What was looked at, and what was found.
struct Finding {
    name: &'static str,
    result: Result<String>,
    /// Whether builds go on without it.
    optional: bool,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.log {
        Some(log) => explain(global, log),
        None => examine(global),
    }
}

/// What is known of the failures in a log.
fn explain(global: &Global, path: &Path) -> Result<ExitCode> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_end(&mut bytes),
        _ => File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("cannot read {shown}"))?;
    let causes = builder::explain_log(&bytes)?;
    if global.json() {
        crate::events::result(&causes)?;
    } else {
        for Cause { line, text, explanation, .. } in &causes {
            println!("{shown}:{line}: {}\n  hint: {explanation}", text.trim());
        }
        if causes.is_empty() {
            eprintln!("{shown} shows no failure that is known here; docs/troubleshooting.md has more");
        }
    }
    Ok(if causes.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What works on this machine.
fn examine(global: &Global) -> Result<ExitCode> {
    let needed = |name, result| Finding { name, result, optional: false };
    let mut findings = vec![needed("repository", repository(global)), needed("store", store(global))];
    let other = global.backend != BackendKind::Sandbox;
    findings.extend(environment::checks().into_iter().map(|check| Finding {
        name: check.name,
        // Switches of the kernel are the sandbox's and Nix's business.
        optional: other && check.name != "kernel",
        result: found(check),
    }));
    findings.extend(BackendKind::value_variants().iter().map(|kind| Finding {
        name: kind.name(),
        result: backend(global, *kind),
        optional: *kind != global.backend,
    }));
    findings.push(needed("android-ndk", android_ndk(global)));
    findings.push(needed("python index", input::python_registry(&global.fetch_options())));
    findings.push(needed("debian", debian(global)));
    if global.json() {
        let rows: Vec<_> = findings
            .iter()
            .map(|Finding { name, result, optional }| {
                let (detail, hints) = match result {
                    Ok(detail) => (detail.clone(), Vec::new()),
                    Err(error) => (format!("{error:#}"), store::hints(error).collect()),
                };
                serde_json::json!({
                    "check": name, "ok": result.is_ok(), "optional": optional, "detail": detail, "hints": hints,
                })
            })
            .collect();
        crate::events::result(&rows)?;
    } else {
        for Finding { name, result, optional } in &findings {
            let (word, detail) = match result {
                Ok(detail) => ("ok", detail.clone()),
                Err(error) if *optional => ("unused", format!("{error:#}")),
                Err(error) => ("FAILED", format!("{error:#}")),
            };
            println!("{word:7} {name:12} {detail}");
            for hint in result.as_ref().err().into_iter().flat_map(store::hints) {
                println!("  hint: {hint}");
            }
        }
    }
    let sound = findings.iter().all(|finding| finding.optional || finding.result.is_ok());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn found(check: Check) -> Result<String> {
    ensure!(check.ok, hinted(check.detail, check.remedy));
    Ok(check.detail)
}

fn repository(global: &Global) -> Result<String> {
    let project = global.project()?;
    let counts = format!("{} recipes, {} environments", project.recipes.len(), project.environments()?.len());
    Ok(match windows_drive(&project.root) {
        Some(drive) => format!(
            "{counts}; it stands on a drive of Windows ({}), where files are read slowly: a clone below your home directory in WSL is better",
            drive.display()
        ),
        None => counts,
    })
}

fn store(global: &Global) -> Result<String> {
    /// What a whole release takes, and some air.
    const NEEDED: u64 = 15_000_000_000;
    let store = global.open_store()?;
    if let Some(drive) = windows_drive(store.root()) {
        bail!(hinted(
            format!(
                "{} stands on a drive of Windows ({}), which keeps no modes of files and is slow",
                store.root().display(),
                drive.display()
            ),
            "choose a place below your home directory in WSL with `--store` or MLC_REPRO_STORE"
        ));
    }
    let free = store.free_bytes()?;
    ensure!(
        free >= NEEDED,
        hinted(
            format!(
                "{} has {} GB free; a release takes up to {} GB",
                store.root().display(),
                free / 1_000_000_000,
                NEEDED / 1_000_000_000
            ),
            "choose another place with `--store`"
        )
    );
    Ok(format!("{}, {} GB free", store.root().display(), free / 1_000_000_000))
}

/// Targets for Android alone need it, so a machine without it is not an unsound one.
fn android_ndk(global: &Global) -> Result<String> {
    const NAME: &str = "android-ndk";
    let project = global.project()?;
    let Some(input) = project.inputs.get(NAME) else { return Ok("not locked here".to_owned()) };
    Ok(match global.look_at_store()?.contains(&input.digest) {
        true => format!("{} is in the store", input.source.file_name()),
        false => format!(
            "{} ({} MB) is not in the store; targets for Android need it: `cargo xtask fetch {NAME}`, or `--input {NAME}=PATH`",
            input.source.file_name(),
            input.digest.size / 1_000_000
        ),
    })
}

/// Where Debian packages come from, and whether it has what the locks name.
fn debian(global: &Global) -> Result<String> {
    let project = global.project()?;
    let (_, lock) = project.environment("sandbox")?;
    let options = global.fetch_options().with_lock(&lock);
    // This one is new in every point release, so that where it is gone, others are too.
    let sample = lock.get("base-files").or_else(|| lock.inputs.first());
    input::debian_registry(&options, sample)
}

fn backend(global: &Global, kind: BackendKind) -> Result<String> {
    let global = Global { backend: kind, quiet: true, ..global.clone() };
    let (project, store, progress) = (global.project()?, global.open_store()?, global.progress());
    let open = global.opener();
    global.session(&project, &store, &progress, &open).backend()?.check()
}

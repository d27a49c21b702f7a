//! `doctor`.

use crate::context::Global;
use anyhow::{Result, ensure};
use environment::{Backend, Check};
use std::{process::ExitCode, time::Instant};

/// Say what works on this machine, and how to mend what does not
#[derive(clap::Args)]
pub struct Arguments {}

/// Runs the command.
pub fn run(global: &Global, _: &Arguments) -> Result<ExitCode> {
    let mut checks: Vec<(&str, Result<String>)> =
        vec![("repository", repository(global)), ("store", store(global))];
    checks.extend(environment::checks().into_iter().map(|check| (check.name, found(check))));
    checks.push(("sandbox", sandbox(global)));
    checks.push(("android-ndk", android_ndk(global)));
    checks.push(("registries", input::registries().map(|lines| lines.join("; "))));
    if global.json {
        let rows: Vec<_> = checks
            .iter()
            .map(|(name, result)| match result {
                Ok(detail) => serde_json::json!({ "check": name, "ok": true, "detail": detail }),
                Err(error) => {
                    serde_json::json!({ "check": name, "ok": false, "detail": format!("{error:#}") })
                }
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        for (name, result) in &checks {
            match result {
                Ok(detail) => println!("ok      {name:12} {detail}"),
                Err(error) => println!("FAILED  {name:12} {error:#}"),
            }
        }
    }
    let sound = checks.iter().all(|(_, result)| result.is_ok());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn found(check: Check) -> Result<String> {
    ensure!(check.ok, "{}\n  hint: {}", check.detail, check.remedy);
    Ok(check.detail)
}

fn repository(global: &Global) -> Result<String> {
    let project = global.project()?;
    Ok(format!("{} recipes, {} environments", project.recipes.len(), project.environments()?.len()))
}

fn store(global: &Global) -> Result<String> {
    /// What a whole release takes, and some air.
    const NEEDED: u64 = 15_000_000_000;
    let store = global.open_store()?;
    let free = store.free_bytes()?;
    ensure!(
        free >= NEEDED,
        "{} has {} GB free; a release takes up to {} GB\n  hint: choose another place with `--store`",
        store.root().display(),
        free / 1_000_000_000,
        NEEDED / 1_000_000_000
    );
    Ok(format!("{}, {} GB free", store.root().display(), free / 1_000_000_000))
}

/// Targets for Android alone need it, so a machine without it is no unsound one.
fn android_ndk(global: &Global) -> Result<String> {
    const NAME: &str = "android-ndk";
    let project = global.project()?;
    let Some(input) = project.inputs.get(NAME) else { return Ok("not locked here".to_owned()) };
    Ok(match global.open_store()?.contains(&input.digest) {
        true => format!("{} is in the store", input.source.file_name()),
        false => format!(
            "{} ({} MB) is not in the store; targets for Android need it: `cargo xtask fetch {NAME}`, or `--input {NAME}=PATH`",
            input.source.file_name(),
            input.digest.size / 1_000_000
        ),
    })
}

fn sandbox(global: &Global) -> Result<String> {
    let sandbox = super::build::sandbox(global, &global.project()?, &global.open_store()?)?;
    let start = Instant::now();
    sandbox.check()?;
    Ok(format!("an empty action takes {:.0} ms", start.elapsed().as_secs_f64() * 1000.0))
}

//! Package indices: what a package's file is called, where it is, how large it is.

use crate::{
    client::Client,
    url::{join, without_credentials},
};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use store::Progress;
use ureq::http::header;

/// A file of a Python package index.
#[derive(Debug, Deserialize)]
pub struct PythonFile {
    filename: String,
    /// Where it is.
    pub url: String,
    /// Its size in bytes (PEP 700; older indices lack it).
    pub size: Option<u64>,
    /// By algorithm, hexadecimal.
    pub hashes: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct PythonPackage {
    files: Vec<PythonFile>,
}

/// The largest answer of an index, in bytes.
const LARGEST_ANSWER: u64 = 64 << 20;

/// Looks a file up in an index (PEP 691, JSON).
///
/// # Errors
/// If the index can't be asked, or lacks the file.
pub fn python_file(
    client: &Client,
    index: &str,
    package: &str,
    file: &str,
    progress: &dyn Progress,
) -> Result<PythonFile> {
    let url = format!("{index}/{package}/");
    let shown = without_credentials(&url);
    let accept = [(header::ACCEPT, "application/vnd.pypi.simple.v1+json".to_owned())];
    let text = client
        .read(&url.clone().into(), &accept, LARGEST_ANSWER, progress)
        .map_err(|failure| failure.error)
        .with_context(|| format!("cannot read {shown}"))?;
    let found: PythonPackage = serde_json::from_slice(&text)
        .with_context(|| format!("{shown} does not answer with the JSON of PEP 691"))?;
    let mut found = found
        .files
        .into_iter()
        .find(|candidate| candidate.filename == file)
        .with_context(|| format!("{shown} has no file `{file}`"))?;
    if !found.url.contains("://") {
        found.url = join(&url, &found.url).context("an index without a scheme")?;
    }
    Ok(found)
}

/// Where an npm registry has the file of a package.
pub fn npm_file(registry: &str, package: &str, version: &str) -> String {
    let file = package.rsplit('/').next().unwrap_or(package);
    format!("{registry}/{package}/-/{file}-{version}.tgz")
}

/// Looks crates up in cargo's index, without fetching them.
///
/// # Errors
/// If one is not there any more, or was withdrawn.
pub fn look_crates_up(crates: &[(&str, &str)]) -> Result<()> {
    run_cargo(crates, "generate-lockfile")
}

/// Runs cargo in a package that depends on crates (names and versions).
fn run_cargo(crates: &[(&str, &str)], command: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut manifest = "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n[dependencies]\n".to_owned();
    for (index, (package, version)) in crates.iter().enumerate() {
        // What stands behind a `+` tells no versions apart, and a requirement can't have it.
        let (version, _) = version.split_once('+').unwrap_or((version, ""));
        // Renamed, so that two versions of one crate can stand there; without what only its defaults would drag in.
        manifest += &format!(
            "c{index} = {{ package = \"{package}\", version = \"={version}\", default-features = false }}\n"
        );
    }
    std::fs::write(directory.path().join("Cargo.toml"), manifest)?;
    std::fs::write(directory.path().join("lib.rs"), "")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([command, "--quiet"])
        .current_dir(directory.path())
        .output()
        .context("cannot run cargo to fetch a crate")?;
    let shown = match crates {
        [(package, version)] => format!("crate `{package}` {version}"),
        _ => format!("{} crates", crates.len()),
    };
    ensure!(
        output.status.success(),
        "cargo cannot fetch {shown}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// The file of a crate, fetched by cargo from wherever cargo is configured to fetch.
pub fn crate_file(package: &str, version: &str) -> Result<PathBuf> {
    let files = crate_files(&[(package, version)])?;
    files.into_iter().next().context("cargo fetched nothing")
}

/// The files of crates (names and versions) that one resolution of cargo's chose, in their order.
pub fn crate_files(crates: &[(&str, &str)]) -> Result<Vec<PathBuf>> {
    run_cargo(crates, "fetch")?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let cache = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/cache");
    let registries: Vec<PathBuf> = std::fs::read_dir(&cache)
        .with_context(|| format!("cannot list {}", cache.display()))?
        .map(|registry| Ok(registry?.path()))
        .collect::<Result<_>>()?;
    crates
        .iter()
        .map(|(package, version)| {
            registries
                .iter()
                .map(|registry| registry.join(format!("{package}-{version}.crate")))
                .find(|path| path.is_file())
                .with_context(|| {
                    format!("cargo fetched `{package}` {version}, but {} lacks it", cache.display())
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npm_packages_are_where_every_registry_has_them() {
        let file = npm_file("https://x.invalid", "@scope/name", "1.0.0");
        assert_eq!(file, "https://x.invalid/@scope/name/-/name-1.0.0.tgz");
    }
}

//! Where the registries are: what this machine's own clients are configured with. No address stands in this repository.

use crate::{apt, client::Token, command::output};
use anyhow::{Context, Result, ensure};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};
use store::{WithHint, hinted};

/// Names Debian archives.
pub const DEBIAN_MIRROR: &str = "MLC_REPRO_DEBIAN_MIRROR";

/// The value of an environment variable that is set and not empty.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The Python package index (PEP 503 "simple" root): `MLC_REPRO_PYPI_INDEX`, else what pip uses.
pub fn python_index() -> Result<String> {
    let index = match variable("MLC_REPRO_PYPI_INDEX") {
        Some(index) => index,
        None => pip_index().with_hint(|| {
            hinted(
                "cannot find the Python package index",
                "set MLC_REPRO_PYPI_INDEX, or make `python3 -m pip` work",
            )
        })?,
    };
    Ok(index.trim_end_matches('/').to_owned())
}

fn pip_index() -> Result<String> {
    let configured = output("python3", &["-m", "pip", "config", "list"])?;
    if let Some(index) = index_of(&configured) {
        return Ok(index);
    }
    // pip's own default, asked of pip.
    let default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";
    Ok(output("python3", &["-c", default])?.trim().to_owned())
}

/// `global.index-url='…'`; the environment (`:env:`) counts more than files, as in pip.
fn index_of(configured: &str) -> Option<String> {
    let values = |prefix: &str| {
        configured.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.starts_with(prefix) && key.ends_with(".index-url"))
                .then(|| value.trim_matches('\'').to_owned())
        })
    };
    values(":env:").or_else(|| values("install.")).or_else(|| values("global."))
}

/// The npm registry: `MLC_REPRO_NPM_REGISTRY`, else what npm uses.
pub fn npm_registry() -> Result<String> {
    let registry = match variable("MLC_REPRO_NPM_REGISTRY") {
        Some(registry) => registry,
        None => output("npm", &["config", "get", "registry"]).with_hint(|| {
            hinted(
                "cannot find the npm registry",
                "set MLC_REPRO_NPM_REGISTRY, or make `npm config get registry` work",
            )
        })?,
    };
    Ok(registry.trim().trim_end_matches('/').to_owned())
}

/// Debian archives: `MLC_REPRO_DEBIAN_MIRROR` (several, separated by spaces), else those of Debian that apt uses, in its
/// order.
///
/// # Errors
/// If the variable has something else than addresses; if apt knows none.
pub fn debian_mirrors() -> Result<Vec<String>> {
    let Some(text) = variable(DEBIAN_MIRROR) else { return apt::debian_archives() };
    let mut mirrors: Vec<String> = Vec::new();
    for mirror in text.split_whitespace().map(|mirror| mirror.trim_end_matches('/').to_owned()) {
        ensure!(
            mirror.starts_with("http://") || mirror.starts_with("https://"),
            "{DEBIAN_MIRROR} has `{}`, which is not an address that starts with https:// or http://",
            mirror.escape_debug()
        );
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    Ok(mirrors)
}

/// Whether the user says which Debian archives are asked, instead of apt.
pub fn is_debian_chosen() -> bool {
    variable(DEBIAN_MIRROR).is_some()
}

/// The Hugging Face hub: `HF_ENDPOINT`, else what the client of hubs (`huggingface_hub`, of Python) uses.
pub fn hub_endpoint() -> Result<String> {
    let endpoint = match variable("HF_ENDPOINT") {
        Some(endpoint) => endpoint,
        None => {
            let default = "from huggingface_hub import constants; print(constants.ENDPOINT)";
            output("python3", &["-c", default]).with_hint(|| {
                hinted(
                    "it is not known which hub models come from",
                    "give its address with `--endpoint` or HF_ENDPOINT, or install Python's \
                `huggingface_hub`",
                )
            })?
        }
    };
    Ok(endpoint.trim().trim_end_matches('/').to_owned())
}

/// What proves to a hub who asks, from where its other clients take it: `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else
/// `token` in `HF_HOME`, in `huggingface` of `XDG_CACHE_HOME`, or in `~/.cache/huggingface`. It is shown nowhere.
///
/// Errors: what is there is no token. The message does not repeat it.
pub fn hub_token() -> Result<Option<Token>> {
    let names = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];
    if let Some((name, text)) = names.iter().find_map(|name| Some((name, variable(name)?))) {
        return Token::new(&text).with_context(|| format!("{name} holds no token")).map(Some);
    }
    let directory = variable("HF_HOME").map(PathBuf::from).or_else(|| {
        let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))?;
        Some(cache.join("huggingface"))
    });
    let path = variable("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(directory?.join("token")));
    let Some(path) = path else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Token::new(&text).with_context(|| format!("{} holds no token", path.display())).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_prefers_the_environment() {
        let text = "global.cert='/x'\nglobal.index-url='https://a.invalid/simple'\n";
        assert_eq!(index_of(text).unwrap(), "https://a.invalid/simple");
        let text = format!("{text}:env:.index-url='https://b.invalid/simple/'\n");
        assert_eq!(index_of(&text).unwrap(), "https://b.invalid/simple/");
        assert_eq!(index_of("global.cert='/x'\n"), None);
    }
}

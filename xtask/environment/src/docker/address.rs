//! Where the container engine is: what Docker's own client would choose, then podman's socket.
//!
//! <https://docs.docker.com/engine/manage-resources/contexts/>

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::{
    io::ErrorKind,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};
use store::{Digest, WithHint, hinted};

const START: &str = "start it (`systemctl start docker`, or for podman `systemctl --user start podman.socket`), or say with DOCKER_HOST where it is";

/// What decides, so that tests can give it.
pub(super) struct Surroundings<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// `/`, but in tests.
    pub root: &'a Path,
}

/// The address (`unix://…` or `tcp://…`) and what named it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub url: String,
    pub named_by: String,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct ContextFile {
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host")]
    host: String,
}

impl Surroundings<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Errors: a context that is not there or can't be read.
    pub(super) fn address(&self) -> Result<Address> {
        if let Some(url) = self.get("DOCKER_HOST") {
            return Ok(Address { url, named_by: "DOCKER_HOST".to_owned() });
        }
        let configuration = match self.get("DOCKER_CONFIG") {
            Some(directory) => Some(PathBuf::from(directory)),
            None => self.get("HOME").map(|home| Path::new(&home).join(".docker")),
        };
        if let Some(directory) = configuration
            && let Some(name) = self.context(&directory)?
        {
            return Ok(Address {
                url: context_host(&directory, &name)?,
                named_by: format!("Docker's context `{name}`"),
            });
        }
        let mut sockets = vec!["/run/docker.sock".to_owned(), "/var/run/docker.sock".to_owned()];
        if let Some(directory) = self.get("XDG_RUNTIME_DIR") {
            sockets.push(format!("{directory}/docker.sock"));
            sockets.push(format!("{directory}/podman/podman.sock"));
        }
        sockets.push("/run/podman/podman.sock".to_owned());
        let exists = |path: &&String| self.root.join(path.trim_start_matches('/')).exists();
        match sockets.iter().find(exists) {
            Some(path) => {
                Ok(Address { url: format!("unix://{path}"), named_by: "its usual place".to_owned() })
            }
            None => bail!(hinted(
                format!("no container engine is running: none of {} is there", sockets.join(", ")),
                START
            )),
        }
    }

    fn context(&self, directory: &Path) -> Result<Option<String>> {
        let name = match self.get("DOCKER_CONTEXT") {
            Some(name) => Some(name),
            None => match std::fs::read_to_string(directory.join("config.json")) {
                Ok(text) => {
                    serde_json::from_str::<Configuration>(&text)
                        .with_context(|| format!("{} is malformed", directory.join("config.json").display()))?
                        .current_context
                }
                Err(_) => None,
            },
        };
        Ok(name.filter(|name| name != "default" && !name.is_empty()))
    }
}

fn context_host(directory: &Path, name: &str) -> Result<String> {
    let place = directory.join("contexts/meta").join(Digest::of(name.as_bytes()).hex()).join("meta.json");
    let read = || -> Result<ContextFile> { Ok(serde_json::from_str(&std::fs::read_to_string(&place)?)?) };
    let context = read().with_hint(|| {
        hinted(
            format!("cannot read Docker's context `{name}` in {}", place.display()),
            "`docker context ls` lists them; set DOCKER_HOST or DOCKER_CONTEXT",
        )
    })?;
    Ok(context.endpoints.docker.host)
}

impl Address {
    /// Tries to connect, for an error that says why where it fails. Errors: a kind of address that is not supported.
    pub(super) fn probe(&self) -> Result<()> {
        let Self { url, named_by } = self;
        if let Some(path) = url.strip_prefix("unix://") {
            return match UnixStream::connect(path) {
                Ok(_) => Ok(()),
                Err(error) => bail!(hinted(
                    format!("no container engine answers at {url} ({named_by}): {error}"),
                    remedy(error.kind(), path)
                )),
            };
        }
        match url.split_once("://") {
            Some(("tcp" | "http", _)) => Ok(()),
            _ => bail!(hinted(
                format!(
                    "the container engine's address {url} ({named_by}) is of a kind that is not supported"
                ),
                "give a socket (unix://PATH) or tcp://HOST:PORT; one behind ssh can be forwarded with `ssh -L /tmp/docker.sock:/var/run/docker.sock HOST`"
            )),
        }
    }
}

fn remedy(kind: ErrorKind, path: &str) -> String {
    match kind {
        ErrorKind::PermissionDenied => format!(
            "you may not use {path}; join its group (as root, `usermod -aG docker USER`, then log in again), or run a rootless engine"
        ),
        _ => START.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(variables: &[(&str, &str)], root: &Path) -> Result<Address> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Surroundings { variable: &variable, root }.address()
    }

    #[test]
    fn the_variable_goes_before_the_context_and_the_context_before_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let root = directory.path();
        let home = root.to_str().unwrap();
        let error = store::full_text(&address(&[], root).unwrap_err());
        assert!(error.contains("/run/docker.sock") && error.contains("start it"), "{error}");
        write("run/podman/podman.sock", "");
        assert_eq!(address(&[], root).unwrap().url, "unix:///run/podman/podman.sock");
        write("run/user/1/docker.sock", "");
        let rootless = ("XDG_RUNTIME_DIR", "/run/user/1");
        assert_eq!(address(&[rootless], root).unwrap().url, "unix:///run/user/1/docker.sock");
        write("var/run/docker.sock", "");
        assert_eq!(address(&[rootless], root).unwrap().url, "unix:///var/run/docker.sock");
        write(".docker/config.json", r#"{ "currentContext": "rootless", "auths": {} }"#);
        let error = store::full_text(&address(&[("HOME", home)], root).unwrap_err());
        assert!(error.contains("context `rootless`") && error.contains("docker context ls"), "{error}");
        write(
            &format!(".docker/contexts/meta/{}/meta.json", Digest::of(b"rootless").hex()),
            r#"{ "Name": "rootless", "Endpoints": { "docker": { "Host": "unix:///x.sock" } } }"#,
        );
        let found = address(&[("HOME", home)], root).unwrap();
        assert_eq!(
            (found.url.as_str(), found.named_by.as_str()),
            ("unix:///x.sock", "Docker's context `rootless`")
        );
        assert_eq!(
            address(&[("HOME", home), ("DOCKER_CONTEXT", "default")], root).unwrap().url,
            "unix:///var/run/docker.sock"
        );
        assert_eq!(address(&[("HOME", home), ("DOCKER_HOST", "tcp://h:1")], root).unwrap().url, "tcp://h:1");
    }

    #[test]
    fn what_does_not_answer_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let probe = |url: String| {
            store::full_text(&Address { url, named_by: "DOCKER_HOST".to_owned() }.probe().unwrap_err())
        };
        let socket = directory.path().join("socket");
        let url = format!("unix://{}", socket.display());
        let missing = probe(url.clone());
        assert!(missing.contains("No such file") && missing.contains("systemctl start docker"), "{missing}");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let refused = probe(url);
        assert!(refused.contains("Connection refused"), "{refused}");
        assert!(probe("ssh://host".to_owned()).contains("ssh -L"));
        assert!(remedy(ErrorKind::PermissionDenied, "/x").contains("usermod"));
    }
}

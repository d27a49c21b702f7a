//! Who we are to a registry: what Docker's own configuration says (`config.json` in `DOCKER_CONFIG` or `~/.docker`), or the
//! helper that it names.

use crate::configuration::variable;
use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt,
    io::{ErrorKind, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

/// The most that the configuration or a helper may say, in bytes.
const LARGEST: u64 = 1 << 20;

/// User and password, or a token for that. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// For `Authorization: Basic`.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token of OAuth 2, which gets others.
    Identity(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Credentials(…)")
    }
}

impl Credentials {
    fn new(user: &str, password: &str) -> Self {
        match user {
            // What a token stands in place of.
            "<token>" => Self::Identity(password.to_owned()),
            _ => Self::Basic { user: user.to_owned(), password: password.to_owned() },
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Configuration {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    identitytoken: String,
}

#[derive(Deserialize)]
struct Helped {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// What is known for a registry; nothing where it is asked without a name.
///
/// # Errors
/// If the configuration can't be read. What stands in it is not repeated.
pub fn of_host(host: &str) -> Result<Option<Credentials>> {
    let directory = variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let Some(path) = directory.map(|directory| directory.join("config.json")) else { return Ok(None) };
    let reading = || format!("cannot read {}", path.display());
    let bytes = match std::fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > LARGEST => bail!("{} is too large", path.display()),
        _ => std::fs::read(&path).with_context(reading)?,
    };
    // serde's message may show a value.
    let Ok(configuration) = serde_json::from_slice::<Configuration>(&bytes) else {
        bail!("{} is not a configuration of Docker's", path.display())
    };
    of_configuration(&configuration, host, &ask)
        .with_context(|| format!("{} has no usable entry for {host}", path.display()))
}

fn of_configuration(
    configuration: &Configuration,
    host: &str,
    ask: &dyn Fn(&str, &str) -> Result<Option<Credentials>>,
) -> Result<Option<Credentials>> {
    if let Some(helper) = configuration.helpers.get(host).or(configuration.store.as_ref())
        && let Some(found) = ask(helper, host)?
    {
        return Ok(Some(found));
    }
    let plain = |key: &str| {
        let key = key.split_once("://").map_or(key, |(_, rest)| rest);
        key.split('/').next().unwrap_or_default().to_owned()
    };
    let Some((_, auth)) = configuration.auths.iter().find(|(key, _)| plain(key) == host) else {
        return Ok(None);
    };
    if !auth.identitytoken.is_empty() {
        return Ok(Some(Credentials::Identity(auth.identitytoken.clone())));
    }
    if auth.auth.is_empty() {
        return Ok(None);
    }
    let decoded = STANDARD.decode(&auth.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.context("its `auth` is not base64 of user and password")?;
    let (user, password) =
        decoded.split_once(':').context("its `auth` is not base64 of user and password")?;
    Ok(Some(Credentials::new(user, password)))
}

/// Asks a helper of Docker's.
fn ask(helper: &str, host: &str) -> Result<Option<Credentials>> {
    let is_name = helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if helper.is_empty() || !is_name {
        bail!("the helper `{}` has no name of a program", helper.escape_debug());
    }
    let program = format!("docker-credential-{helper}");
    let running = || format!("cannot run `{program} get`");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(running)?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not listen says below what it has.
        let _ = input.write_all(host.as_bytes());
    }
    let output = child.wait_with_output().with_context(running)?;
    // This is how helpers say that they know nobody.
    if !output.status.success() || output.stdout.len() as u64 > LARGEST {
        return Ok(None);
    }
    match serde_json::from_slice::<Helped>(&output.stdout) {
        Ok(helped) => Ok(Some(Credentials::new(&helped.user, &helped.secret))),
        Err(_) => bail!("`{program} get` says something else than user and secret"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, host: &str) -> Result<Option<Credentials>> {
        let ask =
            |helper: &str, host: &str| Ok((helper == "known").then(|| Credentials::new("<token>", host)));
        of_configuration(&serde_json::from_str(json)?, host, &ask)
    }

    #[test]
    fn docker_s_configuration_is_read_as_docker_does() {
        let basic = |user: &str| Some(Credentials::Basic { user: user.into(), password: "p:w".into() });
        let auth = STANDARD.encode("me:p:w");
        for key in ["r.invalid", "https://r.invalid/v1/", "http://r.invalid"] {
            let json = format!(r#"{{"auths": {{"{key}": {{"auth": "{auth}"}}, "other": {{}}}}, "x": 1}}"#);
            assert_eq!(find(&json, "r.invalid").unwrap(), basic("me"), "{key}");
            assert_eq!(find(&json, "r.invalid:5000").unwrap(), None);
            assert_eq!(find(&json, "other").unwrap(), None);
        }
        let helped = r#"{"credsStore": "unknown", "credHelpers": {"r.invalid": "known"}}"#;
        assert_eq!(find(helped, "r.invalid").unwrap(), Some(Credentials::Identity("r.invalid".into())));
        assert_eq!(find(helped, "s.invalid").unwrap(), None);
        assert!(find(r#"{"auths": {"r.invalid": {"auth": "secret!"}}}"#, "r.invalid").is_err());
        assert_eq!(format!("{:?}", Credentials::new("me", "secret")), "Credentials(…)");
        assert!(ask("../evil", "r.invalid").is_err());
    }
}

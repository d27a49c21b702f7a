//! How servers of the Remote Execution API are reached.

use crate::secret::guarded;
use anyhow::{Context, Result, ensure};
use remote::{Demands, Identity, Options};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use store::{Progress, WithHint, hinted};

/// Options of whatever asks such a server.
#[derive(Clone, Default, clap::Args)]
#[command(next_help_heading = "Remote caches and execution")]
pub struct Remote {
    /// Where `--backend remote` runs builds: grpc://HOST:PORT, grpcs://HOST:PORT with TLS, or unix:PATH
    ///
    /// What it has the result of already is taken, as from `--cache`, and release.json says so. Its workers take the input root for
    /// the root file system (docs/remote.md).
    #[arg(long, global = true, env = "MLC_REPRO_REMOTE", value_name = "[NAME=]URL")]
    pub remote: Option<String>,
    /// How many builds the cluster is given at a time [default: 8]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub remote_jobs: Option<u16>,
    /// A property that workers must have, such as `OSFamily=linux`; may be given several times, and is not part of any key
    #[arg(long = "remote-property", global = true, value_name = "NAME=VALUE", value_parser = property)]
    pub remote_properties: Vec<(String, String)>,
    /// The instance of the server that is asked; most have one without a name
    #[arg(long, global = true, value_name = "NAME")]
    pub remote_instance: Option<String>,
    /// Send the headers of this file with every question, one `NAME: VALUE` a line: tokens stand in files, never in arguments
    #[arg(long, global = true, env = "MLC_REPRO_REMOTE_HEADERS", value_name = "FILE")]
    pub remote_header_file: Option<PathBuf>,
    /// The authorities whose certificates servers may show, as PEM [default: those of this machine]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The certificate that is shown to servers, as PEM
    #[arg(long, global = true, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The secret key of that certificate, as PEM
    #[arg(long, global = true, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// How often a question is asked again that a server may answer then [default: 5]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(..=100))]
    pub remote_retries: Option<u32>,
    /// How many seconds a server may take for one answer; not for a build [default: 60]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub remote_timeout: Option<u64>,
}

/// A property, checked.
fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as OSFamily=linux".to_owned()),
    }
}

impl Remote {
    /// The cluster that was named.
    pub fn cluster(&self) -> Result<&str> {
        self.remote.as_deref().with_hint(|| {
            hinted(
                "nobody says where builds are to run",
                "name the cluster with `--remote URL` (docs/remote.md)",
            )
        })
    }

    /// How many builds it is given at a time.
    pub fn jobs(&self) -> usize {
        self.remote_jobs.map_or(8, usize::from)
    }

    /// What workers must have, and how long a build may take.
    pub fn demands(&self, timeout: Option<Duration>) -> Demands {
        Demands { properties: self.remote_properties.iter().cloned().collect(), timeout }
    }

    /// All of them for one server.
    pub fn options(&self, url: &str, progress: &dyn Progress) -> Result<Options> {
        let read =
            |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let headers = match &self.remote_header_file {
            Some(path) => headers(path, &guarded(path, progress)?)?,
            None => Vec::new(),
        };
        let identity = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Identity {
                certificate: read(certificate)?,
                key: guarded(key, progress)?.as_bytes().to_vec(),
            }),
            _ => None,
        };
        let standard = Options::default();
        Ok(Options {
            url: url.to_owned(),
            instance: self.remote_instance.clone().unwrap_or_default(),
            headers,
            authorities: self.tls_ca.as_ref().map(read).transpose()?,
            identity,
            retries: self.remote_retries.unwrap_or(standard.retries),
            timeout: self.remote_timeout.map_or(standard.timeout, Duration::from_secs),
        })
    }
}

/// The headers of a file. Nothing of it is repeated in errors.
fn headers(path: &Path, text: &str) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let header = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        ensure!(
            header.is_some_and(|(name, value)| is_name(name) && !value.is_empty()),
            hinted(
                format!("line {} of {} is not a header", number + 1, path.display()),
                "write `NAME: VALUE`, such as `authorization: Bearer TOKEN`"
            )
        );
        headers.extend(header.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_never_shown() {
        let read = |text: &str| headers(Path::new("x"), text);
        let found = read("Authorization: Bearer a:b\n\nx-key:  k \n").unwrap();
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("authorization", "Bearer a:b"), ("x-key", "k")]);
        for text in ["secret", "a b: secret", ": secret", "x:"] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.starts_with("line 1 of x") && !error.contains("secret"), "{error}");
        }
    }
}

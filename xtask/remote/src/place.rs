//! Addresses of servers.

use anyhow::{Result, ensure};
use store::hinted;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As tonic reads it.
    pub uri: String,
    /// As people see it: what was given, which has no secrets in it.
    pub shown: String,
    /// Whether it is asked by TLS.
    pub is_private: bool,
}

impl Place {
    /// # Errors
    /// If it is not an address of such a server, or has a password in it: secrets come from files.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once(':') else { return Err(unknown(text).into()) };
        let host = rest.strip_prefix("//").map(|host| host.trim_end_matches('/'));
        let (uri, is_private) = match (scheme, host) {
            ("grpc", Some(host)) => (format!("http://{host}"), false),
            ("grpcs", Some(host)) => (format!("https://{host}"), true),
            ("unix", _) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                ensure!(!path.is_empty(), unknown(text));
                return Ok(Self { uri: format!("unix:{path}"), shown: text.to_owned(), is_private: false });
            }
            _ => return Err(unknown(text).into()),
        };
        let host = host.unwrap_or_default();
        ensure!(
            !host.contains('@'),
            hinted(
                "an address of a server of the Remote Execution API has no user or password in it",
                "write them as a header into a file, and name it with `--remote-header-file`"
            )
        );
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        ensure!(!host.is_empty() && host.chars().all(is_host), unknown(text));
        Ok(Self { uri, shown: format!("{scheme}://{host}"), is_private })
    }
}

fn unknown(text: &str) -> store::Hinted {
    hinted(
        format!("`{}` is not an address of a server of the Remote Execution API", text.escape_debug()),
        "write grpc://HOST:PORT, grpcs://HOST:PORT with TLS, or unix:PATH",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_bazel_reads_them() {
        for (text, uri, is_private) in [
            ("grpc://localhost:1", "http://localhost:1", false),
            ("grpc://[::1]:1/", "http://[::1]:1", false),
            ("grpcs://cache.example", "https://cache.example", true),
            ("unix:/run/cache", "unix:/run/cache", false),
            ("unix:///run/cache", "unix:/run/cache", false),
        ] {
            let place = Place::parse(text).unwrap();
            assert_eq!((place.uri.as_str(), place.is_private), (uri, is_private), "{text}");
        }
        for text in ["", "localhost:1", "http://x", "grpc://", "grpc:x", "unix:", "grpc://a b", "grpc://a/b"]
        {
            assert!(Place::parse(text).is_err(), "{text}");
        }
        let secret = Place::parse("grpcs://me:secret@x").unwrap_err();
        assert!(!format!("{secret:#}").contains("secret"), "{secret:#}");
    }
}

//! `oci://HOST/NAME[:TAG][@sha256:HEX]`.

use anyhow::{Context, Result, bail, ensure};

/// A repository of a registry, or something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host, and port where one is given.
    pub host: String,
    /// The repository in it.
    pub name: String,
    /// A name that may be given to another content at any time.
    pub tag: Option<String>,
    /// The SHA-256 of a manifest, in hexadecimal.
    pub sha256: Option<String>,
}

/// What a reference begins with.
pub const SCHEME: &str = "oci://";

impl Reference {
    /// Parses a reference by the grammar of the OCI distribution specification 1.1.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let explain =
            || format!("`{}` is not of the form oci://HOST/NAME[:TAG][@sha256:HEX]", text.escape_debug());
        let rest = text.strip_prefix(SCHEME).with_context(explain)?;
        ensure!(text.len() <= 1000, "{}", explain());
        let (rest, sha256) = match rest.split_once('@') {
            Some((rest, digest)) => {
                let hex = digest.strip_prefix("sha256:").with_context(explain)?;
                store::Digest::from_hex(hex, 0).with_context(explain)?;
                (rest, Some(hex.to_owned()))
            }
            None => (rest, None),
        };
        let (host, path) = rest.split_once('/').with_context(explain)?;
        let (name, tag) = match path.split_once(':') {
            Some((name, tag)) => (name, Some(tag.to_owned())),
            None => (path, None),
        };
        let port_is_number = match host.strip_prefix("[::1]").unwrap_or(host).rsplit_once(':') {
            Some((_, port)) => port.parse::<u16>().is_ok(),
            None => true,
        };
        let host_is_plain = host.starts_with("[::1]")
            || host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b));
        let is_fine = !host.is_empty()
            && host.matches(':').count() <= if host.starts_with('[') { 3 } else { 1 }
            && host_is_plain
            && port_is_number
            && name.split('/').all(is_component)
            && tag.as_deref().is_none_or(is_tag);
        if !is_fine {
            bail!("{}", explain());
        }
        Ok(Self { host: host.to_owned(), name: name.to_owned(), tag, sha256 })
    }

    /// Where the registry is: plain HTTP on this machine alone.
    pub fn server(&self) -> String {
        let host = match self.host.strip_prefix("[::1]") {
            Some(_) => "[::1]",
            None => self.host.split(':').next().unwrap_or_default(),
        };
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        format!("{}://{}", if is_here { "http" } else { "https" }, self.host)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return false };
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    is_plain(first)
        && is_plain(last)
        && separators
            .filter(|separator| !separator.is_empty())
            .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_those_of_the_specification() {
        let hex = "0".repeat(64);
        let whole = Reference::parse(&format!("oci://127.0.0.1:5000/a/b-c__d:v1@sha256:{hex}")).unwrap();
        assert_eq!(whole.host, "127.0.0.1:5000");
        assert_eq!((whole.name.as_str(), whole.tag.as_deref()), ("a/b-c__d", Some("v1")));
        assert_eq!(
            (whole.sha256.as_deref(), whole.server().as_str()),
            (Some(&*hex), "http://127.0.0.1:5000")
        );
        assert_eq!(Reference::parse("oci://r.invalid/a").unwrap().server(), "https://r.invalid");
        assert_eq!(Reference::parse("oci://[::1]:5000/a").unwrap().server(), "http://[::1]:5000");
        for wrong in [
            "https://r.invalid/a",
            "oci://r.invalid",
            "oci://r.invalid/",
            "oci:///a",
            "oci://r.invalid/A",
            "oci://r.invalid/a//b",
            "oci://r.invalid/a/",
            "oci://r.invalid/../a",
            "oci://r.invalid/a._b",
            "oci://r.invalid/a:",
            "oci://r.invalid/a:.v",
            "oci://r.invalid/a:b c",
            "oci://r.invalid:x/a",
            "oci://user@r.invalid/a",
            "oci://r.invalid/a?b",
            "oci://r.invalid/a@sha256:0",
            "oci://r.invalid/a@sha512:00",
        ] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
    }
}

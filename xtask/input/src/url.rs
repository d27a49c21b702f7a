//! Addresses: resolving, comparing and showing them.

use ureq::http::Uri;
use url::Url;

/// Resolves an address that stands in an answer of `base` (RFC 3986, as browsers do it).
pub fn join(base: &str, relative: &str) -> Option<String> {
    Some(Url::parse(base).ok()?.join(relative).ok()?.into())
}

/// Whether two addresses are of one server. What is not an address is of none.
pub fn same_origin(one: &str, other: &str) -> bool {
    let origin = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((uri.host()?.to_ascii_lowercase(), port, scheme))
    };
    origin(one).is_some_and(|one| Some(one) == origin(other))
}

/// Whether nobody on the way can read or change what goes to an address: TLS, or this machine itself.
pub fn is_private(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    match uri.scheme_str() {
        Some("https") => uri.host().is_some(),
        Some("http") => matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]")),
        _ => false,
    }
}

/// An address without user and password, for messages.
pub fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
            let host = host.rsplit('@').next().unwrap_or(host);
            match path {
                Some(path) => format!("{scheme}://{host}/{path}"),
                None => format!("{scheme}://{host}"),
            }
        }
        None => url.to_owned(),
    }
}

/// The server of an address, as `SCHEME://HOST:PORT`. Nothing for what is not an address.
pub fn server(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{}{port}", uri.scheme_str()?, uri.host()?.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(without_credentials("https://u:p@x.invalid/a@b"), "https://x.invalid/a@b");
        assert_eq!(without_credentials("https://x.invalid"), "https://x.invalid");
    }

    #[test]
    fn relative_addresses_are_resolved() {
        for (base, relative, expected) in [
            ("https://x.invalid/simple/six/", "../../files/a.whl", "https://x.invalid/files/a.whl"),
            ("https://x.invalid/simple/six/", "/files/a.whl", "https://x.invalid/files/a.whl"),
            ("https://x.invalid/simple/six/", "a.whl", "https://x.invalid/simple/six/a.whl"),
            ("https://x.invalid/a/b?c=/d", "e", "https://x.invalid/a/e"),
            ("https://x.invalid", "e", "https://x.invalid/e"),
            ("https://x.invalid/a", "//y.invalid/b", "https://y.invalid/b"),
            ("https://x.invalid/a", "http://y.invalid/b", "http://y.invalid/b"),
            // An address inside a query is not the answer's own.
            (
                "https://x.invalid/a",
                "/login?next=https://y.invalid/b",
                "https://x.invalid/login?next=https://y.invalid/b",
            ),
            ("https://x.invalid/simple/six/?page=1", "?page=2", "https://x.invalid/simple/six/?page=2"),
            ("https://x.invalid/a/b", "c//d/", "https://x.invalid/a/c//d/"),
        ] {
            assert_eq!(join(base, relative).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        let server = "https://x.invalid/a";
        assert!(same_origin(server, "https://X.invalid:443/b"));
        for other in [
            "http://x.invalid/a",
            "https://x.invalid:444/a",
            "https://y.invalid/a",
            "https://x.invalid@y.invalid/",
        ] {
            assert!(!same_origin(server, other), "{other}");
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for url in ["https://x.invalid", "http://127.0.0.1:80/a", "http://localhost/"] {
            assert!(is_private(url), "{url}");
        }
        for url in [
            "http://x.invalid",
            "http://127.0.0.1.x.invalid/",
            "http://localhost@x.invalid/",
            "ftp://x.invalid",
        ] {
            assert!(!is_private(url), "{url}");
        }
    }
}

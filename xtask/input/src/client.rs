//! The HTTP client.
//!
//! TLS by rustls with the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` add or replace them); proxies from
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

use std::{fmt, time::Duration};
use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, Uri, header},
    tls::{RootCerts, TlsConfig},
};

/// How often a server that gets a token may send us on within itself.
const REDIRECTIONS: u32 = 5;

/// How long a server may say nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client that gives up on a server that says nothing for as long as `patience`, never on a long download.
pub fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .user_agent(concat!("mlc-repro/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(true)
        .build()
        .new_agent()
}

/// What proves to a server who asks. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Nothing where `text` is none that can stand in a header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// Where a file is, and what its server wants to see.
#[derive(Clone, Debug)]
pub struct Address {
    /// An absolute address.
    pub url: String,
    /// Sent to the server of `url`, and to nobody that it redirects to.
    pub token: Option<Token>,
}

impl From<String> for Address {
    fn from(url: String) -> Self {
        Self { url, token: None }
    }
}

/// Asks for a file, or for the rest of it from byte `start`.
///
/// Redirections are followed. A token goes with a request only while scheme, host and port stay those of `address`.
pub fn get(agent: &Agent, address: &Address, start: u64) -> Result<Response<Body>, ureq::Error> {
    let with_range = |request: Request| match start {
        0 => request,
        start => request.header(header::RANGE, format!("bytes={start}-")),
    };
    let Some(_) = &address.token else { return with_range(agent.get(&address.url)).call() };
    match at_home(address, |url| with_range(agent.get(url)))? {
        Answer::Here(response) => Ok(response),
        Answer::Elsewhere(url, _) => with_range(agent.get(&url)).call(),
    }
}

/// What a server says of a file, without the file: the headers of its own last answer, be that a redirection to another
/// server, whose headers say nothing of the file's place in a repository.
pub fn head(agent: &Agent, address: &Address) -> Result<HeaderMap, ureq::Error> {
    match at_home(address, |url| agent.head(url))? {
        Answer::Here(response) | Answer::Elsewhere(_, response) => Ok(response.headers().clone()),
    }
}

type Request = ureq::RequestBuilder<ureq::typestate::WithoutBody>;

enum Answer {
    Here(Response<Body>),
    /// Another server has it: where, and the redirection.
    Elsewhere(String, Response<Body>),
}

/// Follows redirections, with the token, as long as they stay with the server of `address`.
fn at_home(address: &Address, request: impl Fn(&str) -> Request) -> Result<Answer, ureq::Error> {
    let mut url = address.url.clone();
    for _ in 0..=REDIRECTIONS {
        let request = match &address.token {
            Some(Token(token)) => request(&url).header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request(&url),
        };
        let response = request.config().max_redirects(0).build().call()?;
        if !response.status().is_redirection() {
            return Ok(Answer::Here(response));
        }
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let next = location.and_then(|location| join(&url, location)).ok_or(ureq::Error::RedirectFailed)?;
        if !same_origin(&address.url, &next) {
            return Ok(Answer::Elsewhere(next, response));
        }
        url = next;
    }
    Err(ureq::Error::TooManyRedirects)
}

/// An error with what can be done about it.
pub fn explain(error: ureq::Error, address: &Address) -> anyhow::Error {
    match error {
        ureq::Error::StatusCode(status @ (401 | 403)) => {
            let which = if address.token.is_some() { "another token than the one it got" } else { "a token" };
            anyhow::anyhow!(
                "the server answered {status}: it wants {which}\n  hint: for a model, accept its licence on the hub and set HF_TOKEN"
            )
        }
        ureq::Error::StatusCode(status) => anyhow::anyhow!("the server answered {status}"),
        error => error.into(),
    }
}

/// Resolves an address that stands in an answer of `base`.
pub fn join(base: &str, relative: &str) -> Option<String> {
    if relative.contains("://") {
        return Some(relative.to_owned());
    }
    let start = base.find("://")? + 3;
    let base = base.split(['?', '#']).next().unwrap_or(base);
    let host_end = base.get(start..)?.find('/').map_or(base.len(), |slash| start + slash);
    if let Some(rest) = relative.strip_prefix("//") {
        return Some(format!("{}{rest}", &base[..start]));
    }
    if relative.starts_with('/') {
        return Some(format!("{}{relative}", &base[..host_end]));
    }
    let directory = &base[host_end..base.rfind('/').map_or(host_end, |slash| slash.max(host_end))];
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            part => parts.push(part),
        }
    }
    Some(format!("{}/{}", &base[..host_end], parts.join("/")))
}

/// Whether two addresses are of one server. What is no address is of none.
fn same_origin(one: &str, other: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(without_credentials("https://u:p@x.invalid/a@b"), "https://x.invalid/a@b");
        assert_eq!(without_credentials("https://x.invalid"), "https://x.invalid");
        assert_eq!(format!("{:?}", Token::new("secret\n").unwrap()), "Token(…)");
        assert_eq!(Token::new("se\ncret"), None);
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

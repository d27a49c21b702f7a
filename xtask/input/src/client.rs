//! The HTTP client.
//!
//! TLS by rustls with the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` add or replace them); proxies from
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`. `Retry-After` (RFC 9110, 10.2.3) is obeyed, failures are counted by
//! server, and a server that trickles is given up.

mod exchange;

use crate::{
    host::{Hosts, Next},
    url::{join, same_origin, server},
};
use anyhow::anyhow;
use base64::{Engine, engine::general_purpose::STANDARD};
pub use exchange::{Content, Method};
use std::{
    fmt,
    io::{ErrorKind, Read},
    time::{Duration, Instant, SystemTime},
};
use store::{Progress, hinted};
use ureq::{
    Agent, Body,
    http::{HeaderMap, HeaderName, Response, header},
    tls::{RootCerts, TlsConfig},
};

/// How often a server that gets a token may send us on within itself.
const REDIRECTIONS: u32 = 5;

/// How long a server may say nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The least that a server must send, in bytes a second, over the time of the client's patience.
const LEAST_RATE: u64 = 1024;

/// What proves to a server who asks, as it stands behind `Authorization:`. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Nothing where `text` is none that can stand in a header.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| Self(format!("Bearer {text}")))
    }

    /// User and password (RFC 7617).
    pub fn basic(user: &str, password: &str) -> Self {
        Self(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// The value of `Authorization`.
    pub fn value(&self) -> String {
        self.0.clone()
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

/// Why a request or a download failed, and what that means for the next one.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: anyhow::Error,
    /// What kind of failure it is.
    pub kind: Kind,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server answered with this status, and said when to come again.
    Status {
        /// Of HTTP.
        status: u16,
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// Nobody answers there.
    Dead,
    /// The server sends less than the least rate.
    Slow,
    /// The connection broke.
    Broken,
    /// What was received before does not fit: asking for the whole file may help.
    Again,
    /// The answer is not what it has to be, and would not be the next time.
    Wrong,
    /// This machine failed: its disk is full, or can't be written to. No other way helps.
    Local,
    /// The server was given up before.
    Skipped,
}

impl Failure {
    /// What the next try would not change.
    pub fn wrong(error: anyhow::Error) -> Self {
        Self { error, kind: Kind::Wrong }
    }

    /// What no server can help with.
    pub fn local(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), kind: Kind::Local }
    }

    /// The status that the server answered with.
    pub fn status(&self) -> Option<u16> {
        match self.kind {
            Kind::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// A body that can't be read on.
    pub fn reading(error: std::io::Error) -> Self {
        let kind = if error.get_ref().is_some_and(|inner| inner.is::<TooSlow>()) {
            Kind::Slow
        } else {
            Kind::Broken
        };
        Self { error: error.into(), kind }
    }

    fn transport(error: ureq::Error) -> Self {
        let kind = match &error {
            ureq::Error::HostNotFound
            | ureq::Error::Timeout(_)
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_) => Kind::Dead,
            // rustls gives a certificate that it does not believe as invalid data.
            ureq::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable
                | ErrorKind::InvalidData => Kind::Dead,
                _ => Kind::Broken,
            },
            ureq::Error::TooManyRedirects
            | ureq::Error::RedirectFailed
            | ureq::Error::BadUri(_)
            | ureq::Error::Http(_) => Kind::Wrong,
            _ => Kind::Broken,
        };
        Self { error: error.into(), kind }
    }

    fn refused(response: &Response<Body>, address: &Address) -> Self {
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        let error = match status {
            401 | 403 => {
                let which =
                    if address.token.is_some() { "another token than the one it got" } else { "a token" };
                anyhow!(hinted(
                    format!("the server answered {status}: it wants {which}"),
                    "for a model, accept its license on the hub and set HF_TOKEN"
                ))
            }
            _ => anyhow!("the server answered {status}"),
        };
        Self { error, kind: Kind::Status { status, retry_after } }
    }
}

/// Seconds, or a date.
pub(crate) fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Headers that go to whatever server has the file at last.
pub type Headers = [(HeaderName, String)];

/// A client that gives up on a server that says nothing for as long as its patience, or sends next to nothing, never on a long
/// download. Clones share what they know of servers.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    patience: Duration,
    hosts: Hosts,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "Client({:?})", self.patience)
    }
}

impl Client {
    /// A client that knows nothing of any server yet.
    pub fn new(patience: Duration) -> Self {
        Self { agent: agent(patience), patience, hosts: Hosts::default() }
    }

    /// The same, with another patience.
    pub fn with_patience(&self, patience: Duration) -> Self {
        if patience == self.patience {
            return self.clone();
        }
        Self { agent: agent(patience), patience, hosts: self.hosts.clone() }
    }

    /// Makes tries at what `address` has until one succeeds or no other makes sense; waits between them, and as long as the
    /// server asks for. The user is told once a server.
    ///
    /// # Errors
    /// The last try's.
    pub fn persist<T>(
        &self,
        address: &Address,
        progress: &dyn Progress,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(server) = server(&address.url) else {
            return Err(Failure::wrong(anyhow!("this is not an address of a file")));
        };
        let mut tries = 0;
        loop {
            let turn = self.hosts.enter(&server)?;
            let failure = match attempt() {
                Ok(done) => {
                    turn.succeeded();
                    return Ok(done);
                }
                Err(failure) => failure,
            };
            match turn.failed(&failure, tries) {
                Next::Again(pause, note) => {
                    if let Some(note) = note {
                        progress.note(&note);
                    }
                    std::thread::sleep(pause);
                }
                Next::Over => return Err(failure),
            }
            tries += 1;
        }
    }

    /// One request for a file. Redirections are followed; a token goes along only while scheme, host and port stay those of
    /// `address`.
    ///
    /// # Errors
    /// If the server does not give it.
    pub fn get(&self, address: &Address, headers: &Headers) -> Result<Response<Body>, Failure> {
        let with_headers = |request: Request| {
            headers.iter().fold(request, |request, (name, value)| request.header(name, value))
        };
        let answer = match &address.token {
            None => with_headers(self.agent.get(&address.url)).call(),
            Some(_) => match at_home(address, |url| with_headers(self.agent.get(url))) {
                Ok(Answer::Here(response)) => Ok(response),
                Ok(Answer::Elsewhere(url, _)) => with_headers(self.agent.get(&url)).call(),
                Err(error) => Err(error),
            },
        };
        self.accept(answer, address)
    }

    /// What a server says of a file, without the file: the headers of its own last answer, be that a redirection to another
    /// server, whose headers say nothing of the file's place in a repository. One request.
    ///
    /// # Errors
    /// If the server does not say it.
    pub fn head(&self, address: &Address) -> Result<HeaderMap, Failure> {
        let answer = at_home(address, |url| self.agent.head(url))
            .map(|(Answer::Here(response) | Answer::Elsewhere(_, response))| response);
        Ok(self.accept(answer, address)?.headers().clone())
    }

    /// Whether a file is there, redirections followed: its headers. One request.
    ///
    /// # Errors
    /// If it is not.
    pub fn look(&self, address: &Address) -> Result<HeaderMap, Failure> {
        let request = self.agent.head(&address.url);
        Ok(self.accept(request.call(), address)?.headers().clone())
    }

    /// Sends a file. One request.
    ///
    /// # Errors
    /// If the server does not take it.
    pub fn put(&self, address: &Address, content: std::fs::File) -> Result<(), Failure> {
        let size = content.metadata().map_err(Failure::local)?.len();
        let mut request = self.agent.put(&address.url).header(header::CONTENT_LENGTH, size.to_string());
        if let Some(token) = &address.token {
            request = request.header(header::AUTHORIZATION, token.value());
        }
        self.accept(request.send(content), address).map(drop)
    }

    /// Sends a small text and gives the whole answer. One request; redirections are not followed.
    ///
    /// # Errors
    /// If the server does not take it, or answers with more than `limit` bytes.
    pub fn post(&self, address: &Address, body: &[u8], kind: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut request = self.agent.post(&address.url).header(header::CONTENT_TYPE, kind);
        if kind.ends_with("+json") {
            request = request.header(header::ACCEPT, kind);
        }
        if let Some(token) = &address.token {
            request = request.header(header::AUTHORIZATION, token.value());
        }
        let request = request.config().max_redirects(0).max_redirects_will_error(true).build();
        let response = self.accept(request.send(body), address)?;
        let mut answer = Vec::new();
        self.body(response).take(limit + 1).read_to_end(&mut answer).map_err(Failure::reading)?;
        if answer.len() as u64 > limit {
            return Err(Failure::wrong(anyhow!("it answers with more than {limit} bytes")));
        }
        Ok(answer)
    }

    fn accept(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
        address: &Address,
    ) -> Result<Response<Body>, Failure> {
        let response = answer.map_err(Failure::transport)?;
        if !(200..400).contains(&response.status().as_u16()) {
            return Err(Failure::refused(&response, address));
        }
        // Not of a refusal: the others would ask before the server's wish to be left alone is known.
        if let Some(server) = server(&address.url) {
            self.hosts.answered(&server);
        }
        Ok(response)
    }

    /// The body of an answer. Reading fails when it comes too slowly.
    pub fn body(&self, response: Response<Body>) -> impl Read + use<> {
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        Paced { body, window: self.patience, since: Instant::now(), received: 0 }
    }

    /// A whole small file.
    ///
    /// # Errors
    /// If it can't be had, or has more than `limit` bytes.
    pub fn read(
        &self,
        address: &Address,
        headers: &Headers,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, Failure> {
        self.persist(address, progress, || {
            let bytes = self.read_most(address, headers, limit.saturating_add(1))?;
            if bytes.len() as u64 > limit {
                return Err(Failure::wrong(anyhow!("it has more than {limit} bytes")));
            }
            Ok(bytes)
        })
    }

    /// The first bytes of a file, at most `most` of them.
    ///
    /// # Errors
    /// If it can't be had.
    pub fn read_start(&self, address: &Address, most: u64) -> anyhow::Result<Vec<u8>> {
        self.persist(address, &store::Silent, || self.read_most(address, &[], most))
            .map_err(|failure| failure.error)
    }

    fn read_most(&self, address: &Address, headers: &Headers, most: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let body = self.body(self.get(address, headers)?);
        body.take(most).read_to_end(&mut bytes).map_err(Failure::reading)?;
        Ok(bytes)
    }
}

fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .user_agent(concat!("mlc-repro/", env!("CARGO_PKG_VERSION")))
        // What a refusal says beside its status is of use.
        .http_status_as_error(false)
        .build()
        .new_agent()
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
            Some(token) => request(&url).header(header::AUTHORIZATION, token.value()),
            None => request(&url),
        };
        let response = request.config().max_redirects(0).max_redirects_will_error(false).build().call()?;
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let (true, Some(location)) = (response.status().is_redirection(), location) else {
            return Ok(Answer::Here(response));
        };
        let next = join(&url, location).ok_or(ureq::Error::RedirectFailed)?;
        if !same_origin(&address.url, &next) {
            return Ok(Answer::Elsewhere(next, response));
        }
        url = next;
    }
    Err(ureq::Error::TooManyRedirects)
}

/// Fails when less than [`LEAST_RATE`] arrives over a window of time.
struct Paced<R> {
    body: R,
    window: Duration,
    since: Instant,
    received: u64,
}

#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "the server sends less than {LEAST_RATE} bytes a second")
    }
}

impl std::error::Error for TooSlow {}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.received += count as u64;
        let elapsed = self.since.elapsed();
        if count > 0 && elapsed >= self.window {
            // In milliseconds, so that a patience below a second counts as well.
            if u128::from(self.received) * 1000 < u128::from(LEAST_RATE) * elapsed.as_millis() {
                return Err(std::io::Error::new(ErrorKind::TimedOut, TooSlow));
            }
            self.since = Instant::now();
            self.received = 0;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token::new("secret\n").unwrap()), "Token(…)");
        assert_eq!(Token::new("se\ncret"), None);
    }

    #[test]
    fn servers_say_when_to_come_again() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sat, 21 Nov 1998 09:15:44 GMT"), Some(Duration::ZERO));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(retry_after(&soon).unwrap() > Duration::from_secs(50));
        assert_eq!(retry_after("soon"), None);
    }
}

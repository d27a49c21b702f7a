//! What fails when a server is asked, each in one sentence, and whether asking again may help.

use std::{error::Error, fmt, io::ErrorKind};
use tonic::{Code, Status};

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody answers, or not in time: it may be another time.
    Unreachable,
    /// Whoever answers is not who should, or does not know us: nothing changes that but other options.
    Configuration,
    /// The server lacks a blob or a result.
    Missing,
    /// The server did not do it.
    Refused,
    /// The server failed at it, and may do it the next time.
    Transient,
    /// The server has no room left.
    Full,
}

/// A failed question.
#[derive(Debug)]
pub struct Failure {
    /// Its kind.
    pub reason: Reason,
    /// The code of gRPC.
    pub code: Code,
    text: String,
}

impl Failure {
    /// Whether the server had no room for what it was sent.
    pub fn is_full(&self) -> bool {
        self.reason == Reason::Full || self.code == Code::ResourceExhausted
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failure {}

/// Whom was asked, for sentences.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The address.
    pub place: &'a str,
    /// Whether by TLS.
    pub is_private: bool,
    /// The instance name.
    pub instance: &'a str,
    /// The first question, which has nothing in it but the instance.
    pub is_first: bool,
}

/// What a status says.
pub fn explain(asked: Asked<'_>, status: &Status) -> Failure {
    let place = asked.place;
    let (reason, text) = match transport(asked, status) {
        Some(found) => found,
        None => said(asked, status),
    };
    Failure { reason, code: status.code(), text: format!("{place} {text}") }
}

/// The hint that belongs to a failure.
pub fn hint(failure: &Failure) -> Option<&'static str> {
    Some(match (failure.reason, failure.code) {
        (Reason::Configuration, Code::Unauthenticated | Code::PermissionDenied) => {
            "write the header that the server expects, such as `authorization: Bearer TOKEN`, into a file that only you can read, and name it with `--remote-header-file`"
        }
        (Reason::Configuration, _) => {
            "see the address, `--tls-ca`, `--tls-certificate`, `--tls-key` and `--remote-instance` in docs/remote.md"
        }
        (Reason::Full, _) | (_, Code::ResourceExhausted) => {
            "give the server more room: its quota is smaller than what it is sent, or its disk is full (docs/remote.md)"
        }
        _ => return None,
    })
}

/// What happened below gRPC, if it was there.
fn transport(asked: Asked<'_>, status: &Status) -> Option<(Reason, String)> {
    let source = status.source()?;
    let chain = || anyhow::Chain::new(source);
    if let Some(text) = chain().find_map(|error| tls(inner(error))) {
        return Some((Reason::Configuration, text));
    }
    // HTTP/2 keeps errors below it as text alone.
    let texts: Vec<String> = chain().map(ToString::to_string).collect();
    if let Some(text) = texts.iter().find_map(|text| alert(text.split_once("received fatal alert: ")?.1)) {
        return Some((Reason::Configuration, text));
    }
    let kinds: Vec<ErrorKind> = chain()
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind)
        .collect();
    let has = |kind| kinds.contains(&kind);
    let last = texts.last().map(|text| words(Code::Unknown, text)).unwrap_or_default();
    let unreachable = |text: &str| Some((Reason::Unreachable, text.to_owned()));
    if has(ErrorKind::ConnectionRefused) {
        return unreachable("does not answer: the connection was refused");
    }
    if has(ErrorKind::NotFound) {
        return unreachable("does not answer: there is no such socket");
    }
    if last.contains("dns error") || last.contains("lookup address") {
        return unreachable("does not answer: its name is not known");
    }
    if has(ErrorKind::TimedOut) || last.contains("deadline has elapsed") || last.contains("timed out") {
        return unreachable("does not answer in time");
    }
    if last.contains("HTTP/2 was not negotiated") {
        let text = "answers by TLS, but not as a server of gRPC".to_owned();
        return Some((Reason::Configuration, text));
    }
    if asked.is_first {
        // A server that expects TLS answers plain text with an alert, or by hanging up.
        let text = match asked.is_private {
            false => "hangs up when it is asked in plain text; servers with TLS are asked by grpcs://",
            true => "hangs up after the TLS handshake; it may expect a client certificate, or another one",
        };
        return Some((Reason::Configuration, text.to_owned()));
    }
    Some((Reason::Unreachable, format!("broke off the connection: {last}")))
}

/// The error that an error of input and output was made of.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => inner,
        None => error,
    }
}

/// What went wrong with TLS.
fn tls(error: &(dyn Error + 'static)) -> Option<String> {
    use rustls::{CertificateError as Bad, Error as Tls};
    Some(match error.downcast_ref::<Tls>()? {
        Tls::InvalidCertificate(Bad::UnknownIssuer) => {
            "shows a certificate of an unknown authority; `--tls-ca FILE` names its authority".to_owned()
        }
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "shows a certificate for another name".to_owned()
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "shows a certificate that has expired".to_owned()
        }
        Tls::InvalidCertificate(other) => format!("shows a certificate that is not valid: {other}"),
        Tls::AlertReceived(received) => alert(&format!("{received:?}"))?,
        Tls::InvalidMessage(_) => "does not speak TLS; servers without it are asked by grpc://".to_owned(),
        other => format!("cannot be asked by TLS: {other}"),
    })
}

/// What an alert of the server says, by its name.
fn alert(text: &str) -> Option<String> {
    let name = text.split(|character: char| !character.is_ascii_alphanumeric()).next()?;
    Some(match name {
        "CertificateRequired" => {
            "wants a client certificate; `--tls-certificate` and `--tls-key` name one".to_owned()
        }
        "UnknownCA" | "BadCertificate" | "CertificateUnknown" | "CertificateExpired" | "DecryptError"
        | "AccessDenied" => format!("does not accept the client certificate ({name})"),
        other => format!("ends the TLS handshake ({other})"),
    })
}

/// What a server says in its own words: one line, not too long, that no terminal obeys and nobody takes for one of ours.
pub fn words(code: Code, message: &str) -> String {
    let line: String = message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    match line.as_str() {
        "" => format!("{code:?}"),
        line => store::printable(line).to_string(),
    }
}

/// Whether a server without a code for it says that its disk or quota is full, as buildbox-casd does.
fn is_about_room(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["outofspace", "no space left", "quota exceeded"].iter().any(|words| message.contains(words))
}

/// What the server itself said.
fn said(asked: Asked<'_>, status: &Status) -> (Reason, String) {
    let message = status.message();
    let words = words(status.code(), message);
    let instance = match asked.instance {
        "" => "has no instance without a name".to_owned(),
        name => format!("has no instance `{}`", name.escape_debug()),
    };
    match status.code() {
        Code::Unauthenticated => (Reason::Configuration, format!("does not accept the credentials: {words}")),
        Code::PermissionDenied => (Reason::Configuration, format!("does not permit it: {words}")),
        Code::InvalidArgument | Code::NotFound | Code::Internal if asked.is_first => {
            (Reason::Configuration, format!("{instance}: {words}"))
        }
        Code::Unimplemented if asked.is_first => {
            (Reason::Configuration, "is not a server of the Remote Execution API".to_owned())
        }
        Code::NotFound => (Reason::Missing, format!("lacks it: {words}")),
        Code::Unavailable | Code::Aborted => (Reason::Transient, format!("is not available: {words}")),
        Code::DeadlineExceeded | Code::Cancelled => {
            (Reason::Transient, format!("did not answer in time: {words}"))
        }
        Code::ResourceExhausted => (Reason::Transient, format!("has no room for it now: {words}")),
        Code::Internal | Code::Unknown if is_about_room(message) => {
            (Reason::Full, format!("has no room for it: {words}"))
        }
        Code::Internal | Code::Unknown => (Reason::Transient, format!("failed: {words}")),
        _ => (Reason::Refused, format!("refused it: {words}")),
    }
}

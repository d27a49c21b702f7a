//! A connection to a server: how it is opened, how it is asked, and asked again.

use crate::{
    failure::{Asked, Failure, Reason, explain, hint},
    limits::Limits,
    place::Place,
    reapi,
};
use anyhow::{Context, Result, anyhow, ensure};
use reapi::capabilities_client::CapabilitiesClient;
use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use store::{WithHint, hinted};
use tokio::runtime::Runtime;
use tonic::{
    Request, Response, Status,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(20);

/// After so long without a word, the other machine is asked whether it is there, by TCP.
const SILENCE: Duration = Duration::from_secs(30);

/// How often it is asked before it is given up, and how long each time.
const PROBES: u32 = 4;
const PROBE: Duration = Duration::from_secs(15);

/// After so long, the server itself is asked, by HTTP/2. Servers made with gRPC's own library hang up on whoever does so more often
/// than every five minutes while they have nothing to say, and an action says nothing for hours.
const PING: Duration = Duration::from_secs(330);

/// The first pause before something is asked again; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The most that is received as one message: a batch of 4 MiB with room for what servers add.
pub const LARGEST_ANSWER: usize = 16 << 20;

/// How a server is reached.
#[derive(Clone)]
pub struct Options {
    /// `grpc://`, `grpcs://` or `unix:`.
    pub url: String,
    /// The instance that is asked; most servers have one without a name.
    pub instance: String,
    /// Headers of every question, such as a token.
    pub headers: Vec<(String, String)>,
    /// The authorities whose certificates are accepted, as PEM; those of the system, if nothing is given.
    pub authorities: Option<Vec<u8>>,
    /// The certificate that this client shows.
    pub identity: Option<Identity>,
    /// How often a question is asked again that may be answered then.
    pub retries: u32,
    /// How long one question may take.
    pub timeout: Duration,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and those between it and an authority.
    pub certificate: Vec<u8>,
    /// Its secret key.
    pub key: Vec<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            instance: String::new(),
            headers: Vec::new(),
            authorities: None,
            identity: None,
            retries: 5,
            timeout: Duration::from_secs(60),
        }
    }
}

/// Headers of every question.
#[derive(Clone)]
pub(crate) struct Headers(Vec<(AsciiMetadataKey, AsciiMetadataValue)>);

impl Headers {
    /// A question with them.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.0 {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        request
    }
}

/// What was asked of a server, and sent to it.
#[derive(Debug, Default)]
pub struct Counts {
    /// Questions which blobs are missing.
    pub searches: AtomicU64,
    /// Blobs that were sent.
    pub sent: AtomicU64,
    /// Their bytes.
    pub sent_bytes: AtomicU64,
    /// Blobs that were received.
    pub received: AtomicU64,
}

/// A server that answered.
pub struct Connection {
    runtime: Runtime,
    channel: Channel,
    place: Place,
    headers: Headers,
    pub(crate) instance: String,
    pub(crate) limits: Limits,
    pub(crate) counts: Counts,
    retries: u32,
    timeout: Duration,
}

impl Connection {
    /// Connects, and asks what the server allows.
    ///
    /// # Errors
    /// If an option is wrong; if the server can't be asked ([`Failure`]).
    pub fn open(options: &Options) -> Result<Self> {
        let place = Place::parse(&options.url)?;
        let is_secured = options.authorities.is_some() || options.identity.is_some();
        ensure!(
            place.is_private || !is_secured,
            hinted(
                format!("{} is asked without TLS, so no certificate can be used", place.shown),
                "write grpcs://"
            )
        );
        let is_near = place.uri.starts_with("unix:") || is_local(&place.uri);
        ensure!(
            place.is_private || is_near || !options.headers.iter().any(|(name, _)| name == "authorization"),
            hinted(
                format!("{} would get the token of the header file without TLS", place.shown),
                "write grpcs://"
            )
        );
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the threads of a connection")?;
        let channel = {
            let _guard = runtime.enter();
            endpoint(&place, options)?.connect_lazy()
        };
        let mut connection = Self {
            runtime,
            channel,
            place,
            headers: Headers(options.headers.iter().map(header).collect::<Result<_>>()?),
            instance: options.instance.clone(),
            limits: Limits::NONE,
            counts: Counts::default(),
            retries: options.retries,
            timeout: options.timeout,
        };
        let question = reapi::GetCapabilitiesRequest { instance_name: options.instance.clone() };
        let mut client = CapabilitiesClient::new(connection.channel());
        let asked = connection.once(client.get_capabilities(connection.request(question)));
        let capabilities =
            asked.map_err(|status| connection.error(explain(connection.asked(true), &status)))?;
        connection.limits = Limits::of(&connection.place.shown, &capabilities)?;
        tracing::debug!("{}: {:?}", connection.place.shown, connection.limits);
        Ok(connection)
    }

    /// The address, for people.
    pub fn place(&self) -> &str {
        &self.place.shown
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A question with the headers of all questions.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        self.headers.request(message)
    }

    fn asked(&self, is_first: bool) -> Asked<'_> {
        let Place { shown, is_private, .. } = &self.place;
        Asked { place: shown, is_private: *is_private, instance: &self.instance, is_first }
    }

    /// A failure below what it was about, with the hint that belongs to it.
    pub(crate) fn hinted(&self, failure: Failure, about: String) -> anyhow::Error {
        let Some(hint) = hint(&failure) else { return anyhow::Error::new(failure).context(about) };
        match Err::<(), _>(failure).with_hint(|| hinted(about, hint)) {
            Ok(()) => unreachable!("it is an error"),
            Err(error) => error,
        }
    }

    fn error(&self, failure: Failure) -> anyhow::Error {
        match hint(&failure) {
            Some(_) => self.hinted(failure, format!("cannot ask {}", self.place.shown)),
            None => failure.into(),
        }
    }

    fn once<T>(&self, question: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
        let late = || Status::deadline_exceeded(format!("{} s", self.timeout.as_secs()));
        let answer = async { tokio::time::timeout(self.timeout, question).await };
        self.runtime.block_on(answer).map_err(|_| late())?.map(Response::into_inner)
    }

    /// Asks, and asks again after a pause where that may help.
    pub(crate) fn ask<T, F>(&self, question: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.ask_within(self.timeout, question)
    }

    /// As [`Connection::ask`], for what takes longer than other questions.
    pub(crate) fn ask_within<T, F>(
        &self,
        timeout: Duration,
        mut question: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        for left in (0..=self.retries).rev() {
            let late = |_| Err(Status::deadline_exceeded(format!("{} s", timeout.as_secs())));
            let question = question();
            let answer = async { tokio::time::timeout(timeout, question).await.unwrap_or_else(late) };
            let failure = match self.runtime.block_on(answer) {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => explain(self.asked(false), &status),
            };
            let may_help = matches!(failure.reason, Reason::Unreachable | Reason::Transient);
            if left == 0 || !may_help {
                return Err(failure);
            }
            let pause = self.pause_before(left);
            tracing::debug!("asked again in {pause:?}: {failure}");
            std::thread::sleep(pause);
        }
        unreachable!("the last question returns")
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn retries(&self) -> u32 {
        self.retries
    }

    /// What a status of a question says that was not the first.
    pub(crate) fn failure(&self, status: &Status) -> Failure {
        explain(self.asked(false), status)
    }

    /// The headers of all questions, for a task of its own.
    pub(crate) fn headers(&self) -> Headers {
        self.headers.clone()
    }

    /// How long one question may take.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }

    /// The pause before a try, after which so many less one are left.
    pub(crate) fn pause_before(&self, left: u32) -> Duration {
        let before = self.retries.saturating_sub(left).min(10);
        (FIRST_PAUSE * 2u32.pow(before)).min(LONGEST_PAUSE)
    }

    /// The time that a stream of so many bytes may take: that of a question, and a second for each 100 kB.
    pub(crate) fn streaming(&self, size: u64) -> Duration {
        self.timeout + Duration::from_secs(size / 100_000)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Counts { searches, sent, sent_bytes, received } = &self.counts;
        let [searches, sent, bytes, received] =
            [searches, sent, sent_bytes, received].map(|count| count.load(Ordering::Relaxed));
        tracing::debug!(
            "{}: {searches} questions for missing blobs, {sent} blobs sent ({bytes} bytes), {received} received",
            self.place.shown
        );
    }
}

fn header((name, value): &(String, String)) -> Result<(AsciiMetadataKey, AsciiMetadataValue)> {
    // The value is a secret.
    let key = name.to_ascii_lowercase().parse();
    let key = key.with_context(|| format!("`{}` is not a name of a header", name.escape_debug()))?;
    let mut value: AsciiMetadataValue = value
        .parse()
        .map_err(|_| anyhow!("the value of the header `{name}` has characters that no header may have"))?;
    value.set_sensitive(true);
    Ok((key, value))
}

/// Whether an address is one of this machine.
fn is_local(uri: &str) -> bool {
    let host = uri.split_once("://").map_or(uri, |(_, host)| host);
    let host = host.strip_prefix('[').map_or_else(
        || host.split(':').next().unwrap_or_default(),
        |rest| rest.split(']').next().unwrap_or_default(),
    );
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn endpoint(place: &Place, options: &Options) -> Result<Endpoint> {
    let wrong = || format!("{} is not an address of a server", place.shown);
    let mut endpoint = Endpoint::from_shared(place.uri.clone())
        .with_context(wrong)?
        .connect_timeout(CONNECTING)
        .tcp_keepalive(Some(SILENCE))
        .tcp_keepalive_interval(Some(PROBE))
        .tcp_keepalive_retries(Some(PROBES))
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(SILENCE)
        // The defaults hold 64 kB back until they are acknowledged, which a line of some length feels.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20);
    if place.is_private {
        let mut tls = ClientTlsConfig::new();
        tls = match &options.authorities {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        if let Some(Identity { certificate, key }) = &options.identity {
            tls = tls.identity(tonic::transport::Identity::from_pem(certificate, key));
        }
        endpoint = endpoint.tls_config(tls).map_err(|error| {
            let cause = anyhow::Chain::new(&error).last().map(ToString::to_string).unwrap_or_default();
            anyhow!("the certificates for {} can't be used: {cause}", place.shown)
        })?;
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_by_tls_or_stay_on_this_machine() {
        for (uri, local) in [
            ("http://localhost:1", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost.example:1", false),
            ("http://10.0.0.1:1", false),
        ] {
            assert_eq!(is_local(uri), local, "{uri}");
        }
        let options = Options {
            url: "grpc://cache.example:1".into(),
            headers: vec![("authorization".into(), "Bearer secret".into())],
            ..Options::default()
        };
        let error = format!("{:#}", Connection::open(&options).err().unwrap());
        assert!(error.contains("without TLS") && !error.contains("secret"), "{error}");
    }
}

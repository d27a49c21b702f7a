//! Puts inputs on a server, where `--mirror` finds them: `URL/sha256/HEX`, as in a vendored directory, by HTTP PUT.
//!
//! Any static server with WebDAV, a bucket, or a store of artifacts takes that. A repository of a registry (`oci://HOST/NAME`) has
//! them as blobs. What is there already is not sent again.

use crate::{
    FetchOptions, Input,
    client::{Address, Client, Content, Failure, Token},
    configuration::variable,
    mirror::repository,
    oci::{Descriptor, Manifest, Registry, SCHEME},
    url::{is_private, without_credentials},
    vendor::{merged_index, require_passing_on},
};
use anyhow::{Context, Result, bail, ensure};
use std::{io::Write, sync::Mutex};
use store::{Digest, Progress, Store, Unit};
use ureq::http::header;

/// The largest list of inputs, in bytes.
const LARGEST_INDEX: u64 = 64 << 20;

/// What was done on a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Files that were sent.
    pub sent: usize,
    /// Files that were there.
    pub there: usize,
}

/// Sends inputs, which the store must have, to a server. A token for it stands in MLC_REPRO_MIRROR_TOKEN, or user and password in
/// the address.
///
/// # Errors
/// If the license of one does not let it be passed on; if the server does not take one.
pub fn push(
    store: &Store,
    inputs: &[&Input],
    url: &str,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    require_passing_on(inputs)?;
    let url = url.trim_end_matches('/');
    if url.starts_with(SCHEME) {
        return push_to_registry(store, inputs, url, options, progress);
    }
    let shown = without_credentials(url);
    ensure!(
        url.starts_with("https://") || url.starts_with("http://"),
        "`{shown}` is not an address that starts with https:// or http://"
    );
    let token = match variable("MLC_REPRO_MIRROR_TOKEN") {
        Some(_) if !is_private(url) => {
            bail!("{shown} would get the token of MLC_REPRO_MIRROR_TOKEN without TLS")
        }
        Some(text) => Some(Token::new(&text).context("MLC_REPRO_MIRROR_TOKEN holds no token")?),
        None => None,
    };
    let client = options.network.client(options.patience);
    let server = Server { client, url: url.to_owned(), token };
    let pushed = send_all(inputs, &shown, options, progress, &|input| server.send(store, input, progress))?;
    server.send_index(inputs, progress)?;
    Ok(pushed)
}

/// Sends every file once, by several connections. `send` says whether it was sent.
fn send_all(
    inputs: &[&Input],
    shown: &str,
    options: &FetchOptions,
    progress: &dyn Progress,
    send: &(dyn Fn(&Input) -> Result<bool> + Sync),
) -> Result<Pushed> {
    let mut files: Vec<&Input> = inputs.to_vec();
    files.sort_by_key(|input| input.digest);
    files.dedup_by_key(|input| input.digest);
    let total = files.iter().map(|input| input.digest.size).sum();
    let meter = progress.begin(&format!("sending to {shown}"), total, Unit::Bytes);
    let queue = Mutex::new(files.iter());
    let result = Mutex::new(Ok(Pushed::default()));
    let lock = || result.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..options.connections.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                while lock().is_ok() {
                    let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                    let Some(input) = next else { break };
                    let sent = send(input);
                    meter.add(input.digest.size);
                    let mut result = lock();
                    match sent {
                        Err(error) => *result = Err(error),
                        Ok(sent) => {
                            if let Ok(pushed) = result.as_mut() {
                                *(if sent { &mut pushed.sent } else { &mut pushed.there }) += 1;
                            }
                        }
                    }
                }
            });
        }
    });
    result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a list of inputs is called among artifacts.
const ARTIFACT_TYPE: &str = "application/vnd.mlc-repro.inputs.v1+json";

/// The inputs become blobs of a repository. A manifest names them, so that the registry does not take them for garbage; who
/// fetches needs none.
fn push_to_registry(
    store: &Store,
    inputs: &[&Input],
    url: &str,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let registry = Registry::open(&repository(url)?, options, true);
    let pushed = send_all(inputs, url, options, progress, &|input| {
        let blob = store.open_blob(&input.digest)?;
        registry
            .push_blob(&input.digest, &Content::File(blob))
            .with_context(|| format!("cannot send `{}`", input.name))
    })?;
    let mut layers: Vec<Descriptor> = inputs
        .iter()
        .map(|input| Descriptor::new("application/octet-stream", &input.digest).titled(&input.name))
        .collect();
    layers.sort_by(|a, b| (a.title(), &a.digest).cmp(&(b.title(), &b.digest)));
    layers.dedup();
    let manifest = Manifest::new(ARTIFACT_TYPE, layers);
    let hex = Digest::of(&manifest.bytes()?).hex();
    registry.push_manifest(&manifest, Some(&format!("inputs-{}", &hex[..16])))?;
    Ok(pushed)
}

struct Server {
    client: Client,
    url: String,
    token: Option<Token>,
}

impl Server {
    fn address(&self, path: &str) -> Address {
        Address { url: format!("{}/{path}", self.url), token: self.token.clone() }
    }

    /// Sends a file, unless it is there. Whether it was sent.
    fn send(&self, store: &Store, input: &Input, progress: &dyn Progress) -> Result<bool> {
        let address = self.address(&format!("sha256/{}", input.digest.hex()));
        let sending = || format!("cannot send `{}` to {}", input.name, without_credentials(&address.url));
        match self.client.persist(&address, progress, || self.client.head(&address)) {
            Ok(headers) => {
                let length =
                    headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
                if length == Some(input.digest.size) {
                    return Ok(false);
                }
            }
            // It is not there, or the server does not say.
            Err(failure) if matches!(failure.status(), Some(403 | 404 | 405 | 501)) => {}
            Err(failure) => return Err(failure.error).with_context(sending),
        }
        self.client
            .persist(&address, progress, || {
                let blob = store.open_blob(&input.digest).map_err(Failure::local)?;
                self.client.put(&address, blob)
            })
            .map_err(|failure| failure.error)
            .with_context(sending)?;
        Ok(true)
    }

    /// Adds the inputs to the list of what the server has.
    fn send_index(&self, inputs: &[&Input], progress: &dyn Progress) -> Result<()> {
        let address = self.address("index.toml");
        let sending = || format!("cannot write {}", without_credentials(&address.url));
        let old = match self.client.read(&address, &[], LARGEST_INDEX, progress) {
            Ok(bytes) => Some(String::from_utf8(bytes).with_context(sending)?),
            Err(failure) if matches!(failure.status(), Some(403 | 404)) => None,
            Err(failure) => return Err(failure.error).with_context(sending),
        };
        let text = merged_index(old.as_deref(), inputs).with_context(sending)?;
        if old.as_ref() == Some(&text) {
            return Ok(());
        }
        self.client
            .persist(&address, progress, || {
                let mut file = tempfile::tempfile().map_err(Failure::local)?;
                file.write_all(text.as_bytes()).map_err(Failure::local)?;
                std::io::Seek::rewind(&mut file).map_err(Failure::local)?;
                self.client.put(&address, file)
            })
            .map_err(|failure| failure.error)
            .with_context(sending)
    }
}

//! A static server that holds results: a store, or an unpacked archive of results, behind any web server.

use crate::{
    FetchOptions,
    client::{Address, Client, Failure, Kind},
    download::{Download, Job},
    url::without_credentials,
};
use anyhow::{Context, Result, ensure};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use store::{Digest, LARGEST_RESULT, Peer, Shelf, Silent, Store, blob_path};

/// Blobs up to this size are received in memory; larger ones resume where they broke off.
const IN_MEMORY: u64 = 1 << 20;

/// A server that is asked for results and blobs by their digests.
pub struct ServerPeer {
    name: String,
    url: String,
    client: Client,
    connections: usize,
    /// It was given up, and the user was told.
    gone: AtomicBool,
}

impl ServerPeer {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// If `url` is not an address; if the network may not be asked.
    pub fn new(name: &str, url: &str, options: &FetchOptions) -> Result<Self> {
        let shown = without_credentials(url);
        ensure!(
            url.starts_with("https://") || url.starts_with("http://"),
            "`{}` is not an address that starts with https:// or http://",
            shown.escape_debug()
        );
        ensure!(!options.offline, "`--from {shown}` asks the network, and `--offline` forbids it");
        Ok(Self {
            name: name.to_owned(),
            url: url.trim_end_matches('/').to_owned(),
            client: options.network.client(options.patience),
            connections: options.connections,
            gone: AtomicBool::new(false),
        })
    }

    fn address(&self, path: &str) -> Address {
        format!("{}/{path}", self.url).into()
    }

    fn receive(&self, store: &Store, blob: &Digest) -> Result<()> {
        let address = self.address(&blob_path(blob));
        let explain = |failure: Failure| {
            failure.error.context(format!("cannot fetch {}", without_credentials(&address.url)))
        };
        if blob.size <= IN_MEMORY {
            let bytes = self.client.read(&address, &[], blob.size, &Silent).map_err(explain)?;
            let found = Digest::of(&bytes);
            ensure!(
                found == *blob,
                "{} sends something else: {} bytes with the SHA-256 {}",
                without_credentials(&address.url),
                found.size,
                found.hex()
            );
            store.put_bytes(&bytes)?;
            return Ok(());
        }
        let job = Job { store, client: &self.client, meter: &Silent, progress: &Silent };
        let Some(mut download) = Download::begin(job, blob)? else { return Ok(()) };
        download.receive(&address).map_err(explain)?;
        download.keep()
    }
}

impl Peer for ServerPeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn result(&self, shelf: Shelf, action: &Digest) -> Result<Option<Vec<u8>>> {
        if self.gone.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let address = self.address(&shelf.path(action));
        match self.client.read(&address, &[], LARGEST_RESULT, &Silent) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(failure) if matches!(failure.status(), Some(403 | 404 | 410)) => Ok(None),
            Err(failure) => {
                if matches!(failure.kind, Kind::Dead | Kind::Skipped | Kind::Slow) {
                    self.gone.store(true, Ordering::Relaxed);
                }
                Err(failure.error).with_context(|| format!("cannot ask {}", without_credentials(&self.url)))
            }
        }
    }

    fn bring(&self, store: &Store, blobs: &[Digest]) -> Result<()> {
        let queue = Mutex::new(blobs.iter());
        let problem = Mutex::new(None);
        let lock = || problem.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..self.connections.clamp(1, blobs.len().max(1)) {
                scope.spawn(|| {
                    while lock().is_none() {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(blob) = next else { break };
                        if let Err(error) = self.receive(store, blob) {
                            lock().get_or_insert(error);
                        }
                    }
                });
            }
        });
        problem.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

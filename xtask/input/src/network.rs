//! What is asked of this machine and of the network once, however many fetches there are: where registries are, which servers
//! are silent, where snapshots of Debian's archives are.

use crate::{
    archive::Archive,
    client::{self, Client},
    configuration,
};
use anyhow::Result;
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use store::Hinted;

/// Dated archives are slow and have many users: they are asked by this many connections at most.
const ARCHIVE_CONNECTIONS: usize = 2;

type Known<T> = OnceLock<Result<T>>;

/// Addresses of the snapshot of a state, by whether any current archive could be asked for them.
type Snapshots = BTreeMap<(Archive, bool), Result<Vec<String>>>;

/// What is known of the network. Clones share it.
#[derive(Clone, Default)]
pub struct Network(Arc<Inner>);

#[derive(Default)]
struct Inner {
    client: OnceLock<Client>,
    debian: Known<Vec<String>>,
    python: Known<String>,
    npm: Known<String>,
    snapshots: Mutex<Snapshots>,
    archive: Gate,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("Network")
    }
}

fn known<T>(cell: &Known<T>, find: impl FnOnce() -> Result<T>) -> Result<&T> {
    let found = cell.get_or_init(find);
    found.as_ref().map_err(|error| Hinted::copy_of(error).into())
}

impl Network {
    /// The client of this process.
    pub fn client(&self, patience: Duration) -> Client {
        self.0.client.get_or_init(|| Client::new(client::PATIENCE)).with_patience(patience)
    }

    /// Debian's archives, those that are current.
    pub fn debian(&self) -> Result<&[String]> {
        known(&self.0.debian, configuration::debian_mirrors).map(Vec::as_slice)
    }

    /// The Python package index.
    pub fn python(&self) -> Result<&str> {
        known(&self.0.python, configuration::python_index).map(String::as_str)
    }

    /// The npm registry.
    pub fn npm(&self) -> Result<&str> {
        known(&self.0.npm, configuration::npm_registry).map(String::as_str)
    }

    /// Where snapshots of a state of Debian's archive are. `lacking` are the current archives that lack a package of it: only
    /// they are asked, for one that gives something else is not to be believed.
    pub fn snapshots(&self, archive: &Archive, client: &Client, lacking: &[String]) -> Result<Vec<String>> {
        let mut snapshots = self.0.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (archive.clone(), lacking.is_empty());
        let found = snapshots.entry(key).or_insert_with(|| archive.addresses(client, lacking));
        match found {
            Ok(addresses) => Ok(addresses.clone()),
            Err(error) => Err(Hinted::copy_of(error).into()),
        }
    }

    /// Leave to use a connection to a dated archive.
    pub fn archive_turn(&self) -> GateTurn<'_> {
        self.0.archive.enter()
    }
}

/// Lets a few in at a time.
#[derive(Default)]
struct Gate {
    inside: Mutex<usize>,
    left: Condvar,
}

/// Being inside.
pub struct GateTurn<'a>(&'a Gate);

impl Gate {
    fn enter(&self) -> GateTurn<'_> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        while *inside >= ARCHIVE_CONNECTIONS {
            inside = self.left.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        *inside += 1;
        GateTurn(self)
    }
}

impl Drop for GateTurn<'_> {
    fn drop(&mut self) {
        *self.0.inside.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.left.notify_one();
    }
}

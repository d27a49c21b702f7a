//! A cluster as a backend: actions run on its workers, which take the input root for the root file system.

use crate::{
    connection::{Connection, Options},
    execution::{Operations, Ran, Watch},
    failure::words,
    reapi,
};
use anyhow::{Context, Result, bail, ensure};
use bazel_remote_apis::google::rpc;
use environment::{Backend, Ended, Exit, Launch};
use prost::Message;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::{Action, Digest, Entry, Store, Tree, Unit, WithHint, hinted, to_message};
use tonic::Code;

/// How often an action is asked for whose inputs the server lost meanwhile.
const TRIES: usize = 3;

/// What a request has beside the action that the key is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Properties that a worker must have.
    pub properties: BTreeMap<String, String>,
    /// The longest that an action may run.
    pub timeout: Option<Duration>,
}

impl Demands {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A cluster.
///
/// Nothing is looked up there: what anybody kept of an action is asked for by [`crate::Cache`], and named as somebody else's.
pub struct Remote {
    connection: Arc<Connection>,
    demands: Demands,
    operations: Operations,
    /// Blobs that the server had when it was asked last.
    there: Mutex<HashSet<Digest>>,
    /// Whether results may be written there, as far as is known.
    takes_results: AtomicBool,
}

impl Remote {
    /// Connects to a cluster.
    ///
    /// # Errors
    /// If it can't be asked; if it runs no actions.
    pub fn open(options: &Options, demands: Demands) -> Result<Self> {
        let connection = Arc::new(Connection::open(options)?);
        ensure!(
            connection.limits.executes,
            hinted(
                format!("{} runs no actions", connection.place()),
                "a server that only keeps results is named with `--cache`"
            )
        );
        let operations = Operations::default();
        connection.cancel_when_interrupted(&operations)?;
        let takes_results = AtomicBool::new(connection.limits.takes_results);
        Ok(Self { connection, demands, operations, there: Mutex::default(), takes_results })
    }

    /// The action that is asked for, with its command; the blobs are in the store.
    fn request(&self, store: &Store, action: &Action) -> Result<[Digest; 2]> {
        let (key, command) = (action.write(store)?, action.command_digest());
        if self.demands.is_empty() {
            return Ok([key, command]);
        }
        let property = |(name, value): (&String, &String)| reapi::platform::Property {
            name: name.clone(),
            value: value.clone(),
        };
        let properties: Vec<_> = self.demands.properties.iter().map(property).collect();
        let platform = (!properties.is_empty()).then_some(reapi::Platform { properties });
        let mut message = reapi::Command::decode(store.read(&command)?.as_slice())?;
        #[allow(deprecated, reason = "servers before version 2.2 of the API read it there")]
        message.platform.clone_from(&platform);
        let command = store.put_bytes(&message.encode_to_vec())?;
        let mut message = reapi::Action::decode(store.read(&key)?.as_slice())?;
        message.command_digest = Some(to_message(&command));
        message.platform = platform;
        message.timeout = self.demands.timeout.map(duration);
        Ok([store.put_bytes(&message.encode_to_vec())?, command])
    }

    /// Sends what the server lacks.
    fn upload(&self, store: &Store, blobs: &[Digest], progress: &dyn store::Meter) -> Result<()> {
        let unknown: Vec<Digest> = {
            let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
            blobs.iter().copied().filter(|blob| !there.contains(blob)).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let missing = self.connection.missing(&unknown)?;
        let size: u64 = missing.iter().map(|blob| blob.size).sum();
        if !missing.is_empty() {
            progress.message(&format!("sending {} inputs, {} MB", missing.len(), size.div_ceil(1_000_000)));
        }
        self.connection.send(store, &missing)?;
        self.there.lock().unwrap_or_else(PoisonError::into_inner).extend(unknown);
        Ok(())
    }

    fn forget(&self) {
        self.there.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What a server says that has no input for long enough.
    fn loses(&self, status: &rpc::Status) -> anyhow::Error {
        let message = format!(
            "{} loses inputs of the action as soon as they are sent: {}",
            self.connection.place(),
            said(status)
        );
        hinted(message, "give the server more room than one action needs (docs/remote.md)").into()
    }

    /// What a server says that did not run an action.
    fn refused(&self, status: &rpc::Status) -> anyhow::Error {
        let place = self.connection.place();
        let said = said(status);
        let (what, hint) = match Code::from_i32(status.code) {
            Code::DeadlineExceeded => (
                "ended the action, which took longer than it allows",
                "raise the time limit of the cluster (docs/remote.md names the settings)",
            ),
            Code::FailedPrecondition | Code::InvalidArgument => (
                "does not run the action",
                "`--remote-property NAME=VALUE` says which workers it is for; docs/remote.md says what a worker must offer",
            ),
            _ => ("did not run the action", "docs/remote.md says what a worker must offer"),
        };
        hinted(format!("{place} {what}: {said}"), hint).into()
    }

    /// Has a result stand under the key as well that all clusters have, where another was asked for. What stands there stays, and
    /// that nothing may be written is not a fault: the result is here.
    fn share(&self, key: &Digest, result: &reapi::ActionResult) {
        if self.demands.is_empty() || !self.takes_results.load(Ordering::Relaxed) {
            return;
        }
        let put = || match self.connection.result(key)? {
            Some(there) if there.exit_code == 0 => Ok(()),
            _ => self.connection.put_result(key, result.clone()),
        };
        if let Err(failure) = put() {
            self.takes_results.store(false, Ordering::Relaxed);
            tracing::debug!("no result is written there any more: {failure}");
        }
    }

    fn take(
        &self,
        launch: &Launch<'_>,
        result: &reapi::ActionResult,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<Ended> {
        if let Some(log) = self.connection.log(result).context("its log can't be had")? {
            output(&log);
        }
        let exit = Exit::of(result.exit_code);
        if !exit.success() || result.output_directories.is_empty() {
            return Ok(Ended { exit, outputs: Tree::new() });
        }
        let outputs = self.connection.outputs(result).context("its outputs can't be taken")?;
        let files: HashSet<Digest> = outputs
            .iter()
            .filter_map(|(_, entry)| match entry {
                Entry::File { digest, .. } => Some(*digest),
                Entry::Symlink { .. } | Entry::Directory => None,
            })
            .collect();
        let size = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size));
        let free = launch.store.free_bytes()?;
        ensure!(
            size <= free,
            "the outputs have {} MB, and the disk of the store has {} MB free",
            size / 1_000_000,
            free / 1_000_000
        );
        let missing: Vec<Digest> = files.into_iter().filter(|file| !launch.store.contains(file)).collect();
        self.connection.receive(launch.store, &missing).context("its outputs can't be taken")?;
        Ok(Ended { exit, outputs })
    }
}

/// The words of a status.
fn said(status: &rpc::Status) -> String {
    words(Code::from_i32(status.code), &status.message)
}

/// A duration as messages have it.
fn duration(time: Duration) -> bazel_remote_apis::google::protobuf::Duration {
    bazel_remote_apis::google::protobuf::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    }
}

impl Backend for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn check(&self) -> Result<String> {
        Ok(format!("{} runs actions", self.connection.place()))
    }

    fn run(&self, launch: &Launch<'_>, output: &mut dyn FnMut(&[u8])) -> Result<Ended> {
        let action = launch.action.with_hint(|| {
            hinted("a cluster runs actions, and opens no shells", "choose another `--backend`")
        })?;
        let root = action.input_root.context("an action without an input tree")?;
        let meter =
            launch.progress.begin(&format!("action {}", &action.digest().hex()[..16]), 0, Unit::Items);
        let request = self.request(launch.store, action)?;
        let mut blobs = launch.store.tree_blobs(&root)?;
        blobs.extend(request);
        // Where another is asked for, the action of the key goes along, as its result will stand there.
        blobs.extend([action.digest(), action.command_digest()]);
        let note = |text: &str| launch.progress.note(text);
        let watch = Watch { meter: meter.as_ref(), note: &note };
        for left in (0..TRIES).rev() {
            meter.message("looking for inputs");
            self.upload(launch.store, &blobs, meter.as_ref())?;
            meter.message("in the queue");
            let status = match self.connection.execute(&request[0], &watch, &self.operations)? {
                Ran::Ended(result) => {
                    tracing::debug!("the action {} ran", request[0].hex());
                    let ended = self.take(launch, &result, output)?;
                    if ended.exit.success() && !ended.outputs.is_empty() {
                        self.share(&action.digest(), &result);
                    }
                    return Ok(ended);
                }
                Ran::NotRun(status) => status,
            };
            // A blob that was there is gone, which servers tell in different ways; else there is nothing to send.
            let may_lack = matches!(
                Code::from_i32(status.code),
                Code::NotFound | Code::FailedPrecondition | Code::Internal
            );
            let may_help = matches!(
                Code::from_i32(status.code),
                Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::Internal
            );
            self.forget();
            let lacks = may_lack && !self.connection.missing(&blobs)?.is_empty();
            // Whoever throws blobs away says at times that they are there still.
            let lacks = lacks || status.code == Code::NotFound as i32;
            match (left, lacks) {
                (0, true) => return Err(self.loses(&status)),
                (0, false) => return Err(self.refused(&status)),
                (_, lacks) if !(lacks || may_help) => return Err(self.refused(&status)),
                _ => {}
            }
            tracing::debug!("the action {} is asked for again: {}", request[0].hex(), status.message);
        }
        bail!("the last try returns")
    }
}

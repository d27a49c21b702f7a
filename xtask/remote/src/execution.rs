//! Running an action on a cluster: asked for, waited for, and waited for again when the connection breaks.

use crate::{
    connection::{Connection, LARGEST_ANSWER},
    failure::Reason,
    reapi,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use bazel_remote_apis::google::{
    longrunning::{
        CancelOperationRequest, Operation, operation::Result as Finished, operations_client::OperationsClient,
    },
    rpc,
};
use prost::Message;
use reapi::{execution_client::ExecutionClient, execution_stage::Value as Stage};
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use store::{Digest, Meter, to_message};
use tokio::signal::unix::{SignalKind, signal};
use tonic::{Code, Status, transport::Channel};

/// How long a server may take to hear that an action is not wanted any more.
const CANCELLING: Duration = Duration::from_secs(3);

/// How often the queue is looked at.
const LOOKING: Duration = Duration::from_secs(5);

/// After this time in the queue the user is told.
const LONG_IN_QUEUE: Duration = Duration::from_secs(60);

/// What is said of a run as it goes on.
pub struct Watch<'a> {
    /// Told about stages.
    pub meter: &'a dyn Meter,
    /// Told once that nobody takes the action.
    pub note: &'a dyn Fn(&str),
}

/// Operations that go on, which are ended when the user wants no more of them.
#[derive(Clone, Default)]
pub struct Operations(Arc<Mutex<Vec<String>>>);

impl Operations {
    fn add(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }

    fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| known != name);
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How a run ended.
pub enum Ran {
    /// The command ended by itself, in whatever way.
    Ended(Box<reapi::ActionResult>),
    /// The server says that it did not run it.
    NotRun(rpc::Status),
}

impl Connection {
    fn execution(&self) -> ExecutionClient<Channel> {
        ExecutionClient::new(self.channel()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Ends operations when this process is to end, and then the process.
    ///
    /// # Errors
    /// If this process can't listen for signals.
    pub fn cancel_when_interrupted(&self, operations: &Operations) -> Result<()> {
        let _inside = self.runtime().enter();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut received = signal(kind).context("cannot listen for signals")?;
            let operations = operations.clone();
            let (client, headers) = (OperationsClient::new(self.channel()), self.headers());
            self.runtime().spawn(async move {
                received.recv().await;
                let cancel = async {
                    for name in operations.all() {
                        let request = headers.request(CancelOperationRequest { name });
                        let _ = client.clone().cancel_operation(request).await;
                    }
                };
                let _ = tokio::time::timeout(CANCELLING, cancel).await;
                std::process::exit(128 + kind.as_raw_value());
            });
        }
        Ok(())
    }

    /// Runs an action that the server has with all that it names. What anybody kept of it is not taken: who wants that, asks for
    /// it before.
    ///
    /// # Errors
    /// If the server can't be asked, or can't be asked any more ([`crate::Failure`]).
    pub fn execute(&self, action: &Digest, watch: &Watch<'_>, operations: &Operations) -> Result<Ran> {
        let mut name = String::new();
        let mut left = self.retries();
        loop {
            let followed = self.runtime().block_on(self.follow(action, &mut name, watch, operations));
            let failure = match followed {
                Ok(operation) => {
                    operations.remove(&name);
                    return ran(operation, self.place());
                }
                Err(status) => self.failure(&status),
            };
            let known = !name.is_empty();
            match failure.reason {
                // Whoever ran it was started again, and knows nothing of it: it begins anew.
                Reason::Missing if known => name.clear(),
                Reason::Unreachable | Reason::Transient if left > 0 => {}
                Reason::Refused if known && failure.code == Code::Unimplemented => name.clear(),
                _ => {
                    operations.remove(&name);
                    return Err(failure.into());
                }
            }
            if left == 0 {
                return Err(failure.into());
            }
            left -= 1;
            watch.meter.message("waiting for the server");
            tracing::debug!("the action {} is waited for again: {failure}", action.hex());
            std::thread::sleep(self.pause_before(left));
        }
    }

    /// Waits until an operation is done, however long that takes: the one of this name, or a new one.
    async fn follow(
        &self,
        action: &Digest,
        name: &mut String,
        watch: &Watch<'_>,
        operations: &Operations,
    ) -> Result<Operation, Status> {
        let mut client = self.execution();
        let mut queue = Queue { begun: Instant::now(), is_left: false, is_told: false, place: self.place() };
        let answer = if name.is_empty() {
            let question = reapi::ExecuteRequest {
                instance_name: self.instance.clone(),
                skip_cache_lookup: true,
                action_digest: Some(to_message(action)),
                ..Default::default()
            };
            queue.wait(client.execute(self.request(question)), watch).await?
        } else {
            let question = reapi::WaitExecutionRequest { name: name.clone() };
            queue.wait(client.wait_execution(self.request(question)), watch).await?
        };
        let mut stream = answer.into_inner();
        loop {
            let Some(operation) = queue.wait(stream.message(), watch).await? else {
                return Err(Status::unavailable("the stream ended early"));
            };
            if !operation.name.is_empty() {
                operations.remove(name);
                name.clone_from(&operation.name);
                operations.add(name);
            }
            if operation.done {
                return Ok(operation);
            }
            if let Some(stage) = stage(&operation) {
                queue.is_left = !matches!(stage, Stage::Unknown | Stage::Queued);
                watch.meter.message(match stage {
                    Stage::CacheCheck => "looked up by the server",
                    Stage::Executing => "running",
                    Stage::Completed => "its outputs are kept",
                    Stage::Unknown | Stage::Queued => "in the queue",
                });
            }
        }
    }
}

/// Waiting without an end, but not in silence: servers keep actions for which they have no worker.
struct Queue<'a> {
    begun: Instant,
    is_left: bool,
    is_told: bool,
    place: &'a str,
}

impl Queue<'_> {
    async fn wait<T>(&mut self, answer: impl Future<Output = T>, watch: &Watch<'_>) -> T {
        let mut answer = std::pin::pin!(answer);
        loop {
            // The connection itself is watched by pings.
            if let Ok(answer) = tokio::time::timeout(LOOKING, answer.as_mut()).await {
                return answer;
            }
            let waited = self.begun.elapsed();
            if !self.is_left && !self.is_told && waited > LONG_IN_QUEUE {
                self.is_told = true;
                (watch.note)(&format!(
                    "{} has had an action for {} s and does not say that it runs: it may have no worker for it",
                    self.place,
                    waited.as_secs()
                ));
            }
        }
    }
}

fn stage(operation: &Operation) -> Option<Stage> {
    let metadata = operation.metadata.as_ref()?;
    let metadata = reapi::ExecuteOperationMetadata::decode(metadata.value.as_slice()).ok()?;
    Stage::try_from(metadata.stage).ok()
}

/// What an operation that is done says.
fn ran(operation: Operation, place: &str) -> Result<Ran> {
    let response = match operation.result {
        Some(Finished::Error(status)) => return Ok(Ran::NotRun(status)),
        Some(Finished::Response(response)) => response,
        None => bail!("{place} says that the action is done, and nothing of its result"),
    };
    ensure!(
        response.type_url.ends_with("/build.bazel.remote.execution.v2.ExecuteResponse"),
        "{place} answers with something else than the result of an action"
    );
    let response = reapi::ExecuteResponse::decode(response.value.as_slice())
        .map_err(|_| anyhow!("{place} answers with no result of an action"))?;
    match response.status {
        Some(status) if status.code != 0 => Ok(Ran::NotRun(status)),
        _ => {
            let result = response.result;
            let result = result.with_context(|| format!("{place} ran the action, and names no result"))?;
            Ok(Ran::Ended(Box::new(result)))
        }
    }
}

//! Running an action on a cluster: asked for, waited for, and waited for again when the connection breaks.

use crate::{
    connection::{Connection, LARGEST_ANSWER},
    failure::Reason,
    reapi,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use bazel_remote_apis::google::{
    bytestream::ReadRequest,
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
use store::{Digest, Lines, Meter, to_message};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};
use tonic::{Code, Status, transport::Channel};

/// How long a server may take to hear that an action is not wanted any more.
const CANCELLING: Duration = Duration::from_secs(3);

/// How often the queue is looked at.
const LOOKING: Duration = Duration::from_secs(5);

/// A stream of at least this time did not fail at once.
const A_WHILE: Duration = Duration::from_secs(10);

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
        let mut joined = Joined::default();
        let mut left = self.retries();
        loop {
            let begun = Instant::now();
            joined.is_answered = false;
            let followed = self.runtime().block_on(self.follow(action, &mut joined, watch, operations));
            let name = &mut joined.name;
            let failure = match followed {
                Ok(operation) => {
                    operations.remove(name);
                    return ran(operation, self.place());
                }
                Err(status) => self.failure(&status),
            };
            let known = !name.is_empty();
            // What was heard of for a while is waited for as long as it takes, however often somebody on the way hangs up.
            if joined.is_answered && begun.elapsed() > A_WHILE {
                left = self.retries();
            }
            match failure.reason {
                // Whoever ran it was started again, and knows nothing of it: it begins anew.
                Reason::Missing if known => name.clear(),
                Reason::Unreachable | Reason::Transient if left > 0 => {}
                Reason::Refused if known && failure.code == Code::Unimplemented => name.clear(),
                _ => {
                    operations.remove(name);
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
        joined: &mut Joined,
        watch: &Watch<'_>,
        operations: &Operations,
    ) -> Result<Operation, Status> {
        let mut client = self.execution();
        let is_told = &mut joined.is_told;
        let mut queue = Queue { begun: Instant::now(), is_left: false, is_told, place: self.place() };
        let answer = if joined.name.is_empty() {
            let question = reapi::ExecuteRequest {
                instance_name: self.instance.clone(),
                skip_cache_lookup: true,
                action_digest: Some(to_message(action)),
                ..Default::default()
            };
            queue.wait(client.execute(self.request(question)), watch).await?
        } else {
            let question = reapi::WaitExecutionRequest { name: joined.name.clone() };
            queue.wait(client.wait_execution(self.request(question)), watch).await?
        };
        let mut stream = answer.into_inner();
        let mut log = Log::new();
        loop {
            let next = async {
                tokio::select! {
                    operation = stream.message() => operation.map(Some),
                    line = log.line() => {
                        watch.meter.message(&line);
                        Ok(None)
                    }
                }
            };
            let Some(answer) = queue.wait(next, watch).await? else { continue };
            let Some(operation) = answer else {
                return Err(Status::unavailable("the stream ended early"));
            };
            joined.is_answered = true;
            if !operation.name.is_empty() {
                operations.remove(&joined.name);
                joined.name.clone_from(&operation.name);
                operations.add(&joined.name);
            }
            if operation.done {
                return Ok(operation);
            }
            let Some(metadata) = metadata(&operation) else { continue };
            for name in [&metadata.stdout_stream_name, &metadata.stderr_stream_name] {
                log.follow(self, name);
            }
            if let Ok(stage) = Stage::try_from(metadata.stage) {
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
    is_told: &'a mut bool,
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
            if !self.is_left && !*self.is_told && waited > LONG_IN_QUEUE {
                *self.is_told = true;
                (watch.note)(&format!(
                    "{} has had an action for {} s and does not say that it runs: it may have no worker for it",
                    self.place,
                    waited.as_secs()
                ));
            }
        }
    }
}

fn metadata(operation: &Operation) -> Option<reapi::ExecuteOperationMetadata> {
    reapi::ExecuteOperationMetadata::decode(operation.metadata.as_ref()?.value.as_slice()).ok()
}

/// An operation that is waited for.
#[derive(Default)]
struct Joined {
    /// Its name, once the server has said it.
    name: String,
    /// Whether anything was heard of it since it was asked for last.
    is_answered: bool,
    /// Whether the user knows that it waits for a worker.
    is_told: bool,
}

/// The output of an action while it runs, where the server gives it. It is shown and not kept: the result names the log.
struct Log {
    names: Vec<String>,
    /// What reads it, until this is dropped.
    tasks: JoinSet<()>,
    lines: Receiver<String>,
    sender: Sender<String>,
}

impl Log {
    fn new() -> Self {
        let (sender, lines) = channel(16);
        Self { names: Vec::new(), tasks: JoinSet::new(), lines, sender }
    }

    /// Reads a stream as well, unless it is read already. That it can't be had ends nothing.
    fn follow(&mut self, connection: &Connection, name: &str) {
        if name.is_empty() || self.names.len() > 8 || self.names.iter().any(|known| known == name) {
            return;
        }
        self.names.push(name.to_owned());
        let question = ReadRequest { resource_name: name.to_owned(), ..Default::default() };
        let (mut client, request) = (connection.streams(), connection.request(question));
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            let Ok(answer) = client.read(request).await else { return };
            let (mut stream, mut lines) = (answer.into_inner(), Lines::default());
            while let Ok(Some(piece)) = stream.message().await {
                let mut ended = Vec::new();
                lines.take(&piece.data, |line| ended.push(line.to_owned()));
                for line in ended.into_iter().filter(|line| !line.trim().is_empty()) {
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
            }
        });
    }

    /// The next line, which may never come.
    async fn line(&mut self) -> String {
        match self.lines.recv().await {
            Some(line) => line,
            None => std::future::pending().await,
        }
    }
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

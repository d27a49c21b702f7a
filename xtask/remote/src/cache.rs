//! A server as a cache: results of others are taken from it, and results of this store given to it.

use crate::{
    connection::{Connection, LARGEST_ANSWER, Options},
    failure::{Failure, Reason},
    reapi,
};
use anyhow::{Context, Result, ensure};
use prost::Message;
use reapi::action_cache_client::ActionCacheClient as Client;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use store::{Action, Digest, Peer, Portable, Shelf, Store, find, from_message, hinted, to_message};
use tonic::{Code, transport::Channel};

/// Where the root of work of our own stands in the result that tells it.
const ROOT_PATH: &str = "root";

impl Connection {
    fn results(&self) -> Client<Channel> {
        Client::new(self.channel()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// What the server keeps as the result of an action.
    pub(crate) fn result(&self, key: &Digest) -> Result<Option<reapi::ActionResult>, Failure> {
        let question = reapi::GetActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(to_message(key)),
            ..Default::default()
        };
        let answer = self.ask(|| {
            let (mut client, request) = (self.results(), self.request(question.clone()));
            async move { client.get_action_result(request).await }
        });
        match answer {
            Ok(result) => Ok(Some(result)),
            Err(failure) if failure.code == Code::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Writes the result of an action, whose blobs are there.
    pub(crate) fn put_result(&self, key: &Digest, result: reapi::ActionResult) -> Result<(), Failure> {
        let question = reapi::UpdateActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(to_message(key)),
            action_result: Some(result),
            ..Default::default()
        };
        let answer = self.ask(|| {
            let (mut client, request) = (self.results(), self.request(question.clone()));
            async move { client.update_action_result(request).await }
        });
        answer.map(drop)
    }
}

/// A server that holds results and blobs.
///
/// Keys are the digests of actions. Of work whose outputs do not go along ([`Shelf::Claim`]), the root of these is the only
/// output of an action of its own, so that every server holds it as a whole result.
pub struct Cache {
    connection: Arc<Connection>,
    name: String,
    takes: bool,
    /// Directories in our encoding that the server may have in another.
    directories: Mutex<HashMap<Digest, Vec<u8>>>,
    /// What was given or found there.
    given: Mutex<BTreeSet<(Shelf, Digest)>>,
    /// It was given up, and the user was told.
    gone: AtomicBool,
    /// It has no room for what it is given, which was reported.
    full: AtomicBool,
}

impl Cache {
    /// A cache that is read and, if it `takes` results, written.
    ///
    /// # Errors
    /// If the server can't be asked; if it should take results, and does not.
    pub fn open(name: &str, options: &Options, takes: bool) -> Result<Self> {
        let connection = Connection::open(options)?;
        ensure!(
            !takes || connection.limits.takes_results,
            hinted(
                format!("{} lets no results be written", connection.place()),
                "leave `--cache-upload` out, or ask whoever runs it for an account that may write"
            )
        );
        Ok(Self::over(name, Arc::new(connection), takes))
    }

    /// The same over a connection that is there already.
    pub fn over(name: &str, connection: Arc<Connection>, takes: bool) -> Self {
        Self {
            connection,
            name: name.to_owned(),
            takes,
            directories: Mutex::default(),
            given: Mutex::default(),
            gone: AtomicBool::new(false),
            full: AtomicBool::new(false),
        }
    }

    /// The result that stands at a key, if it is one: a failed command left none, however a server keeps it.
    fn at(&self, key: &Digest) -> Result<Option<reapi::ActionResult>> {
        let found = self.connection.result(key).map_err(|failure| self.lost(failure))?;
        Ok(found.filter(|result| result.exit_code == 0))
    }

    /// Keeps in mind that nobody answers, so that it is said once.
    fn lost(&self, failure: Failure) -> anyhow::Error {
        if matches!(failure.reason, Reason::Unreachable | Reason::Configuration | Reason::Transient) {
            self.gone.store(true, Ordering::Relaxed);
            return anyhow::Error::new(failure).context("it is not asked again");
        }
        failure.into()
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// A result in our form: the root of its outputs in our encoding.
    fn whole(&self, result: &reapi::ActionResult) -> Result<Vec<u8>> {
        let (root, directories) = self.connection.outputs(result)?.messages()?;
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).extend(directories);
        let mut digest = None;
        if let Some(log) = self.connection.log(result)? {
            digest = Some(Digest::of(&log));
            self.directories.lock().unwrap_or_else(PoisonError::into_inner).insert(Digest::of(&log), log);
        }
        Ok(kept(&root, digest.as_ref()))
    }

    fn put(&self, key: &Digest, result: reapi::ActionResult) -> Result<()> {
        let put = self.connection.put_result(key, result);
        put.map_err(|failure| self.lost(failure)).context("cannot write a result")
    }

    /// Sends what the server lacks of these. Not all of them are there afterwards where it has no room, which is said once however
    /// many are sent at a time.
    fn upload(&self, store: &Store, blobs: &[Digest]) -> Result<bool> {
        let missing = self.connection.missing(blobs)?;
        match self.connection.send(store, &missing) {
            Ok(()) => Ok(true),
            Err(error) if !find::<Failure>(&error).is_some_and(Failure::is_full) => Err(error),
            Err(_) if self.full.swap(true, Ordering::Relaxed) => Ok(false),
            Err(error) => Err(error.context("it is given nothing more")),
        }
    }
}

/// The message of a result as stores keep it.
fn kept(root: &Digest, log: Option<&Digest>) -> Vec<u8> {
    let directory = reapi::OutputDirectory {
        path: "out".to_owned(),
        root_directory_digest: Some(to_message(root)),
        ..Default::default()
    };
    reapi::ActionResult {
        output_directories: vec![directory],
        stdout_digest: log.map(to_message),
        ..Default::default()
    }
    .encode_to_vec()
}

/// The action whose only output is the root of what work gave.
fn claim(work: &Digest) -> Action {
    Action { output_paths: vec![ROOT_PATH.to_owned()], ..Action::named(["claim", "1", &work.to_string()]) }
}

impl Peer for Cache {
    fn name(&self) -> &str {
        &self.name
    }

    fn result(&self, shelf: Shelf, action: &Digest) -> Result<Option<Vec<u8>>> {
        if self.is_gone() {
            return Ok(None);
        }
        match shelf {
            Shelf::Whole => self.at(action)?.map(|result| self.whole(&result)).transpose(),
            Shelf::Claim => {
                let Some(result) = self.at(&claim(action).digest())? else { return Ok(None) };
                let file = result.output_files.iter().find(|file| file.path == ROOT_PATH);
                let file = file.with_context(|| format!("it names no file `{ROOT_PATH}`"))?;
                Ok(Some(kept(&from_message(file.digest.as_ref())?, None)))
            }
        }
    }

    fn bring(&self, store: &Store, blobs: &[Digest]) -> Result<()> {
        let mut far = Vec::new();
        for blob in blobs {
            let known = self.directories.lock().unwrap_or_else(PoisonError::into_inner).remove(blob);
            match known {
                Some(bytes) => drop(store.put_bytes(&bytes)?),
                None => far.push(*blob),
            }
        }
        self.connection.receive(store, &far)
    }

    fn held(&self, blobs: &[Digest]) -> Result<Vec<Digest>> {
        if self.is_gone() {
            return Ok(Vec::new());
        }
        let missing: HashSet<Digest> = self.connection.missing(blobs)?.into_iter().collect();
        Ok(blobs.iter().copied().filter(|blob| !missing.contains(blob)).collect())
    }

    fn takes(&self) -> bool {
        self.takes && !self.is_gone() && !self.full.load(Ordering::Relaxed)
    }

    fn give(&self, store: &Store, portable: &Portable, blobs: &BTreeSet<Digest>) -> Result<()> {
        let Portable { action, shelf, message } = portable;
        if !self.given.lock().unwrap_or_else(PoisonError::into_inner).insert((*shelf, *action)) {
            return Ok(());
        }
        let result = reapi::ActionResult::decode(message.as_slice())?;
        let directory = result.output_directories.first().context("a result has outputs")?;
        let root = from_message(directory.root_directory_digest.as_ref())?;
        let mut blobs: Vec<Digest> = blobs.iter().copied().collect();
        let (key, result) = match shelf {
            Shelf::Whole => (*action, result),
            Shelf::Claim => {
                let work = claim(action);
                let key = work.write(store)?;
                blobs.extend([key, work.command_digest()]);
                let file = reapi::OutputFile {
                    path: ROOT_PATH.to_owned(),
                    digest: Some(to_message(&root)),
                    ..Default::default()
                };
                let output_files = vec![file];
                (key, reapi::ActionResult { output_files, ..Default::default() })
            }
        };
        if let Some(there) = self.at(&key)? {
            let same = match shelf {
                Shelf::Whole => self.connection.outputs(&there).and_then(|tree| Ok(tree.digest()? == root)),
                Shelf::Claim => Ok(there.output_files == result.output_files),
            };
            // One that can't be read is written again.
            match same {
                Ok(true) => return Ok(()),
                Ok(false) => anyhow::bail!(
                    "{} has another result of the action {}, and keeps it",
                    self.connection.place(),
                    key.hex()
                ),
                Err(_) => {}
            }
        }
        match self.upload(store, &blobs)? {
            true => self.put(&key, result),
            false => Ok(()),
        }
    }

    fn give_blobs(&self, store: &Store, blobs: &[Digest]) -> Result<()> {
        self.upload(store, blobs).map(drop)
    }
}

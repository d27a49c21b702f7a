//! Publishing a model on a hub: what its own clients do, with the token for the hub alone.
//!
//! Large files go to where the hub says, without the token, and are known by their SHA-256 (Git's large file storage, transfers
//! "basic" and "multipart"); small ones go into the commit. What is there already is not sent. One commit names everything, on top of the state
//! that was looked at, so that nobody else's change is lost.

use super::{
    Hub, Revision, Sibling,
    file::{LARGEST_PLAIN, PublishedFile, is_same},
};
use crate::{
    client::{Address, Failure},
    url::without_credentials,
};
use anyhow::{Context, Result, anyhow, ensure};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};
use store::{Digest, Progress, Unit, hinted};

/// The branch that is published to.
const BRANCH: &str = "main";
/// How much of a file the hub looks at to see how to keep it, in bytes.
const SAMPLE: u64 = 512;
/// The most files that are asked about at once.
const BATCH: usize = 256;
/// What the hub's own interface takes.
const JSON: &str = "application/json";
/// What Git's large file storage takes.
pub(super) const LFS: &str = "application/vnd.git-lfs+json";
/// The most that an answer may have.
const LARGEST_ANSWER: u64 = 64 << 20;

/// What is to be published.
#[derive(Clone, Copy, Debug)]
pub struct PublishRequest<'a> {
    /// `OWNER/NAME`.
    pub repository: &'a str,
    /// All files.
    pub files: &'a [PublishedFile],
    /// The message of the commit.
    pub message: &'a str,
    /// Whether nothing is to be changed on the hub.
    pub dry_run: bool,
}

/// What was, or would be, published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// The commit; nothing where the hub has everything already, and in a dry run.
    pub commit: Option<String>,
    /// Whether the repository was made.
    pub created: bool,
    /// Large files that were sent, with their sizes.
    pub sent: BTreeMap<String, u64>,
    /// Files that the commit adds or changes.
    pub changed: BTreeSet<String>,
    /// Files that were there.
    pub there: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
    #[serde(default)]
    should_ignore: bool,
}

#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: BTreeMap<String, Action>,
    error: Option<Value>,
}

/// Where something is sent to.
#[derive(Clone, Deserialize)]
pub(super) struct Action {
    pub href: String,
    #[serde(default)]
    pub header: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_oid: String,
}

impl Hub {
    /// Publishes files in a repository, which is made where there is none, by one commit.
    ///
    /// What was sent before is not sent again, so a run that was cut off is repeated for what lacks.
    ///
    /// # Errors
    /// If there is no token, or it may not write; if the repository changed meanwhile; if the hub says something else than it was
    /// asked.
    pub fn publish(&self, request: &PublishRequest, progress: &dyn Progress) -> Result<Publication> {
        let PublishRequest { repository, files, message, dry_run } = *request;
        self.check_may_publish(repository)?;
        let mut publication = Publication::default();
        let mut there = self.state(repository, BRANCH, progress)?;
        if there.is_none() && !dry_run {
            publication.created = self.create(repository, progress)?;
            there = self.state(repository, BRANCH, progress)?;
            ensure!(there.is_some(), "{} did not make the repository {repository}", self.shown());
        }
        let known: BTreeMap<&str, &Sibling> =
            there.iter().flat_map(|it| &it.siblings).map(|it| (it.rfilename.as_str(), it)).collect();
        let mut lacking = Vec::new();
        for file in files {
            match known.get(file.path.as_str()) {
                Some(sibling) if is_same(sibling, file)? => _ = publication.there.insert(file.path.clone()),
                _ => lacking.push(file),
            }
        }
        publication.changed = lacking.iter().map(|file| file.path.clone()).collect();
        if dry_run || lacking.is_empty() {
            return Ok(publication);
        }
        let large = self.modes(repository, &lacking, progress)?;
        let (large, plain): (Vec<&PublishedFile>, Vec<&PublishedFile>) =
            lacking.into_iter().partition(|file| large.contains(&file.path));
        publication.sent = self.send_all(repository, &large, progress)?;
        let parent = there.map(|revision| revision.sha).unwrap_or_default();
        let commit = self.commit(repository, &parent, message, (&plain, &large))?;
        self.check_commit(repository, &commit, files, progress)?;
        publication.commit = Some(commit);
        Ok(publication)
    }

    fn check_may_publish(&self, repository: &str) -> Result<()> {
        crate::model::check_repository(repository)?;
        ensure!(
            self.token.is_some(),
            hinted(
                "publishing needs a token that may write",
                "set HF_TOKEN, or log in with the hub's own client"
            )
        );
        Ok(())
    }

    /// The text of a small file that was published; nothing where there is none.
    ///
    /// # Errors
    /// If the hub does not say.
    pub fn published_text(
        &self,
        repository: &str,
        path: &str,
        progress: &dyn Progress,
    ) -> Result<Option<String>> {
        self.check_may_publish(repository)?;
        let Some(there) = self.state(repository, BRANCH, progress)? else { return Ok(None) };
        if !there.siblings.iter().any(|sibling| sibling.rfilename == path) {
            return Ok(None);
        }
        let bytes = self.read(&self.file(repository, &there.sha, path), LARGEST_PLAIN, progress)?;
        Ok(String::from_utf8(bytes).ok())
    }

    pub(super) fn shown(&self) -> String {
        without_credentials(&self.endpoint)
    }

    fn address(&self, path: &str) -> Address {
        Address { url: format!("{}{path}", self.endpoint), token: self.token.clone() }
    }

    /// What a revision holds; nothing where there is no such repository.
    fn state(&self, repository: &str, revision: &str, progress: &dyn Progress) -> Result<Option<Revision>> {
        let address = self.address(&format!("/api/models/{repository}/revision/{revision}?blobs=true"));
        match self.client.read(&address, &[], LARGEST_ANSWER, progress) {
            Ok(answer) => {
                let found: Revision = serde_json::from_slice(&answer)
                    .with_context(|| format!("{} does not answer as a hub does", self.shown()))?;
                ensure!(is_commit(&found.sha), "{} returned an invalid commit", self.shown());
                Ok(Some(found))
            }
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(failure) => Err(self.refused(failure, "look at", repository)),
        }
    }

    /// Makes a repository. Whether it was not there.
    fn create(&self, repository: &str, progress: &dyn Progress) -> Result<bool> {
        let (owner, name) = repository.split_once('/').context("a repository is OWNER/NAME")?;
        let body = json!({ "name": name, "organization": owner, "type": "model" });
        match self.post(&self.address("/api/repos/create"), (JSON, &body), progress) {
            Ok(_) => Ok(true),
            Err(failure) if failure.status() == Some(409) => Ok(false),
            Err(failure) => Err(self.refused(failure, "make", repository)),
        }
    }

    /// The files that the hub keeps outside of Git.
    fn modes(
        &self,
        repository: &str,
        files: &[&PublishedFile],
        progress: &dyn Progress,
    ) -> Result<BTreeSet<String>> {
        let address = self.address(&format!("/api/models/{repository}/preupload/{BRANCH}"));
        let mut large = BTreeSet::new();
        for files in files.chunks(BATCH) {
            let mut list = Vec::new();
            for file in files {
                let sample = BASE64.encode(file.start(SAMPLE)?);
                list.push(json!({ "path": file.path, "size": file.digest.size, "sample": sample }));
            }
            let answer = self
                .post(&address, (JSON, &json!({ "files": list })), progress)
                .map_err(|failure| self.refused(failure, "publish in", repository))?;
            let answer: Preupload = self.parsed(&answer)?;
            let mut asked: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
            for mode in answer.files {
                ensure!(
                    asked.remove(mode.path.as_str()),
                    "{} answers for a file that it was not asked for",
                    self.shown()
                );
                ensure!(
                    !mode.should_ignore,
                    "{repository} has a .gitignore by which `{}` would be left out",
                    mode.path.escape_debug()
                );
                if mode.upload_mode == "lfs" {
                    large.insert(mode.path);
                }
            }
            ensure!(
                asked.is_empty(),
                "{} does not answer for `{}`",
                self.shown(),
                asked.iter().next().unwrap_or(&"")
            );
        }
        for file in files.iter().filter(|file| !large.contains(&file.path)) {
            ensure!(
                file.digest.size <= LARGEST_PLAIN,
                "`{}` is too large for a commit ({} bytes), and {} wants it there",
                file.path,
                file.digest.size,
                self.shown()
            );
        }
        Ok(large)
    }

    /// Sends large files as far as the hub lacks them; gives those that were sent.
    fn send_all(
        &self,
        repository: &str,
        files: &[&PublishedFile],
        progress: &dyn Progress,
    ) -> Result<BTreeMap<String, u64>> {
        let by_oid: BTreeMap<String, &PublishedFile> =
            files.iter().map(|file| (file.digest.hex(), *file)).collect();
        let address = self.address(&format!("/{repository}.git/info/lfs/objects/batch"));
        let total = by_oid.values().map(|file| file.digest.size).sum();
        let meter = progress.begin(&format!("sending to {}", self.shown()), total, Unit::Bytes);
        let mut sent = BTreeMap::new();
        for some in by_oid.keys().collect::<Vec<_>>().chunks(BATCH) {
            let objects: Vec<_> =
                some.iter().map(|oid| json!({ "oid": oid, "size": by_oid[*oid].digest.size })).collect();
            let body = json!({
                "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256", "objects": objects,
                "ref": { "name": format!("refs/heads/{BRANCH}") },
            });
            let answer = self
                .post(&address, (LFS, &body), progress)
                .map_err(|failure| self.refused(failure, "publish in", repository))?;
            let answer: Batch = self.parsed(&answer)?;
            ensure!(
                answer.transfer.as_deref().is_none_or(|transfer| matches!(transfer, "basic" | "multipart")),
                "{} wants another way of sending than was offered",
                self.shown()
            );
            let mut asked: BTreeSet<&str> = some.iter().map(|oid| oid.as_str()).collect();
            for object in answer.objects {
                ensure!(
                    asked.remove(object.oid.as_str()),
                    "{} answers for the object {}, which it was not asked for",
                    self.shown(),
                    object.oid.escape_debug()
                );
                let file = by_oid[&object.oid];
                ensure!(object.error.is_none(), "{} does not take `{}`", self.shown(), file.path);
                if let Some(upload) = object.actions.get("upload") {
                    self.send(file, upload, progress)?;
                    sent.insert(file.path.clone(), file.digest.size);
                }
                if let Some(verify) = object.actions.get("verify") {
                    self.verify(file, verify, progress)?;
                }
                meter.add(file.digest.size);
            }
            ensure!(asked.is_empty(), "{} does not answer for all objects", self.shown());
        }
        Ok(sent)
    }

    /// Commits small files as they are and large ones by their hashes; gives the commit.
    fn commit(
        &self,
        repository: &str,
        parent: &str,
        message: &str,
        (plain, large): (&[&PublishedFile], &[&PublishedFile]),
    ) -> Result<String> {
        let mut lines = vec![json!({
            "key": "header", "value": { "summary": message, "description": "", "parentCommit": parent },
        })];
        for file in plain {
            let mut content = Vec::new();
            file.open()?.take(LARGEST_PLAIN).read_to_end(&mut content)?;
            ensure!(Digest::of(&content) == file.digest, "`{}` changed while it was published", file.path);
            let value =
                json!({ "path": file.path, "encoding": "base64", "content": BASE64.encode(&content) });
            lines.push(json!({ "key": "file", "value": value }));
        }
        for file in large {
            let (oid, size) = (file.digest.hex(), file.digest.size);
            let value = json!({ "path": file.path, "algo": "sha256", "oid": oid, "size": size });
            lines.push(json!({ "key": "lfsFile", "value": value }));
        }
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let address = self.address(&format!("/api/models/{repository}/commit/{BRANCH}"));
        // Once: an answer that was lost may be of a commit that was made. The next run finds that.
        let answer = self.client.post(&address, body.as_bytes(), "application/x-ndjson", LARGEST_ANSWER);
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) if matches!(failure.status(), Some(409 | 412)) => {
                return Err(anyhow!(hinted(
                    format!("{repository} was changed by somebody else meanwhile, and nothing was committed"),
                    "look at it, and run this again; what was sent is not sent again"
                )));
            }
            Err(failure) => return Err(self.refused(failure, "commit to", repository)),
        };
        let answer: Committed = self.parsed(&answer)?;
        ensure!(is_commit(&answer.commit_oid), "{} returned an invalid commit", self.shown());
        Ok(answer.commit_oid)
    }

    /// The commit holds what was published.
    fn check_commit(
        &self,
        repository: &str,
        commit: &str,
        files: &[PublishedFile],
        progress: &dyn Progress,
    ) -> Result<()> {
        let state = self
            .state(repository, commit, progress)?
            .with_context(|| format!("{} does not have the commit {commit} that it made", self.shown()))?;
        let found: BTreeMap<&str, &Sibling> =
            state.siblings.iter().map(|sibling| (sibling.rfilename.as_str(), sibling)).collect();
        for file in files {
            let is_there = match found.get(file.path.as_str()) {
                Some(sibling) => is_same(sibling, file)?,
                None => false,
            };
            ensure!(
                is_there,
                "{} holds another `{}` in {commit} than was published",
                self.shown(),
                file.path
            );
        }
        Ok(())
    }

    pub(super) fn post(
        &self,
        address: &Address,
        (kind, body): (&str, &Value),
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, Failure> {
        let body = body.to_string();
        self.client
            .persist(address, progress, || self.client.post(address, body.as_bytes(), kind, LARGEST_ANSWER))
    }

    fn parsed<T: for<'a> Deserialize<'a>>(&self, answer: &[u8]) -> Result<T> {
        serde_json::from_slice(answer)
            .with_context(|| format!("{} does not answer as a hub does", self.shown()))
    }

    /// What is told to whom a hub refuses something. Only the hub's own address is named.
    fn refused(&self, failure: Failure, what: &str, repository: &str) -> anyhow::Error {
        let shown = self.shown();
        match failure.status() {
            Some(401) => {
                anyhow!(hinted(
                    format!("{shown} does not know the token"),
                    "set HF_TOKEN to one that may write"
                ))
            }
            Some(403) => anyhow!(hinted(
                format!("the token may not {what} {repository} on {shown}"),
                format!("set HF_TOKEN to one of {repository}'s owner that may write")
            )),
            _ => failure.error.context(format!("cannot {what} {repository} on {shown}")),
        }
    }
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

//! Blobs of a server: which are missing, sent, received. Nothing is kept that was not hashed.

use crate::{
    compression::{expand, shrink},
    connection::{Connection, LARGEST_ANSWER},
    failure::{Failure, words},
    limits::{MOST_DIGESTS, OVERHEAD},
    parallel::each,
    reapi,
};
use anyhow::{Context, Result, bail, ensure};
use reapi::{
    batch_update_blobs_request::Request as Update, compressor::Value::Zstd,
    content_addressable_storage_client::ContentAddressableStorageClient as Client,
};
use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};
use store::{Digest, Store, from_message, to_message};
use tonic::{Code, Status, transport::Channel};

/// How many blobs go in one batch at most, however small they are.
const MOST_IN_BATCH: usize = 4000;

impl Connection {
    fn storage(&self) -> Client<Channel> {
        Client::new(self.channel()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Those of the blobs that the server lacks. Nobody has to have the blob of nothing.
    ///
    /// # Errors
    /// If the server can't be asked ([`Failure`]).
    pub fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>> {
        let mut wanted: Vec<Digest> = blobs.iter().copied().filter(|blob| blob.size > 0).collect();
        wanted.sort();
        wanted.dedup();
        let mut missing = Vec::new();
        for some in wanted.chunks(MOST_DIGESTS) {
            let question = reapi::FindMissingBlobsRequest {
                instance_name: self.instance.clone(),
                blob_digests: some.iter().map(to_message).collect(),
                ..Default::default()
            };
            self.counts.searches.fetch_add(1, Ordering::Relaxed);
            let answer = self.ask(|| {
                let (mut client, request) = (self.storage(), self.request(question.clone()));
                async move { client.find_missing_blobs(request).await }
            })?;
            let said: HashSet<Digest> = answer
                .missing_blob_digests
                .iter()
                .map(|digest| from_message(Some(digest)))
                .collect::<Result<_>>()
                .with_context(|| format!("{} names missing blobs by no digests", self.place()))?;
            // What nobody asked for is not sent.
            missing.extend(some.iter().filter(|blob| said.contains(blob)));
        }
        Ok(missing)
    }

    /// Sends blobs of a store, each once, to a server that lacks them.
    ///
    /// # Errors
    /// If the store lacks one; if the server does not take one.
    pub fn send(&self, store: &Store, blobs: &[Digest]) -> Result<()> {
        if let Some((most, blob)) =
            self.limits.blob.and_then(|most| Some((most, blobs.iter().find(|blob| blob.size > most)?)))
        {
            bail!("{} keeps blobs of at most {most} bytes, and {blob} is larger", self.place());
        }
        let (batches, large) = self.batches(blobs);
        each(&batches, |batch| self.send_batch(store, batch))?;
        each(&large, |blob| self.send_stream(store, blob))?;
        self.counts.sent.fetch_add(blobs.len() as u64, Ordering::Relaxed);
        self.counts.sent_bytes.fetch_add(blobs.iter().map(|blob| blob.size).sum(), Ordering::Relaxed);
        Ok(())
    }

    /// What goes together, and what goes alone.
    fn batches(&self, blobs: &[Digest]) -> (Vec<Vec<Digest>>, Vec<Digest>) {
        let (mut small, mut large): (Vec<Digest>, Vec<Digest>) =
            blobs.iter().partition(|blob| self.limits.fits(blob.size));
        // Small ones beside each other fill a batch best, and the longest stream is not the last.
        small.sort_by_key(|blob| (blob.size, *blob));
        large.sort_by_key(|blob| (std::cmp::Reverse(blob.size), *blob));
        let mut batches: Vec<Vec<Digest>> = Vec::new();
        let mut room = 0;
        for blob in small {
            let size = blob.size + OVERHEAD;
            match batches.last_mut() {
                Some(batch) if size <= room && batch.len() < MOST_IN_BATCH => {
                    batch.push(blob);
                    room -= size;
                }
                _ => {
                    batches.push(vec![blob]);
                    room = self.limits.batch - size;
                }
            }
        }
        (batches, large)
    }

    fn send_batch(&self, store: &Store, batch: &[Digest]) -> Result<()> {
        let update = |blob: &Digest| -> Result<Update> {
            let data = store.read(blob)?;
            let shrunk = if self.limits.zstd_batches { shrink(&data)? } else { None };
            let compressor = if shrunk.is_some() { Zstd.into() } else { 0 };
            Ok(Update { digest: Some(to_message(blob)), data: shrunk.unwrap_or(data), compressor })
        };
        let question = reapi::BatchUpdateBlobsRequest {
            instance_name: self.instance.clone(),
            requests: batch.iter().map(update).collect::<Result<_>>()?,
            ..Default::default()
        };
        let refused = Cell::new(None);
        let answer = self.ask(|| {
            let (mut client, request) = (self.storage(), self.request(question.clone()));
            let refused = &refused;
            async move {
                let answer = client.batch_update_blobs(request).await?;
                // What is said of one blob is handled as if it were said of the question: it may help to ask again.
                let problem = answer.get_ref().responses.iter().find_map(|response| {
                    let status = response.status.as_ref().filter(|status| status.code != 0)?;
                    Some((response.digest.clone(), Status::new(Code::from_i32(status.code), &status.message)))
                });
                match problem {
                    Some((digest, status)) => {
                        refused.set(digest);
                        Err(status)
                    }
                    None => Ok(answer),
                }
            }
        });
        let answer = answer.map_err(|failure| match refused.take() {
            Some(digest) => {
                from_message(Some(&digest)).map_or_else(Into::into, |blob| self.about(&blob, failure))
            }
            None => self.hinted(failure, format!("cannot send {} blobs", batch.len())),
        })?;
        let mut taken = HashSet::new();
        for response in answer.responses {
            taken.insert(from_message(response.digest.as_ref())?);
        }
        match batch.iter().find(|blob| !taken.contains(blob)) {
            Some(blob) => bail!("{} does not say whether it took the blob {blob}", self.place()),
            None => Ok(()),
        }
    }

    /// Brings blobs into a store.
    ///
    /// # Errors
    /// If the server lacks one, or sends something else in its place.
    pub fn receive(&self, store: &Store, blobs: &[Digest]) -> Result<()> {
        if blobs.iter().any(|blob| blob.size == 0) {
            store.put_bytes(b"")?;
        }
        let wanted: Vec<Digest> = blobs.iter().copied().filter(|blob| blob.size > 0).collect();
        let (batches, large) = self.batches(&wanted);
        each(&batches, |batch| {
            for (blob, bytes) in self.read_batch(batch)? {
                let kept = store.put_bytes(&bytes)?;
                ensure!(kept == blob, "the blob {blob} changed in memory");
            }
            Ok(())
        })?;
        each(&large, |blob| self.receive_stream(store, blob))?;
        self.counts.received.fetch_add(wanted.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// A blob's content, of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Connection::receive`]; if it is larger.
    pub fn read(&self, blob: &Digest, most: u64) -> Result<Vec<u8>> {
        ensure!(blob.size <= most, "the blob {blob} has more than {most} bytes");
        if blob.size == 0 {
            ensure!(*blob == Digest::of(b""), "{blob} is not a digest of nothing");
            return Ok(Vec::new());
        }
        if !self.limits.fits(blob.size) {
            return self.read_stream(blob);
        }
        let (_, bytes) = self.read_batch(&[*blob])?.pop().context("a batch of one has one")?;
        Ok(bytes)
    }

    /// The content of each, hashed.
    fn read_batch(&self, batch: &[Digest]) -> Result<Vec<(Digest, Vec<u8>)>> {
        let question = reapi::BatchReadBlobsRequest {
            instance_name: self.instance.clone(),
            digests: batch.iter().map(to_message).collect(),
            acceptable_compressors: if self.limits.zstd { vec![0, Zstd.into()] } else { Vec::new() },
            ..Default::default()
        };
        let answer = self.ask(|| {
            let (mut client, request) = (self.storage(), self.request(question.clone()));
            async move { client.batch_read_blobs(request).await }
        })?;
        let mut found = HashMap::new();
        for response in answer.responses {
            found.insert(from_message(response.digest.as_ref())?, response);
        }
        let mut read = Vec::with_capacity(batch.len());
        for blob in batch {
            let Some(response) = found.remove(blob) else {
                bail!("{} does not send the blob {blob}", self.place())
            };
            let status = response.status.unwrap_or_default();
            match Code::from_i32(status.code) {
                Code::Ok => {}
                Code::NotFound => bail!(self.lacks(blob)),
                _ => bail!(
                    "{} does not send the blob {blob}: {}",
                    self.place(),
                    words(Code::from_i32(status.code), &status.message)
                ),
            }
            let data = match response.compressor {
                0 => response.data,
                found if self.limits.zstd && found == i32::from(Zstd) => expand(&response.data, blob.size)
                    .with_context(|| format!("{} sends the blob {blob} in another form", self.place()))?,
                _ => bail!("{} sends the blob {blob} compressed", self.place()),
            };
            self.check(blob, &Digest::of(&data))?;
            read.push((*blob, data));
        }
        Ok(read)
    }

    /// That what came is what was asked for.
    pub(crate) fn check(&self, wanted: &Digest, found: &Digest) -> Result<()> {
        ensure!(
            wanted == found,
            "{} sends something else than the blob {wanted}: {} bytes with the SHA-256 {}",
            self.place(),
            found.size,
            found.hex()
        );
        Ok(())
    }

    pub(crate) fn lacks(&self, blob: &Digest) -> String {
        format!("{} lacks the blob {blob}", self.place())
    }

    /// What failed about one blob.
    pub(crate) fn about(&self, blob: &Digest, failure: Failure) -> anyhow::Error {
        match failure.code {
            Code::NotFound => anyhow::anyhow!(self.lacks(blob)),
            _ => self.hinted(failure, format!("the blob {blob}")),
        }
    }
}

//! Blobs that are larger than a batch: streams of pieces.

use crate::{
    compression::{Sink, shrinking},
    connection::Connection,
    failure::Failure,
};
use anyhow::{Context, Result, ensure};
use bazel_remote_apis::google::bytestream::{
    ReadRequest, ReadResponse, WriteRequest, byte_stream_client::ByteStreamClient,
};
use std::{
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{Digest, Store};
use tonic::{Response, Status, Streaming, transport::Channel};

/// Bytes in a piece that is sent: with what is around it, less than what servers take as a message.
const PIECE: usize = 1 << 20;

/// A blob on its way out, as it is or compressed.
struct Pieces {
    reader: Box<dyn Read + Send>,
    name: String,
    offset: u64,
    /// How much there is to send, where that is known before.
    size: Option<u64>,
    is_done: bool,
    sent: Arc<AtomicU64>,
}

impl Pieces {
    fn new(file: File, name: String, blob: &Digest, is_compressed: bool) -> Result<Self> {
        let (reader, size): (Box<dyn Read + Send>, _) = match is_compressed {
            true => (Box::new(shrinking(file)?), None),
            false => (Box::new(file.take(blob.size)), Some(blob.size)),
        };
        Ok(Self { reader, name, offset: 0, size, is_done: false, sent: Arc::default() })
    }

    /// The next piece, until the last was sent. A file that ends early or goes on is found by the server, which hashes it.
    fn next(&mut self) -> Option<WriteRequest> {
        if self.is_done {
            return None;
        }
        let mut data = Vec::with_capacity(PIECE);
        // If reading fails, the stream ends before its last piece, which no server takes for a whole blob.
        self.reader.by_ref().take(PIECE as u64).read_to_end(&mut data).ok()?;
        let offset = self.offset;
        self.offset += data.len() as u64;
        self.sent.store(self.offset, Ordering::Relaxed);
        self.is_done = match self.size {
            Some(size) if data.is_empty() && self.offset < size => return None,
            Some(size) => self.offset == size,
            None => data.len() < PIECE,
        };
        Some(WriteRequest {
            resource_name: if offset == 0 { self.name.clone() } else { String::new() },
            write_offset: i64::try_from(offset).ok()?,
            finish_write: self.is_done,
            data,
        })
    }
}

impl Connection {
    pub(crate) fn streams(&self) -> ByteStreamClient<Channel> {
        ByteStreamClient::new(self.channel()).max_decoding_message_size(crate::connection::LARGEST_ANSWER)
    }

    fn resource(&self, name: &str) -> String {
        match self.instance.as_str() {
            "" => name.to_owned(),
            instance => format!("{instance}/{name}"),
        }
    }

    pub(crate) fn send_stream(&self, store: &Store, blob: &Digest) -> Result<()> {
        store.open_blob(blob)?;
        let is_compressed = self.limits.zstd;
        let mut sent = Arc::<AtomicU64>::default();
        let answer = self.ask_within(self.streaming(blob.size), || {
            let name = self.resource(&format!("uploads/{}/{}/{blob}", unique(), kind(is_compressed)));
            let pieces = store.open_blob(blob).and_then(|file| Pieces::new(file, name, blob, is_compressed));
            if let Ok(pieces) = &pieces {
                sent.clone_from(&pieces.sent);
            }
            let mut client = self.streams();
            // A file that can't be opened gives a stream of nothing, which the server refuses.
            let stream = futures_util::stream::unfold(pieces.ok(), |pieces| async {
                let mut pieces = pieces?;
                Some((pieces.next()?, Some(pieces)))
            });
            let request = self.request(stream);
            async move { client.write(request).await }
        });
        let answer = answer.map_err(|failure| self.about(blob, failure))?;
        // -1 of a server that had it already.
        let taken = answer.committed_size;
        let is_sent = is_compressed && u64::try_from(taken) == Ok(sent.load(Ordering::Relaxed));
        ensure!(
            taken == -1 || u64::try_from(taken) == Ok(blob.size) || is_sent,
            "{} took {taken} bytes of the blob {blob}",
            self.place()
        );
        Ok(())
    }

    pub(crate) fn receive_stream(&self, store: &Store, blob: &Digest) -> Result<()> {
        let mut local = None;
        let received = self.stream(blob, || match store.writer() {
            Ok(writer) => Some(writer),
            Err(error) => {
                local = Some(error);
                None
            }
        });
        if let Some(error) = local {
            return Err(error);
        }
        let writer = received?.context("nothing was received")?;
        let found = writer.finish(None)?;
        self.check(blob, &found)
    }

    pub(crate) fn read_stream(&self, blob: &Digest) -> Result<Vec<u8>> {
        let bytes = self.stream(blob, || Some(Vec::new()))?.context("nothing was received")?;
        self.check(blob, &Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// Writes all pieces of a blob to what `open` gives, which is asked again for each attempt.
    fn stream<W: Write>(&self, blob: &Digest, mut open: impl FnMut() -> Option<W>) -> Result<Option<W>> {
        let question = ReadRequest {
            resource_name: self.resource(&format!("{}/{blob}", kind(self.limits.zstd))),
            read_offset: 0,
            read_limit: 0,
        };
        let patience = self.patience();
        let received = self.ask_within(self.streaming(blob.size), || {
            let (mut client, request) = (self.streams(), self.request(question.clone()));
            let writer = open();
            async move {
                let Some(writer) = writer else { return Ok(Response::new(Ok(None))) };
                let mut stream = client.read(request).await?.into_inner();
                let sink = Sink::new(writer, blob.size, self.limits.zstd);
                let taken = match sink {
                    Ok(sink) => take(&mut stream, blob.size, patience, sink).await?,
                    Err(error) => Err(error),
                };
                Ok(Response::new(taken.map(Some)))
            }
        });
        let received = received.map_err(|failure: Failure| self.about(blob, failure))?;
        received.with_context(|| format!("the blob {blob} of {}", self.place()))
    }
}

/// What stands before the digest in the name of a blob.
fn kind(is_compressed: bool) -> &'static str {
    if is_compressed { "compressed-blobs/zstd" } else { "blobs" }
}

/// Takes pieces until the stream ends. The inner error is this machine's, or of a stream that is too long.
async fn take<W: Write>(
    stream: &mut Streaming<ReadResponse>,
    size: u64,
    patience: Duration,
    mut sink: Sink<W>,
) -> Result<Result<W>, Status> {
    // Compressed or not, it has no more bytes than this.
    let most = size.saturating_add(size / 64).saturating_add(64 << 10);
    let mut received = 0;
    loop {
        let late = |_| Status::deadline_exceeded("the stream stands still");
        let Some(piece) = tokio::time::timeout(patience, stream.message()).await.map_err(late)?? else {
            return Ok(sink.finish());
        };
        received += piece.data.len() as u64;
        if received > most {
            return Ok(Err(anyhow::anyhow!("more is sent than the {size} bytes that it has")));
        }
        if let Err(error) = sink.take(&piece.data) {
            return Ok(Err(error));
        }
    }
}

/// A UUID for an upload: two of the same blob at the same time are two.
fn unique() -> String {
    let half = || RandomState::new().hash_one(std::process::id());
    let (a, b) = (half(), half());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | (b >> 48) & 0x3fff,
        b & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;

    #[test]
    fn names_of_uploads_are_uuids() {
        let (name, other) = (unique(), unique());
        assert_ne!(name, other);
        let lengths: Vec<usize> = name.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{name}");
        assert!(name.as_bytes()[14] == b'4' && b"89ab".contains(&name.as_bytes()[19]), "{name}");
    }

    #[test]
    fn the_last_piece_says_so_and_a_short_file_has_none() {
        for (there, size) in [(PIECE + 1, PIECE + 1), (PIECE, PIECE), (5, 5), (PIECE + 1, PIECE + 2)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&vec![1; there]).unwrap();
            file.rewind().unwrap();
            let blob = Digest { size: size as u64, ..Digest::of(b"") };
            let mut pieces = Pieces::new(file, "x".into(), &blob, false).unwrap();
            let sent: Vec<_> = std::iter::from_fn(|| pieces.next()).collect();
            let bytes: usize = sent.iter().map(|piece| piece.data.len()).sum();
            assert_eq!(sent.last().unwrap().finish_write, there == size, "{there} of {size}");
            assert_eq!(bytes, there);
            assert!(
                sent[0].resource_name == "x" && sent[1..].iter().all(|piece| piece.resource_name.is_empty())
            );
        }
    }
}

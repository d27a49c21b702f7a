//! Blobs that are larger than a batch: streams of pieces.

use crate::{connection::Connection, failure::Failure};
use anyhow::{Context, Result, bail, ensure};
use bazel_remote_apis::google::bytestream::{
    ReadRequest, ReadResponse, WriteRequest, byte_stream_client::ByteStreamClient,
};
use std::{
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{Read, Write},
    time::Duration,
};
use store::{Digest, Store};
use tonic::{Response, Status, Streaming, transport::Channel};

/// Bytes in a piece that is sent: with what is around it, less than what servers take as a message.
const PIECE: usize = 1 << 20;

/// A blob on its way out.
struct Pieces {
    file: File,
    name: String,
    offset: u64,
    size: u64,
}

impl Pieces {
    /// The next piece, until the last was sent. A file that ends early or goes on is found by the server, which hashes it.
    fn next(&mut self) -> Option<WriteRequest> {
        if self.offset >= self.size {
            return None;
        }
        let length = PIECE.min(usize::try_from(self.size - self.offset).unwrap_or(PIECE));
        let mut data = vec![0; length];
        // The stream then ends before its last piece, which no server takes for a whole blob.
        self.file.read_exact(&mut data).ok()?;
        let offset = self.offset;
        self.offset += length as u64;
        Some(WriteRequest {
            resource_name: if offset == 0 { self.name.clone() } else { String::new() },
            write_offset: i64::try_from(offset).ok()?,
            finish_write: self.offset == self.size,
            data,
        })
    }
}

impl Connection {
    fn streams(&self) -> ByteStreamClient<Channel> {
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
        let answer = self.ask_within(self.streaming(blob.size), || {
            let pieces = store.open_blob(blob).map(|file| Pieces {
                file,
                name: self.resource(&format!("uploads/{}/blobs/{blob}", unique())),
                offset: 0,
                size: blob.size,
            });
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
        ensure!(
            taken == -1 || u64::try_from(taken) == Ok(blob.size),
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
            resource_name: self.resource(&format!("blobs/{blob}")),
            read_offset: 0,
            read_limit: 0,
        };
        let patience = self.patience();
        let received = self.ask_within(self.streaming(blob.size), || {
            let (mut client, request) = (self.streams(), self.request(question.clone()));
            let writer = open();
            async move {
                let Some(mut writer) = writer else { return Ok(Response::new(Ok(None))) };
                let mut stream = client.read(request).await?.into_inner();
                let taken = take(&mut stream, blob.size, patience, &mut writer).await?;
                Ok(Response::new(taken.map(|()| Some(writer))))
            }
        });
        let received = received.map_err(|failure: Failure| self.about(blob, failure))?;
        received.with_context(|| format!("the blob {blob} of {}", self.place()))
    }
}

/// Takes pieces until the stream ends. The inner error is this machine's, or of a stream that is too long.
async fn take(
    stream: &mut Streaming<ReadResponse>,
    size: u64,
    patience: Duration,
    out: &mut impl Write,
) -> Result<Result<()>, Status> {
    let mut received = 0;
    loop {
        let late = |_| Status::deadline_exceeded("the stream stands still");
        let Some(piece) = tokio::time::timeout(patience, stream.message()).await.map_err(late)?? else {
            return Ok(Ok(()));
        };
        received += piece.data.len() as u64;
        let mut write = || -> Result<()> {
            if received > size {
                bail!("more is sent than the {size} bytes that it has");
            }
            out.write_all(&piece.data).context("cannot keep it")
        };
        if let Err(error) = write() {
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
            let mut pieces = Pieces { file, name: "x".into(), offset: 0, size: size as u64 };
            let sent: Vec<_> = std::iter::from_fn(|| pieces.next()).collect();
            let bytes: usize = sent.iter().map(|piece| piece.data.len()).sum();
            assert_eq!(sent.last().unwrap().finish_write, there == size, "{there} of {size}");
            assert_eq!(bytes, if there == size { size } else { PIECE });
            assert!(
                sent[0].resource_name == "x" && sent[1..].iter().all(|piece| piece.resource_name.is_empty())
            );
        }
    }
}

//! Archives to and from the engine, without holding them in memory.

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    io::{self, BufWriter, Read, Write},
    pin::Pin,
    task::Poll,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How many pieces may wait.
const WAITING: usize = 16;

/// How large a piece is.
const PIECE: usize = 1 << 18;

/// What a thread writes and bollard sends.
pub(super) struct Pieces(Receiver<Bytes>);

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

struct Pipe(Sender<Bytes>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.blocking_send(Bytes::copy_from_slice(bytes)) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a writer beside what sends its output. The receiver's error goes first: the writer then only knows that nobody listens.
pub(super) fn send<T>(
    write: impl FnOnce(&mut dyn Write) -> Result<()> + Send,
    receive: impl FnOnce(Pieces) -> Result<T>,
) -> Result<T> {
    let (sender, receiver) = channel(WAITING);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut out = BufWriter::with_capacity(PIECE, Pipe(sender));
            write(&mut out)?;
            out.flush().context("cannot send")
        });
        let received = receive(Pieces(receiver));
        let written = writer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread broke")));
        let received = received?;
        written.map(|()| received)
    })
}

/// Reads what comes in pieces.
pub(super) struct Incoming {
    receiver: Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// Runs what receives beside a reader of it. The receiver's error goes first, as in [`send`]; it ends early, and well, where
/// nobody reads any more.
pub(super) fn receive<R: Send>(
    fetch: impl FnOnce(Sender<Bytes>) -> Result<()>,
    read: impl FnOnce(&mut dyn Read) -> Result<R> + Send,
) -> Result<R> {
    let (sender, receiver) = channel(WAITING);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut incoming = Incoming { receiver, piece: Bytes::new() };
            let read = read(&mut incoming)?;
            // Whatever stands behind the archive's end.
            io::copy(&mut incoming, &mut io::sink()).context("cannot receive")?;
            Ok(read)
        });
        let fetched = fetch(sender);
        let read = reader.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread broke")));
        fetched.and(read)
    })
}

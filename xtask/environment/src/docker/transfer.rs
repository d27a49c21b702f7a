//! Archives to and from the engine, without holding them in memory.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::Stream;
use std::{
    io::{self, BufWriter, Read, Write},
    path::Path,
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
pub(super) fn receive<T>(
    fetch: impl FnOnce(Sender<Bytes>) -> Result<T>,
    read: impl FnOnce(&mut dyn Read) -> Result<()> + Send,
) -> Result<T> {
    let (sender, receiver) = channel(WAITING);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut incoming = Incoming { receiver, piece: Bytes::new() };
            read(&mut incoming)?;
            // Whatever stands behind the archive's end.
            io::copy(&mut incoming, &mut io::sink()).context("cannot receive").map(|_| ())
        });
        let fetched = fetch(sender);
        let read = reader.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread broke")));
        let fetched = fetched?;
        read.map(|()| fetched)
    })
}

/// Unpacks the archive of a directory that an engine made, without the directory's own name. Errors: what is neither file,
/// directory nor link; a path that leaves the place.
pub(super) fn unpack(archive: &mut dyn Read, place: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(archive);
    // Directories get their mode last, so that what is in one that nobody may write to can be written.
    for entry in archive.entries().context("cannot read the outputs")? {
        let mut entry = entry.context("cannot read the outputs")?;
        let path = entry.path().context("cannot read the outputs")?.into_owned();
        let mut components = path.components();
        components.next();
        let path = components.as_path().to_owned();
        if path.as_os_str().is_empty() {
            continue;
        }
        let kind = entry.header().entry_type();
        ensure!(
            kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link(),
            "/build/out/{} is neither file, directory nor link",
            path.display()
        );
        unpack_entry(&mut entry, &path, place)
            .with_context(|| format!("cannot keep /build/out/{}", path.display()))?;
    }
    Ok(())
}

fn unpack_entry<R: Read>(entry: &mut tar::Entry<'_, R>, path: &Path, place: &Path) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let inside = |path: &Path| -> Result<std::path::PathBuf> {
        let mut full = place.to_owned();
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            ensure!(matches!(component, std::path::Component::Normal(_)), "it leaves the directory");
            full.push(component);
            // A link on the way would lead elsewhere.
            ensure!(components.peek().is_none() || !full.is_symlink(), "it stands below a link");
        }
        Ok(full)
    };
    let full = inside(path)?;
    let header = entry.header();
    match header.entry_type() {
        kind if kind.is_dir() => std::fs::create_dir(&full)?,
        kind if kind.is_symlink() => {
            let target = entry.link_name()?.context("a link without a target")?.into_owned();
            std::os::unix::fs::symlink(target, &full)?;
        }
        kind if kind.is_hard_link() => {
            let target = entry.link_name()?.context("a link without a target")?.into_owned();
            let mut components = target.components();
            components.next();
            std::fs::hard_link(inside(components.as_path())?, &full)?;
        }
        _ => {
            let mode = if header.mode()? & 0o100 == 0 { 0o644 } else { 0o755 };
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&full)?;
            io::copy(entry, &mut file)?;
        }
    }
    Ok(())
}

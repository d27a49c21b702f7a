//! One download: resumed, bounded, hashed while it streams, kept only when it is what the lock says.

use crate::client::{self, Address, without_credentials};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::Duration,
};
use store::{BlobWriter, Digest, HashWriter, Meter, Progress, Store, Unit};
use ureq::Agent;

/// How often one address is tried before the next.
const TRIES: u32 = 4;

/// Fetches a blob from the first address that has it. What was received stays for the next try, or the next run.
pub fn download(
    store: &Store,
    agent: &Agent,
    name: &str,
    addresses: &[Address],
    digest: &Digest,
    meter: &dyn Meter,
    progress: &dyn Progress,
) -> Result<()> {
    let mut part = Part::open(store, digest)?;
    if store.contains(digest) {
        // Another process fetched it while we waited for its lock.
        meter.add(digest.size);
        return part.remove();
    }
    let mut problems = Vec::new();
    for address in addresses {
        for attempt in 0..TRIES {
            match part.receive(agent, address, digest, meter) {
                Ok(()) => return part.keep(store, digest).with_context(|| format!("cannot keep `{name}`")),
                Err(problem) => {
                    let shown = without_credentials(&address.url);
                    let again = problem.retry && attempt + 1 < TRIES;
                    if again {
                        progress.note(&format!("`{name}` from {shown}: {:#}; trying again", problem.error));
                        std::thread::sleep(pause(attempt));
                    } else {
                        problems.push(format!("{shown}: {:#}", problem.error));
                        break;
                    }
                }
            }
        }
    }
    ensure!(!addresses.is_empty(), "there is no address for `{name}`");
    bail!(
        "cannot fetch `{name}` ({} bytes, sha256 {})\n  {}",
        digest.size,
        digest.hex(),
        problems.join("\n  ")
    )
}

/// Fetches a file of which nobody says what it is, hashes it while it streams, and keeps it.
///
/// Errors: the server does not say how long the file is, or the disk has no place for it; it ends early every time.
pub fn download_unlocked(
    store: &Store,
    agent: &Agent,
    name: &str,
    address: &Address,
    progress: &dyn Progress,
) -> Result<Digest> {
    let meter = progress.begin(name, 0, Unit::Bytes);
    let mut writer = store.writer()?;
    let shown = without_credentials(&address.url);
    for attempt in 0..TRIES {
        match receive_unlocked(store, &mut writer, agent, address, meter.as_ref()) {
            Ok(()) => return writer.finish(None).with_context(|| format!("cannot keep `{name}`")),
            Err(problem) if problem.retry && attempt + 1 < TRIES => {
                progress.note(&format!("`{name}` from {shown}: {:#}; trying again", problem.error));
                std::thread::sleep(pause(attempt));
            }
            Err(problem) => return Err(problem.error).with_context(|| format!("cannot fetch {shown}")),
        }
    }
    bail!("cannot fetch {shown}")
}

fn receive_unlocked<'a>(
    store: &'a Store,
    writer: &mut BlobWriter<'a>,
    agent: &Agent,
    address: &Address,
    meter: &dyn Meter,
) -> Result<(), Problem> {
    let response = client::get(agent, address, writer.size()).map_err(|error| answered(error, address))?;
    if response.status() != 206 && writer.size() > 0 {
        // The server gives the whole file again.
        *writer = store.writer().map_err(|error| Problem { error, retry: false })?;
    }
    let refuse = |error| Problem { error, retry: false };
    let rest = response
        .body()
        .content_length()
        .ok_or_else(|| refuse(anyhow::anyhow!("the server does not say how long the file is")))?;
    let size = writer.size().saturating_add(rest);
    let free = store.free_bytes().map_err(refuse)?;
    if rest > free {
        return Err(refuse(anyhow::anyhow!("the file has {size} bytes, and the store's disk {free} free")));
    }
    meter.set(writer.size(), size);
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 128 * 1024];
    while writer.size() < size {
        let count = body.read(&mut buffer)?;
        if count == 0 {
            let error = anyhow::anyhow!("the connection ended after {} of {size} bytes", writer.size());
            return Err(Problem { error, retry: true });
        }
        writer.write_all(&buffer[..count])?;
        meter.add(count as u64);
    }
    Ok(())
}

/// How long to wait after a try.
fn pause(attempt: u32) -> Duration {
    Duration::from_millis(300 << (2 * attempt))
}

/// What a server's refusal means.
fn answered(error: ureq::Error, address: &Address) -> Problem {
    let retry = match error {
        ureq::Error::StatusCode(status) => matches!(status, 408 | 416 | 429 | 500..=599),
        ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed | ureq::Error::BadUri(_) => false,
        _ => true,
    };
    Problem { error: client::explain(error, address), retry }
}

/// Why a try failed, and whether another makes sense.
struct Problem {
    error: anyhow::Error,
    retry: bool,
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self {
            retry: !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::PermissionDenied),
            error: error.into(),
        }
    }
}

/// `downloads/HEX`: what was received so far. Locked, so that two processes do not write to it at once.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn open(store: &Store, digest: &Digest) -> Result<Self> {
        let directory = store.root().join("downloads");
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let path = directory.join(digest.hex());
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            // The process that had it before may have made it a blob or removed it; then the path is no file, or another's.
            let ours = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
            if std::fs::metadata(&path)
                .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
            {
                return Ok(Self { path, file });
            }
        }
    }

    fn receive(
        &mut self,
        agent: &Agent,
        address: &Address,
        digest: &Digest,
        meter: &dyn Meter,
    ) -> Result<(), Problem> {
        let (mut hash, mut have) = self.resume(digest)?;
        let response = match client::get(agent, address, have) {
            Ok(response) => response,
            Err(error) => {
                if let ureq::Error::StatusCode(416) = error {
                    self.file.set_len(0)?;
                }
                return Err(answered(error, address));
            }
        };
        if have > 0 && response.status() != 206 {
            // The server gives the whole file again.
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            hash = HashWriter::new(std::io::sink());
            have = 0;
        }
        // What was there before may be what is wrong: then the whole file is worth a try.
        let resumed = have > 0;
        meter.set(have, digest.size);
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = body.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            have += count as u64;
            if have > digest.size {
                self.file.set_len(0)?;
                let error =
                    anyhow::anyhow!("the server sends more than the {} bytes of the lock", digest.size);
                return Err(Problem { error, retry: resumed });
            }
            hash.write_all(&buffer[..count])?;
            self.file.write_all(&buffer[..count])?;
            meter.add(count as u64);
        }
        if have < digest.size {
            let error = anyhow::anyhow!("the connection ended after {have} of {} bytes", digest.size);
            return Err(Problem { error, retry: true });
        }
        let found = hash.finish().1;
        if found != *digest {
            self.file.set_len(0)?;
            let error = anyhow::anyhow!(
                "the file has sha256 {}, not that of the lock: the lock is wrong, or the server sends something else",
                found.hex()
            );
            return Err(Problem { error, retry: resumed });
        }
        Ok(())
    }

    /// Hashes what is there already, and stands at its end.
    fn resume(&mut self, digest: &Digest) -> std::io::Result<(HashWriter<std::io::Sink>, u64)> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut hash = HashWriter::new(std::io::sink());
        let have = std::io::copy(&mut self.file, &mut hash)?;
        if have < digest.size {
            return Ok((hash, have));
        }
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        Ok((HashWriter::new(std::io::sink()), 0))
    }

    fn keep(self, store: &Store, digest: &Digest) -> Result<()> {
        store.adopt(&self.path, digest)
    }

    fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

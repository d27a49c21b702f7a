//! One download: resumed, bounded, hashed while it streams, kept only when it is what the lock says.

use crate::{
    client::{Address, Client, Failure, Headers, Kind},
    url::without_credentials,
};
use anyhow::{Context, Result, anyhow};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};
use store::{BlobWriter, Digest, HashWriter, Meter, Progress, Store, Unit, WithHint, hinted};
use ureq::{
    Body,
    http::{HeaderMap, Response, header},
};

/// What a file may have, in bytes, whose length is not known before its end.
const LARGEST_CHUNKED: u64 = 1 << 30;

/// Where a download goes, and who is told of it.
pub struct Job<'a> {
    /// Gets the file.
    pub store: &'a Store,
    /// Asks for it.
    pub client: &'a Client,
    /// Sees how much of it is there.
    pub meter: &'a dyn Meter,
    /// Is told what goes wrong.
    pub progress: &'a dyn Progress,
}

/// A locked file on its way. What was received stays for the next address, or the next run.
pub struct Download<'a> {
    job: Job<'a>,
    digest: Digest,
    part: Part,
}

impl<'a> Download<'a> {
    /// Waits for other processes that fetch the same. Nothing when they did.
    ///
    /// # Errors
    /// If the store can't be written to.
    pub fn begin(job: Job<'a>, digest: &Digest) -> Result<Option<Self>> {
        let part = Part::open(job.store, digest)?;
        if job.store.contains(digest) {
            job.meter.add(digest.size);
            part.remove()?;
            return Ok(None);
        }
        Ok(Some(Self { job, digest: *digest, part }))
    }

    /// Receives the file from an address. Afterwards it can be kept.
    ///
    /// # Errors
    /// If the address does not have it, or something else.
    pub fn receive(&mut self, address: &Address) -> Result<(), Failure> {
        let Self { job, digest, part } = self;
        let mut resume = Resume::default();
        job.client.persist(address, job.progress, || part.receive(job, address, digest, &mut resume))
    }

    /// Makes what was received a blob.
    ///
    /// # Errors
    /// If the store can't be written to.
    pub fn keep(self) -> Result<()> {
        self.job.store.adopt(&self.part.path, &self.digest)
    }
}

/// What is known of a file of which only a part was received.
#[derive(Default)]
struct Resume {
    /// Its strong entity tag (RFC 9110, 8.8.3): two parts with one tag are parts of the same bytes.
    tag: Option<String>,
    /// Ranges of this server can't be used.
    whole: bool,
}

impl Resume {
    /// What asks for the bytes from `start`.
    fn headers(&self, start: u64) -> Vec<(ureq::http::HeaderName, String)> {
        let mut headers = Vec::new();
        if start > 0 {
            headers.push((header::RANGE, format!("bytes={start}-")));
            headers.extend(self.tag.clone().map(|tag| (header::IF_RANGE, tag)));
        }
        headers
    }

    /// Where the body of an answer stands in the file that was asked for from `start`, and how long the file is in all, where
    /// that is said.
    fn place(&mut self, response: &Response<Body>, start: u64) -> Result<(u64, Option<u64>), Failure> {
        let tag = strong_tag(response.headers());
        let length = response.body().content_length();
        match response.status().as_u16() {
            200 => {
                self.tag = tag;
                Ok((0, length))
            }
            206 if start > 0 => {
                let range =
                    response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let problem = match range.and_then(content_range) {
                    None => "without saying which part of the file it is".to_owned(),
                    Some((first, _)) if first != start => {
                        format!("from byte {first}, and was asked for those from {start}")
                    }
                    Some(_) if self.tag.is_some() && tag.is_some() && self.tag != tag => {
                        "of a file that has changed since".to_owned()
                    }
                    Some((_, total)) => return Ok((start, total)),
                };
                // RFC 9110, 15.3.7: a client has to look at the range before it puts parts together.
                self.whole = true;
                Err(Failure { error: anyhow!("the server sends bytes {problem}"), kind: Kind::Again })
            }
            status => Err(Failure::wrong(anyhow!(
                "the server answered {status}, which is not an answer to this request"
            ))),
        }
    }
}

/// The entity tag of an answer, unless it is weak.
fn strong_tag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::ETAG)?.to_str().ok()?;
    tag.starts_with('"').then(|| tag.to_owned())
}

/// `bytes FIRST-LAST/TOTAL`: the first byte, and the total where it is not `*`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse::<u64>().ok()?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

/// Fetches a file of which nobody says what it is, hashes it while it streams, and keeps it. Parts of it are put together only
/// where the server gives it a strong entity tag: nothing else would show that they are parts of one file.
///
/// # Errors
/// If nothing would show that the end of the answer is that of the file: no length, no chunks. If the disk has no place for it;
/// if it ends early every time.
pub fn download_unlocked(
    store: &Store,
    client: &Client,
    name: &str,
    address: &Address,
    progress: &dyn Progress,
) -> Result<Digest> {
    let meter = progress.begin(name, 0, Unit::Bytes);
    let job = Job { store, client, meter: meter.as_ref(), progress };
    let mut writer = store.writer()?;
    let mut resume = Resume::default();
    client
        .persist(address, progress, || receive_unlocked(&job, &mut writer, address, &mut resume))
        .map_err(|failure| failure.error)
        .with_context(|| format!("cannot fetch {}", without_credentials(&address.url)))?;
    writer.finish(None).with_context(|| format!("cannot keep `{name}`"))
}

fn receive_unlocked<'a>(
    job: &Job<'a>,
    writer: &mut BlobWriter<'a>,
    address: &Address,
    resume: &mut Resume,
) -> Result<(), Failure> {
    let start = if resume.whole || resume.tag.is_none() { 0 } else { writer.size() };
    let response = job.client.get(address, &resume.headers(start))?;
    let (start, total) = resume.place(&response, start)?;
    if start == 0 && writer.size() > 0 {
        *writer = job.store.writer().map_err(Failure::local)?;
    }
    let is_chunked = response
        .headers()
        .get(header::TRANSFER_ENCODING)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let free = job.store.free_bytes().map_err(Failure::local)?;
    let size = match total {
        Some(size) => size,
        None if is_chunked => free.min(LARGEST_CHUNKED),
        None => return Err(Failure::wrong(anyhow!("the server does not say how long the file is"))),
    };
    if size.saturating_sub(start) > free {
        return Err(Failure::local(anyhow!("the file has {size} bytes, and the store's disk {free} free")));
    }
    job.meter.set(start, size);
    let mut body = job.client.body(response);
    let mut buffer = vec![0; 128 * 1024];
    while writer.size() < size {
        let wanted =
            usize::try_from(size - writer.size()).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = body.read(&mut buffer[..wanted]).map_err(Failure::reading)?;
        if count == 0 && total.is_none() {
            return Ok(());
        }
        if count == 0 {
            let error = anyhow!("the connection ended after {} of {size} bytes", writer.size());
            return Err(Failure { error, kind: Kind::Broken });
        }
        writer.write_all(&buffer[..count]).map_err(Failure::local)?;
        job.meter.add(count as u64);
    }
    match total {
        Some(_) => Ok(()),
        None => Err(Failure::wrong(anyhow!("the file has more than {size} bytes"))),
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
        store::make_directory(&directory)?;
        let path = directory.join(digest.hex());
        loop {
            let file = store::open_or_create(&path, false)
                .with_hint(|| hinted(format!("cannot write {}", path.display()), "remove it"))?;
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            // The process that had it before may have made it a blob or removed it; then the path is not a file, or another's.
            let ours = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
            if std::fs::symlink_metadata(&path)
                .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
            {
                return Ok(Self { path, file });
            }
        }
    }

    fn receive(
        &mut self,
        job: &Job,
        address: &Address,
        digest: &Digest,
        resume: &mut Resume,
    ) -> Result<(), Failure> {
        if resume.whole {
            self.clear()?;
        }
        let (mut hash, mut have) = self.resume(digest).map_err(Failure::local)?;
        let headers: &Headers = &resume.headers(have);
        let response = match job.client.get(address, headers) {
            Ok(response) => response,
            Err(failure) if failure.status() == Some(416) && have > 0 => {
                resume.whole = true;
                return Err(Failure { kind: Kind::Again, ..failure });
            }
            Err(failure) => return Err(failure),
        };
        let (start, total) = resume.place(&response, have)?;
        if let Some(total) = total
            && total != digest.size
        {
            self.clear()?;
            return Err(Failure::wrong(wrong_size(total, digest.size)));
        }
        if start < have {
            // The server gives the whole file again.
            self.clear()?;
            hash = HashWriter::new(std::io::sink());
            have = 0;
        }
        // What was there before may be what is wrong: then the whole file is worth a try.
        let resumed = have > 0;
        job.meter.set(have, digest.size);
        let mut body = job.client.body(response);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = body.read(&mut buffer).map_err(Failure::reading)?;
            if count == 0 {
                break;
            }
            have += count as u64;
            if have > digest.size {
                self.clear()?;
                return Err(Self::unfit(wrong_size(have, digest.size), resumed, resume));
            }
            hash.write_all(&buffer[..count]).map_err(Failure::local)?;
            self.file.write_all(&buffer[..count]).map_err(Failure::local)?;
            job.meter.add(count as u64);
        }
        if have < digest.size {
            let error = anyhow!("the connection ended after {have} of {} bytes", digest.size);
            return Err(Failure { error, kind: Kind::Broken });
        }
        let found = hash.finish().1;
        if found != *digest {
            self.clear()?;
            let error = anyhow!(
                "the file has sha256 {}, not that of the lock: the lock is wrong, or the server sends something else",
                found.hex()
            );
            return Err(Self::unfit(error, resumed, resume));
        }
        Ok(())
    }

    /// The file is not what the lock says; where only a part of it came from this server, all of it may be.
    fn unfit(error: anyhow::Error, resumed: bool, resume: &mut Resume) -> Failure {
        resume.whole = true;
        Failure { error, kind: if resumed { Kind::Again } else { Kind::Wrong } }
    }

    fn clear(&mut self) -> Result<(), Failure> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map(drop)
            .map_err(Failure::local)
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

    fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

fn wrong_size(found: u64, locked: u64) -> anyhow::Error {
    match found > locked {
        true => anyhow!("the server sends more than the {locked} bytes of the lock"),
        false => anyhow!("the server has a file of {found} bytes, not of the {locked} of the lock"),
    }
}

/// Reads headers as downloads and hubs do: a way in for fuzzing, which has no server. The first line is the status and where the
/// download stood, each other one `NAME: VALUE`.
#[doc(hidden)]
pub fn read_headers(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (status, start) = first.split_once(' ').unwrap_or((&first, "0"));
    let mut response = Response::builder().status(status.parse::<u16>().unwrap_or(206));
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        if let (Some(name), Some(value)) = (parts.next(), parts.next())
            && let Ok(name) = ureq::http::HeaderName::from_bytes(name)
            && let Ok(value) = ureq::http::HeaderValue::from_bytes(value.trim_ascii())
        {
            response = response.header(name, value);
        }
    }
    let Ok(response) = response.body(Body::builder().data(Vec::new())) else { return };
    let mut resume = Resume::default();
    for start in [0, start.parse().unwrap_or(1)] {
        if resume.place(&response, start).is_ok() {
            let _ = resume.headers(start);
        }
    }
    let _ = crate::hub::linked(response.headers());
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let _ = wait.and_then(crate::client::retry_after);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_writes_them() {
        assert_eq!(content_range("bytes 7-9/10"), Some((7, Some(10))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        for wrong in ["bytes */10", "bytes 9-7/10", "bytes 7-10/10", "items 7-9/10", "bytes 7-/10", ""] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn weak_tags_put_no_parts_together() {
        let tag = |text: &str| strong_tag(&[(header::ETAG, text.parse().unwrap())].into_iter().collect());
        assert_eq!(tag("\"x\"").as_deref(), Some("\"x\""));
        assert_eq!(tag("W/\"x\""), None);
        assert_eq!(strong_tag(&HeaderMap::new()), None);
    }
}

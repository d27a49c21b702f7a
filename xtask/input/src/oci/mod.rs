//! A client of registries (OCI distribution specification 1.1): blobs by digest, manifests, referrers.
//!
//! Whatever a registry answers is a stranger's: it is bounded, and held against the digest and size that were asked for.

mod authorize;
mod credentials;
mod manifest;
mod reference;

pub use manifest::{Descriptor, MANIFEST, Manifest};
pub use reference::{Reference, SCHEME};

use crate::{
    client::{Address, Client, Content, Failure, Kind, Method, Token},
    url::{join, same_origin, without_credentials},
};
use anyhow::{Context, Result, anyhow, ensure};
use credentials::Credentials;
use manifest::{INDEX, Index};
use std::{
    fs::File,
    io::Read,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use store::{Digest, Progress, WithHint, hinted};
use ureq::{
    Body,
    http::{HeaderMap, HeaderName, Response, header},
};

/// The most that a manifest or list may have, in bytes: what registries must take at least.
const LARGEST_MANIFEST: u64 = 4 << 20;
/// How many referrers of something are looked at.
const MOST_REFERRERS: usize = 1000;
/// How often something is written to a tag that others write to at the same time.
const MOST_WRITES: u32 = 8;
/// After which time what was written to a tag is looked for again; twice as much after each time that it was gone.
const SETTLING: Duration = Duration::from_millis(100);
/// The longest such time.
const LONGEST_SETTLING: Duration = Duration::from_secs(5);

/// Leave to do something in a repository, as a registry gives it.
struct Leave {
    token: Option<Token>,
    until: Instant,
}

/// A repository of a registry.
pub struct Registry {
    client: Client,
    reference: Reference,
    server: String,
    /// What may be done: `pull`, or `pull,push`.
    actions: &'static str,
    leave: Mutex<Option<Leave>>,
}

impl Registry {
    /// Nothing is asked yet.
    pub(crate) fn new(client: Client, reference: &Reference, may_push: bool) -> Self {
        Self {
            client,
            server: reference.server(),
            reference: reference.clone(),
            actions: if may_push { "pull,push" } else { "pull" },
            leave: Mutex::default(),
        }
    }

    /// A repository, asked as [`crate::fetch`] would ask.
    pub fn open(reference: &Reference, options: &crate::FetchOptions, may_push: bool) -> Self {
        Self::new(options.network.client(options.patience), reference, may_push)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.server, self.reference.name)
    }

    /// Where a blob is, with what its registry wants to see.
    ///
    /// # Errors
    /// If the registry does not let us in.
    pub fn blob(&self, hex: &str) -> Result<Address> {
        Ok(Address { url: self.url(&format!("blobs/sha256:{hex}")), token: self.token(None)? })
    }

    /// The token that is good now; after a refusal, a new one.
    fn token(&self, refusal: Option<&HeaderMap>) -> Result<Option<Token>> {
        let mut leave = self.leave.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(leave), None) = (leave.as_ref().filter(|leave| leave.until > Instant::now()), refusal) {
            return Ok(leave.token.clone());
        }
        let refusal = match refusal {
            Some(headers) => Some(headers.clone()),
            None => {
                // What the registry says to whoever says nothing.
                let address = Address::from(format!("{}/v2/", self.server));
                let answer = self.ask(Method::Get, &address, &[], &Content::Nothing)?;
                (answer.status().as_u16() == 401).then(|| answer.headers().clone())
            }
        };
        let (token, lifetime) = match refusal {
            Some(headers) => self.authorize(&headers).with_hint(|| {
                hinted(
                    format!("{} does not let us in", self.server),
                    format!(
                        "`docker login {}` (or podman, oras) writes user and password for it",
                        self.reference.host
                    ),
                )
            })?,
            None => (None, Duration::from_secs(3600)),
        };
        *leave = Some(Leave { token: token.clone(), until: Instant::now() + lifetime });
        Ok(token)
    }

    fn ask(
        &self,
        method: Method,
        address: &Address,
        headers: &[(HeaderName, String)],
        content: &Content,
    ) -> Result<Response<Body>> {
        let answer = self.client.persist(address, &store::Silent, || {
            let content = match content {
                Content::Nothing => Content::Nothing,
                Content::Bytes(bytes) => Content::Bytes(bytes),
                Content::File(file) => Content::File(rewound(file)?),
                Content::Part(file, length) => Content::Part(rewound(file)?, *length),
            };
            let answer = self.client.exchange(method, address, headers, content)?;
            // Worth another try.
            match answer.status().as_u16() {
                408 | 429 | 500..=599 => Err(self.client.refusal(&answer, address)),
                _ => Ok(answer),
            }
        });
        answer.map_err(|failure| {
            failure.error.context(format!("cannot ask {}", without_credentials(&address.url)))
        })
    }

    /// A request to the repository, again with a new token where the old one is refused.
    fn request(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, String)],
        content: &Content,
    ) -> Result<Response<Body>> {
        let is_home = same_origin(&self.server, url);
        let token = if is_home { self.token(None)? } else { None };
        let answer = self.ask(method, &Address { url: url.to_owned(), token }, headers, content)?;
        if answer.status().as_u16() != 401 || !is_home {
            return Ok(answer);
        }
        let token = self.token(Some(answer.headers()))?;
        self.ask(method, &Address { url: url.to_owned(), token }, headers, content)
    }

    fn bytes(&self, answer: Response<Body>, most: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.client.body(answer).take(most + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= most, "the answer has more than {most} bytes");
        Ok(bytes)
    }

    fn refused(&self, what: &str, answer: Response<Body>) -> anyhow::Error {
        let status = answer.status().as_u16();
        let said = self.bytes(answer, 4096).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).escape_debug().to_string();
        anyhow!("{} refuses {what}: it answers {status} {}", self.server, said.trim_matches('"'))
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// If it does not say.
    pub fn has_blob(&self, blob: &Digest) -> Result<bool> {
        let url = self.url(&format!("blobs/sha256:{}", blob.hex()));
        let answer = self.request(Method::Head, &url, &[], &Content::Nothing)?;
        let length = |headers: &HeaderMap| headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        match answer.status().as_u16() {
            200..=299 => Ok(length(answer.headers()).is_none_or(|length: u64| length == blob.size)),
            // Another server has it.
            300..=399 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refused(&format!("to say whether it has the blob {blob}"), answer)),
        }
    }

    /// Sends a blob, unless it is there. Whether it was sent.
    ///
    /// # Errors
    /// If the registry does not take it.
    pub fn push_blob(&self, blob: &Digest, content: &Content) -> Result<bool> {
        if self.has_blob(blob)? {
            return Ok(false);
        }
        let what = format!("the blob {blob}");
        let answer = self.request(Method::Post, &self.url("blobs/uploads/"), &[], &Content::Nothing)?;
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let (202, Some(location)) = (answer.status().as_u16(), location) else {
            return Err(self.refused(&what, answer));
        };
        let place =
            join(&self.url("blobs/uploads/"), location).context("the place for it is not an address")?;
        let mark = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{mark}digest=sha256:{}", blob.hex());
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_LENGTH, blob.size.to_string()),
        ];
        let answer = self.request(Method::Put, &url, &headers, content)?;
        match answer.status().as_u16() {
            201 | 204 => Ok(true),
            _ => Err(self.refused(&what, answer)),
        }
    }

    /// Sends a manifest by its digest, and by a tag as well. Its blobs have to be there. Gives it as others name it.
    ///
    /// # Errors
    /// If the registry does not take it.
    pub fn push_manifest(&self, manifest: &Manifest, tag: Option<&str>) -> Result<Descriptor> {
        let (descriptor, is_listed) = self.send_manifest(manifest, tag)?;
        if let (Some(subject), false) = (&manifest.subject, is_listed) {
            let listed = [descriptor.clone()];
            self.until_it_stays(&mut || self.list_referrers(subject, &listed))?;
        }
        Ok(descriptor)
    }

    /// Sends manifests as referrers of another one. Those that the registry does not say to list are for [`Registry::list_referrers`].
    ///
    /// # Errors
    /// If the registry does not take one.
    pub fn push_referrers(&self, subject: &Descriptor, referrers: Vec<Manifest>) -> Result<Vec<Descriptor>> {
        let mut unlisted = Vec::new();
        for mut referrer in referrers {
            referrer.subject = Some(subject.clone());
            let (descriptor, is_listed) = self.send_manifest(&referrer, None)?;
            unlisted.extend((!is_listed).then_some(descriptor));
        }
        Ok(unlisted)
    }

    /// Sends a manifest. Whether the registry says that it has seen the subject comes with its name.
    fn send_manifest(&self, manifest: &Manifest, tag: Option<&str>) -> Result<(Descriptor, bool)> {
        let bytes = manifest.bytes()?;
        let digest = Digest::of(&bytes);
        self.push_blob(&Digest::of(b"{}"), &Content::Bytes(b"{}"))?;
        let mut keeps_account = false;
        for name in std::iter::once(format!("sha256:{}", digest.hex())).chain(tag.map(str::to_owned)) {
            keeps_account = self.put(&name, MANIFEST, &bytes)?;
        }
        let descriptor = Descriptor {
            artifact_type: manifest.artifact_type.clone(),
            ..Descriptor::new(MANIFEST, &digest)
        };
        Ok((descriptor, keeps_account))
    }

    /// Whether the registry says that it has seen the subject.
    fn put(&self, name: &str, kind: &str, bytes: &[u8]) -> Result<bool> {
        let headers = [(header::CONTENT_TYPE, kind.to_owned())];
        let url = self.url(&format!("manifests/{name}"));
        let answer = self.request(Method::Put, &url, &headers, &Content::Bytes(bytes))?;
        match answer.status().as_u16() {
            201 => Ok(answer.headers().contains_key("oci-subject")),
            _ => Err(self.refused(&format!("the manifest `{name}`"), answer)),
        }
    }

    /// Adds referrers to the list that stands in place of the registry's own (the specification's referrers tag schema), unless they
    /// are there. Whether it wrote.
    ///
    /// # Errors
    /// If the registry does not take it, or something else stands there.
    pub fn list_referrers(&self, subject: &Descriptor, referrers: &[Descriptor]) -> Result<bool> {
        let tag = format!("sha256-{}", subject.content()?.hex());
        let mut index = match self.get(&tag, INDEX)? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("what stands at the tag `{tag}` is not a list"))?,
            None => Index::new(),
        };
        let is_there = |it: &&Descriptor| index.manifests.iter().any(|known| known.digest == it.digest);
        let lacking: Vec<_> = referrers.iter().filter(|it| !is_there(it)).cloned().collect();
        if lacking.is_empty() {
            return Ok(false);
        }
        index.manifests.extend(lacking);
        index.manifests.sort_by(|a, b| a.digest.cmp(&b.digest));
        self.put(&tag, INDEX, &serde_json::to_vec(&index)?)?;
        Ok(true)
    }

    /// Adds to what stands at tags until it is still there some time later. Nobody can lock a tag, or write it on a condition: who
    /// read it before this was written, and writes it afterwards, leaves this out. `add` reads, writes what lacks, and says whether
    /// anything lacked.
    ///
    /// # Errors
    /// If `add` fails, or others write there all the time.
    pub fn until_it_stays(&self, add: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
        let mut pause = SETTLING;
        for _ in 0..MOST_WRITES {
            let start = Instant::now();
            if !add()? {
                return Ok(());
            }
            // Others take about as long to read and write as it took here.
            std::thread::sleep(pause.max(start.elapsed() * 2).min(LONGEST_SETTLING));
            pause *= 2;
        }
        (!add()?).then_some(()).with_hint(|| {
            let about =
                format!("others write all the time to the tags of {}/{}", self.server, self.reference.name);
            hinted(about, "run this again: what was sent is not sent again")
        })
    }

    /// A manifest or list by its name; nothing where there is none.
    fn get(&self, name: &str, kind: &str) -> Result<Option<Vec<u8>>> {
        let headers = [(header::ACCEPT, kind.to_owned())];
        let answer =
            self.request(Method::Get, &self.url(&format!("manifests/{name}")), &headers, &Content::Nothing)?;
        match answer.status().as_u16() {
            200 => self.bytes(answer, LARGEST_MANIFEST).map(Some),
            404 => Ok(None),
            _ => Err(self.refused(&format!("the manifest `{name}`"), answer)),
        }
    }

    /// A manifest by its digest, checked, and how many bytes it has.
    ///
    /// # Errors
    /// If the repository lacks it, or has something else.
    pub fn manifest(&self, hex: &str) -> Result<(Manifest, Descriptor)> {
        let name = format!("sha256:{hex}");
        let reading = || format!("cannot take the manifest {name} from {}", self.server);
        let bytes = self.get(&name, MANIFEST)?.context("it is not there").with_context(reading)?;
        let found = Digest::of(&bytes);
        ensure!(found.hex() == hex, "{}: it sends something else, sha256:{}", reading(), found.hex());
        let manifest = Manifest::read(&bytes).with_context(reading)?;
        Ok((manifest, Descriptor::new(MANIFEST, &found)))
    }

    /// The digest that a tag has at the moment.
    ///
    /// # Errors
    /// If there is no such tag.
    pub fn resolve(&self, tag: &str) -> Result<String> {
        let bytes = self.get(tag, MANIFEST)?;
        let bytes = bytes.with_context(|| format!("{} has no tag `{tag}`", self.url("")))?;
        Ok(Digest::of(&bytes).hex())
    }

    /// The manifest that a tag names at the moment; nothing where there is no such tag.
    ///
    /// # Errors
    /// If something else stands there.
    pub fn tagged(&self, tag: &str) -> Result<Option<Manifest>> {
        let read = |bytes: Vec<u8>| {
            Manifest::read(&bytes).with_context(|| format!("cannot read the tag `{tag}` of {}", self.url("")))
        };
        self.get(tag, MANIFEST)?.map(read).transpose()
    }

    /// Manifests that say something about another one: by the registry's account and by the list that stands in for it, each
    /// read and looked at by ourselves, since some registries neither filter nor say what the manifest says. What is not as
    /// it should be is passed over, and named.
    ///
    /// # Errors
    /// If the registry can't be asked.
    pub fn referrers(&self, subject: &Descriptor, progress: &dyn Progress) -> Result<Vec<Manifest>> {
        let hex = subject.content()?.hex();
        let answer =
            self.request(Method::Get, &self.url(&format!("referrers/sha256:{hex}")), &[], &Content::Nothing)?;
        let account = match answer.status().as_u16() {
            200 => Some(self.bytes(answer, LARGEST_MANIFEST)?),
            _ => None,
        };
        let list = self.get(&format!("sha256-{hex}"), INDEX)?;
        let mut digests = Vec::new();
        for bytes in account.into_iter().chain(list) {
            match serde_json::from_slice::<Index>(&bytes) {
                Ok(index) => digests.extend(index.manifests.into_iter().map(|found| found.digest)),
                Err(error) => progress.note(&format!("a list of referrers of {hex} is not a list: {error}")),
            }
        }
        digests.sort();
        digests.dedup();
        if digests.len() > MOST_REFERRERS {
            progress
                .note(&format!("of {} referrers of {hex}, {MOST_REFERRERS} are looked at", digests.len()));
            digests.truncate(MOST_REFERRERS);
        }
        let mut found = Vec::new();
        for digest in digests {
            let read = || {
                let (manifest, _) = self.manifest(digest.strip_prefix("sha256:").unwrap_or_default())?;
                let same = manifest
                    .subject
                    .as_ref()
                    .is_some_and(|it| (&it.digest, it.size) == (&subject.digest, subject.size));
                ensure!(same, "its subject is another");
                Ok(manifest)
            };
            match read() {
                Ok(manifest) => found.push(manifest),
                Err(error) => {
                    progress
                        .note(&format!("the referrer {} is passed over: {error:#}", digest.escape_debug()));
                }
            }
        }
        Ok(found)
    }

    /// Writes a blob to a file, checked.
    ///
    /// # Errors
    /// If the repository lacks it, or has something else.
    pub fn pull_blob(&self, blob: &Digest, file: &mut File) -> Result<()> {
        let address = self.blob(&blob.hex())?;
        let reading = || format!("cannot take the blob {blob} from {}", self.server);
        self.client
            .persist(&address, &store::Silent, || {
                let response = self.client.get(&address, &[])?;
                let mut body = self.client.body(response).take(blob.size.saturating_add(1));
                let mut copy = rewound(file)?;
                copy.set_len(0).map_err(Failure::local)?;
                let mut hash = store::HashWriter::new(&mut copy);
                std::io::copy(&mut body, &mut hash).map_err(Failure::reading)?;
                let found = hash.finish().1;
                match found {
                    _ if found == *blob => Ok(()),
                    _ if found.size < blob.size => Err(Failure {
                        error: anyhow!("the connection ended after {} bytes", found.size),
                        kind: Kind::Broken,
                    }),
                    _ => Err(Failure::wrong(anyhow!("it sends something else, sha256:{}", found.hex()))),
                }
            })
            .map_err(|failure| failure.error)
            .with_context(reading)
    }
}

/// What the readers of registries' answers make of these bytes, as a manifest, a list of manifests, a reference and a challenge.
#[doc(hidden)]
pub fn read_answers(bytes: &[u8]) {
    let _ = Manifest::read(bytes).map(|manifest| manifest.bytes());
    let _ = serde_json::from_slice::<Index>(bytes).map(|index| serde_json::to_vec(&index));
    let text = String::from_utf8_lossy(bytes);
    let _ = Reference::parse(&text);
    let _ = authorize::challenge(&text);
}

/// The same open file, from its beginning.
fn rewound(file: &File) -> Result<File, Failure> {
    let mut file = file.try_clone().map_err(Failure::local)?;
    std::io::Seek::rewind(&mut file).map_err(Failure::local)?;
    Ok(file)
}

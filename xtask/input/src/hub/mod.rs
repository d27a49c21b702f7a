//! Hugging Face hubs, and whatever speaks the same addresses: `/api/models/OWNER/NAME/revision/REVISION` says what a
//! revision holds, `/OWNER/NAME/resolve/REVISION/FILE` gives a file, directly or by a redirection to where it is kept.

mod file;
mod license;
mod publish;
mod published;
mod selection;
mod send;

pub use file::{Content, PublishedFile};
pub use license::Terms;
pub use publish::{Publication, PublishRequest};
pub use published::{Published, fetch_published};

use crate::{
    Input, Model, Source,
    client::{Address, Client, Failure, Token},
    configuration,
    download::download_unlocked,
    url::{is_private, without_credentials},
};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use store::{Digest, Progress, Store, Unit, hinted};
use ureq::http::HeaderMap;

/// The most that a hub's description of a revision may have.
const LARGEST_ANSWER: u64 = 64 << 20;
/// The most that a file may have whose SHA-256 the hub does not say: it is read to be hashed, and kept.
const LARGEST_PLAIN: u64 = 256 << 20;

/// A hub, and who asks.
pub struct Hub {
    client: Client,
    endpoint: String,
    token: Option<Token>,
    include: Vec<String>,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Option<Card>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    lfs: Option<LargeFile>,
    /// Git's name for the content.
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
}

/// A file that Git keeps outside of itself.
#[derive(Deserialize)]
struct LargeFile {
    sha256: String,
    size: u64,
}

#[derive(Default, Deserialize)]
struct Card {
    license: Option<serde_json::Value>,
    license_name: Option<String>,
}

impl Card {
    fn license(self) -> String {
        let license = match self.license {
            Some(serde_json::Value::String(license)) => license,
            _ => "unknown".to_owned(),
        };
        if license == "other" { self.license_name.unwrap_or(license) } else { license }
    }
}

impl Hub {
    /// The hub at `endpoint`, or the one that this machine's client is configured with, with its token.
    ///
    /// Errors: none is configured; it is on another machine and not reached by TLS.
    pub fn open(client: Client, endpoint: Option<&str>) -> Result<Self> {
        let endpoint = match endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => configuration::hub_endpoint()?,
        };
        ensure!(
            is_private(&endpoint),
            "the hub {} is neither https:// nor this machine",
            without_credentials(&endpoint)
        );
        Ok(Self { client, endpoint, token: configuration::hub_token()?, include: Vec::new() })
    }

    /// The same hub, of which these files of a model are looked up beside those that a conversion uses.
    pub fn including(self, files: &[String]) -> Self {
        Self { include: files.to_vec(), ..self }
    }

    /// Where a file of a revision is.
    pub fn file(&self, repository: &str, revision: &str, file: &str) -> Address {
        let url = format!("{}/{repository}/resolve/{revision}/{file}", self.endpoint);
        Address { url, token: self.token.clone() }
    }

    /// What a revision (a commit, a branch or a tag) holds of what a conversion can use: the model with its commit and
    /// license, and every file with size and SHA-256.
    ///
    /// A hub says both of large files, here or in the headers of the file. What it does not say is fetched, and kept.
    ///
    /// Errors: there is no such revision, or it asks for a token; its answer makes no sense; it holds no weights.
    pub fn resolve(
        &self,
        store: &Store,
        repository: &str,
        revision: &str,
        progress: &dyn Progress,
    ) -> Result<(Model, Vec<Input>)> {
        let (model, siblings) = self.describe(repository, revision, progress)?;
        let shown = without_credentials(&self.endpoint);
        let names: Vec<&str> = siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let selected = selection::select(&names, &self.include)?;
        let hint = selection::without_weights(&names);
        let files: Vec<Sibling> =
            siblings.into_iter().filter(|file| selected.contains(&file.rfilename)).collect();
        let meter = progress.begin(&format!("looking at {repository}"), files.len() as u64, Unit::Items);
        let mut inputs = Vec::new();
        for file in files {
            let digest = match file.lfs {
                Some(large) => Digest::from_hex(&large.sha256, large.size)
                    .with_context(|| format!("{shown} gives a bad sha256 for `{}`", file.rfilename))?,
                None => {
                    let address = self.file(repository, &model.revision, &file.rfilename);
                    self.look_at(store, &file.rfilename, &address, progress)?
                }
            };
            meter.add(1);
            inputs.push(model.input(&file.rfilename, digest));
        }
        inputs.sort_by(|a, b| a.name.cmp(&b.name));
        let has = |ending: &str| inputs.iter().any(|input| input.source.file_name().ends_with(ending));
        ensure!(
            has(".safetensors") || has(".bin"),
            hinted(format!("{repository} at {} has no weights", model.revision), hint)
        );
        ensure!(has("config.json"), "{repository} at {} has no config.json", model.revision);
        Ok((model, inputs))
    }

    /// What the hub says of a revision: its commit and license, and its files.
    fn describe(
        &self,
        repository: &str,
        revision: &str,
        progress: &dyn Progress,
    ) -> Result<(Model, Vec<Sibling>)> {
        let path = format!("/api/models/{repository}/revision/{revision}?blobs=true");
        let address = Address { url: format!("{}{path}", self.endpoint), token: self.token.clone() };
        let answer = self.read(&address, LARGEST_ANSWER, progress)?;
        let shown = without_credentials(&address.url);
        let found: Revision = serde_json::from_slice(&answer)
            .with_context(|| format!("{shown} does not answer as a hub does"))?;
        let license = found.card.unwrap_or_default().license();
        let model = Model::new(repository, &found.sha, &license).with_context(|| format!("{shown} lies"))?;
        let is_commit = Model::new(repository, revision, "").is_ok();
        ensure!(
            !is_commit || found.sha == revision,
            "{shown} answers with another commit, {}",
            model.revision
        );
        Ok((model, found.siblings))
    }

    /// The digest of a file of which the revision's description has none. Of weights, the headers of the file may say
    /// it; what they do not say is fetched to be hashed, and kept.
    fn look_at(
        &self,
        store: &Store,
        name: &str,
        address: &Address,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        if !name.ends_with(".safetensors") && !name.ends_with(".bin") {
            return store.put_bytes(&self.read(address, LARGEST_PLAIN, progress)?);
        }
        let said = match self.client.persist(address, progress, || self.client.head(address)) {
            Ok(headers) => linked(&headers),
            // It does not know the method.
            Err(failure) if matches!(failure.status(), Some(405 | 501)) => None,
            Err(failure) => return Err(refused(failure, address)),
        };
        match said {
            Some(digest) => Ok(digest),
            None => download_unlocked(store, &self.client, name, address, progress),
        }
    }

    fn read(&self, address: &Address, limit: u64, progress: &dyn Progress) -> Result<Vec<u8>> {
        self.client.read(address, &[], limit, progress).map_err(|failure| refused(failure, address))
    }
}

/// What is told to whom a hub refuses a file.
fn refused(failure: Failure, address: &Address) -> anyhow::Error {
    let shown = without_credentials(&address.url);
    match failure.status() {
        Some(404) => anyhow::anyhow!(hinted(
            format!("{shown} does not exist"),
            "check owner, name and revision; what is private looks like this without a token"
        )),
        _ => failure.error.context(format!("cannot read {shown}")),
    }
}

/// SHA-256 and size of a file as its headers say them, in the way of Python's `huggingface_hub`: the tag of a file that
/// Git keeps outside of itself is its SHA-256, with or without the `X-Linked-` of a hub that redirects.
pub(crate) fn linked(headers: &HeaderMap) -> Option<Digest> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let said = |tag, size| {
        let tag = text(tag)?.trim_start_matches("W/").trim_matches('"');
        Digest::from_hex(tag, text(size)?.parse().ok()?).ok()
    };
    said("x-linked-etag", "x-linked-size").or_else(|| said("etag", "content-length"))
}

/// Whether a name is that of a file at the top of a repository, in letters that need no quoting anywhere.
pub(crate) fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    !name.is_empty() && name.len() <= 200 && !name.starts_with(['.', '-']) && name.bytes().all(plain)
}

/// The address of a locked file. Errors: `source` is not of a hub.
pub(crate) fn address(hub: &Hub, source: &Source) -> Result<Address> {
    match source {
        Source::HuggingFace { repository, revision, file } => Ok(hub.file(repository, revision, file)),
        _ => bail!("this is not a file of a hub"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderName;

    #[test]
    fn headers_say_what_a_large_file_is() {
        let digest = Digest::of(b"weights");
        let (hex, other) = (digest.hex(), Digest::of(b"a redirection").hex());
        let found = |pairs: &[(&'static str, &str)]| {
            let header = |(name, value): &(&'static str, &str)| {
                (HeaderName::from_static(name), value.parse().unwrap())
            };
            linked(&pairs.iter().map(header).collect())
        };
        let quoted = format!("\"{hex}\"");
        let linked =
            [("x-linked-etag", &*quoted), ("x-linked-size", "7"), ("etag", &other), ("content-length", "3")];
        assert_eq!(found(&linked), Some(digest));
        assert_eq!(found(&[("etag", &format!("W/{quoted}")), ("content-length", "7")]), Some(digest));
        // Git's own files have its SHA-1.
        let git = "\"0123456789abcdef0123456789abcdef01234567\"";
        for wrong in [
            &[("x-linked-etag", git), ("x-linked-size", "7")][..],
            &[("x-linked-etag", &quoted)],
            &[("etag", &quoted), ("content-length", "-7")],
            &[],
        ] {
            assert_eq!(found(wrong), None);
        }
    }

    #[test]
    fn licenses_are_named_as_model_cards_name_them() {
        let license = |text: &str| serde_json::from_str::<Card>(text).unwrap().license();
        assert_eq!(license(r#"{"license": "apache-2.0"}"#), "apache-2.0");
        assert_eq!(license(r#"{"license": "other", "license_name": "qwen-research"}"#), "qwen-research");
        assert_eq!(license(r#"{"license": "other"}"#), "other");
        assert_eq!(license("{}"), "unknown");
    }
}

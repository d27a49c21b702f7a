//! Descriptors and manifests (OCI image specification 1.1).

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::Digest;

/// The media type of manifests.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of lists of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What a manifest without a configuration has for one: `{}`.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// What a manifest says of a blob or another manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// `sha256:HEX`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// More about it; `org.opencontainers.image.title` is a file's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In lists: what the manifest says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// The annotation that is a file's name.
const TITLE: &str = "org.opencontainers.image.title";

impl Descriptor {
    /// Of some content.
    pub fn new(media_type: &str, content: &Digest) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{}", content.hex()),
            size: content.size,
            annotations: BTreeMap::new(),
            artifact_type: None,
        }
    }

    /// With the name of a file.
    #[must_use]
    pub fn titled(mut self, title: &str) -> Self {
        self.annotations.insert(TITLE.to_owned(), title.to_owned());
        self
    }

    /// The name of the file that it is.
    pub fn title(&self) -> Option<&str> {
        self.annotations.get(TITLE).map(String::as_str)
    }

    /// # Errors
    /// If the digest is not a SHA-256.
    pub fn content(&self) -> Result<Digest> {
        let hex = self.digest.strip_prefix("sha256:");
        let hex = hex.with_context(|| format!("`{}` is not a SHA-256", self.digest.escape_debug()))?;
        Digest::from_hex(hex, self.size)
    }
}

/// A manifest: what belongs together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    media_type: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// For those who run it; of ours, empty or what cosign wants to see.
    pub config: Descriptor,
    /// Its files.
    pub layers: Vec<Descriptor>,
    /// What it says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
}

impl Manifest {
    /// A manifest of some kind of artifact.
    pub fn new(artifact_type: &str, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: Some(artifact_type.to_owned()),
            config: Descriptor::new(EMPTY, &Digest::of(b"{}")),
            layers,
            subject: None,
        }
    }

    /// The one text of it. Nothing in it is of a time or a machine, so that its digest is known before it is pushed.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).context("cannot write a manifest")
    }

    /// Reads what a registry sends.
    ///
    /// # Errors
    /// If it is not a manifest of version 2.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(bytes).context("it is not a manifest")?;
        ensure!(
            manifest.schema_version == 2 && manifest.media_type == MANIFEST,
            "it is not a manifest of version 2"
        );
        Ok(manifest)
    }
}

/// A list of manifests: who refers to something, where the registry does not keep account itself.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    schema_version: u32,
    media_type: String,
    pub(super) manifests: Vec<Descriptor>,
}

impl Index {
    pub(super) fn new() -> Self {
        Self { schema_version: 2, media_type: INDEX.to_owned(), manifests: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_one_text_and_so_one_digest() {
        let layer = Descriptor::new("text/plain", &Digest::of(b"x")).titled("SHA256SUMS");
        let manifest = Manifest::new("application/vnd.mlc-repro.release.v1+json", vec![layer]);
        let text = String::from_utf8(manifest.bytes().unwrap()).unwrap();
        assert_eq!(
            text,
            format!(
                "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"artifactType\":\"application/vnd.mlc-repro.release.v1+json\",\
                 \"config\":{{\"mediaType\":\"{EMPTY}\",\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2}},\
                 \"layers\":[{{\"mediaType\":\"text/plain\",\"digest\":\"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\",\"size\":1,\
                 \"annotations\":{{\"org.opencontainers.image.title\":\"SHA256SUMS\"}}}}]}}"
            )
        );
        assert_eq!(Manifest::read(text.as_bytes()).unwrap(), manifest);
        for wrong in
            ["", "[]", "{}", &text.replace(":2,", ":1,"), &text.replace("\"layers\"", "\"manifests\"")]
        {
            assert!(Manifest::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

//! Releases in a registry (OCI distribution specification 1.1).
//!
//! The files of a release are the layers of one manifest, with their paths as titles: `oras pull` gives the directory, and
//! `sha256sum -c` checks it. Nothing in the manifest is of a time, a machine or a registry, so that its digest is known before.
//! What is said about a release later (provenance, signatures) is not part of it: it refers to the manifest, and so does not
//! change it. Provenance stands under cosign's tag as well, since cosign asks for nothing else. The bill of materials is one of the files,
//! and refers to the manifest for those who look for one.

mod fetch;

pub use fetch::{Fetched, fetch_oci, read_oci};

use crate::{
    Manifest,
    provenance::CHECKSUMS_SIGNATURE,
    verify::{Found, list},
};
use anyhow::{Context, Result, ensure};
use input::{Descriptor, OciContent, OciManifest, Registry};
use serde::Deserialize;
use signature::Envelope;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
};
use store::{Digest, Progress, Unit};

/// What a release is called among artifacts.
pub const ARTIFACT_TYPE: &str = "application/vnd.mlc-repro.release.v1+json";
/// An envelope of statements.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// A bill of materials.
const BOM: &str = "application/vnd.cyclonedx+json";
/// A signature of the checksums, as minisign has it.
const MINISIGN: &str = "application/vnd.mlc-repro.minisign.v1";
/// A bundle of signatures over the files of a model. The type that bundles have elsewhere is for those about the manifest that
/// they refer to, and programs that look for such take nothing else.
const MODEL_SIGNATURE: &str = "application/vnd.mlc-repro.model-signature.v1+json";

/// How many files a release in a registry may have.
const MOST_FILES: usize = 100_000;
/// The largest envelope or bill of materials, in bytes.
const LARGEST_SAID: u64 = 64 << 20;

/// What belongs to a release in a registry.
struct Contents {
    manifest: OciManifest,
    /// Paths of what is said about it, with the kind of artifact.
    said: Vec<(String, &'static str)>,
}

/// The digest that the manifest of a release has in every registry, in hexadecimal.
///
/// # Errors
/// If the directory can't be read.
pub fn oci_digest(directory: &Path) -> Result<String> {
    let (manifest, json) = of_directory(directory)?;
    Ok(image_digest(&manifest, &json)?.hex())
}

/// The same, by what stands in `release.json`. The release's statement names it, so that who finds the release in a registry can
/// check the signatures with what the registry says alone.
pub(crate) fn image_digest(manifest: &Manifest, json: &str) -> Result<Digest> {
    Ok(Digest::of(&image(manifest, json).bytes()?))
}

/// What a release is in a registry.
fn image(manifest: &Manifest, json: &str) -> OciManifest {
    let layers = manifest.whole(json).into_values().map(|file| Descriptor {
        digest: format!("sha256:{}", file.sha256),
        size: file.size,
        ..Descriptor::new(media_type(&file.path), &Digest::of(b"")).titled(&file.path)
    });
    OciManifest::new(ARTIFACT_TYPE, layers.collect())
}

/// The manifest of a release directory, and its text.
fn of_directory(directory: &Path) -> Result<(Manifest, String)> {
    let path = directory.join("release.json");
    let json = String::from_utf8(small_file(&path)?);
    let json = json.ok().with_context(|| format!("{} is not text", path.display()))?;
    let manifest = serde_json::from_str(&json)
        .with_context(|| format!("{} is not the manifest of a release", path.display()))?;
    Ok((manifest, json))
}

/// What a file is that was made after the release, by its path.
fn kind_of_said(path: &str) -> Option<&'static str> {
    match path.strip_prefix("provenance/") {
        Some(name) if name.ends_with(".intoto.jsonl") => Some(ENVELOPE),
        Some(name) if name.ends_with(".sig") => Some(MODEL_SIGNATURE),
        None if path == CHECKSUMS_SIGNATURE => Some(MINISIGN),
        _ => None,
    }
}

/// Whether a file is of the release itself. What is signed later is said about it.
fn is_of_release(path: &str) -> bool {
    !path.starts_with("provenance/") && !path.ends_with(".minisig")
}

fn contents(directory: &Path) -> Result<Contents> {
    let (manifest, json) = of_directory(directory)?;
    let mut said = Vec::new();
    said.extend(manifest.bom.as_ref().map(|bom| (bom.path.clone(), BOM)));
    for (path, found) in list(directory)? {
        if let (Some(kind), Found::File(_)) = (kind_of_said(&path), found) {
            said.push((path, kind));
        }
    }
    Ok(Contents { manifest: image(&manifest, &json), said })
}

fn media_type(path: &str) -> &'static str {
    let is = |end: &str| path.ends_with(end);
    match () {
        () if is(".tar.gz") => "application/gzip",
        () if is(".zip") || is(".whl") => "application/zip",
        () if is(".json") => "application/json",
        () if path == "SHA256SUMS" || is(".txt") || path.starts_with("licenses/") => "text/plain",
        () => "application/octet-stream",
    }
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Published {
    /// The SHA-256 of the manifest, in hexadecimal.
    pub sha256: String,
    /// Files that were sent.
    pub sent: usize,
    /// Files that were there.
    pub there: usize,
    /// What refers to it: paths.
    pub referrers: Vec<String>,
}

/// Sends a release that was verified to a registry. What it has already is not sent again.
///
/// # Errors
/// If the directory is not read as it was verified, or the registry does not take it.
pub fn publish_oci(
    directory: &Path,
    registry: &Registry,
    tag: Option<&str>,
    progress: &dyn Progress,
) -> Result<Published> {
    let Contents { manifest, said } = contents(directory)?;
    let mut published = Published { sha256: String::new(), sent: 0, there: 0, referrers: Vec::new() };
    let total = manifest.layers.iter().map(|layer| layer.size).sum();
    let meter = progress.begin("publishing", total, Unit::Bytes);
    let mut done = BTreeSet::new();
    for layer in &manifest.layers {
        let digest = layer.content()?;
        if done.insert(digest) {
            let path = directory.join(layer.title().context("a layer has a file")?);
            let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            let sent = registry.push_blob(&digest, &OciContent::File(file))?;
            *(if sent { &mut published.sent } else { &mut published.there }) += 1;
        }
        meter.add(layer.size);
    }
    let subject = registry.push_manifest(&manifest, None)?;
    let subject = Descriptor { artifact_type: None, ..subject };
    published.sha256 = subject.content()?.hex();
    let (mut envelopes, mut referrers) = (Vec::new(), Vec::new());
    for (path, kind) in said {
        let bytes = small_file(&directory.join(&path))?;
        let digest = Digest::of(&bytes);
        registry.push_blob(&digest, &OciContent::Bytes(&bytes))?;
        let layer = Descriptor::new(kind, &digest).titled(&path);
        referrers.push(OciManifest::new(kind, vec![layer]));
        if kind == ENVELOPE {
            let statement = statement(&bytes).with_context(|| format!("cannot publish `{path}`"))?;
            // cosign takes what names the manifest, and reports all else as not being about it.
            if statement.is_about(&published.sha256) {
                let mut layer = Descriptor::new(ENVELOPE, &digest);
                layer.annotations.insert("dev.cosignproject.cosign/signature".to_owned(), String::new());
                layer.annotations.insert("predicateType".to_owned(), statement.predicate_type);
                envelopes.push(layer);
            }
        }
        published.referrers.push(path);
    }
    let unlisted = registry.push_referrers(&subject, referrers)?;
    registry.until_it_stays(&mut || {
        let listed = registry.list_referrers(&subject, &unlisted)?;
        Ok(attach_for_cosign(registry, &published.sha256, &envelopes)? || listed)
    })?;
    // Last: whoever asks for the tag finds everything, or what was there before.
    if tag.is_some() {
        registry.push_manifest(&manifest, tag)?;
    }
    Ok(published)
}

/// Adds envelopes to what cosign reads: an image at a tag of its own, whose layers are envelopes. What others put there stays.
/// Whether any lacked.
fn attach_for_cosign(registry: &Registry, hex: &str, envelopes: &[Descriptor]) -> Result<bool> {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let tag = format!("sha256-{hex}.att");
    let mut layers = registry.tagged(&tag)?.map(|there| there.layers).unwrap_or_default();
    let is_there = |it: &&Descriptor| layers.iter().any(|there| there.digest == it.digest);
    let lacking: Vec<_> = envelopes.iter().filter(|it| !is_there(it)).cloned().collect();
    if lacking.is_empty() {
        return Ok(false);
    }
    layers.extend(lacking);
    let hashes: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let history: Vec<_> = layers.iter().map(|_| serde_json::json!({ "created": NEVER })).collect();
    let configuration = serde_json::to_vec(&serde_json::json!({
        "architecture": "", "config": {}, "created": NEVER, "history": history, "os": "",
        "rootfs": { "diff_ids": hashes, "type": "layers" },
    }))?;
    let digest = Digest::of(&configuration);
    let mut manifest = OciManifest::new(ARTIFACT_TYPE, layers);
    manifest.artifact_type = None;
    manifest.config = Descriptor::new("application/vnd.oci.image.config.v1+json", &digest);
    registry.push_blob(&digest, &OciContent::Bytes(&configuration))?;
    registry.push_manifest(&manifest, Some(&tag))?;
    Ok(true)
}

/// What is looked at of the statement in an envelope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

impl Statement {
    fn is_about(&self, hex: &str) -> bool {
        self.subject.iter().any(|subject| subject.digest.get("sha256").is_some_and(|it| it == hex))
    }
}

fn statement(envelope: &[u8]) -> Result<Statement> {
    let text = std::str::from_utf8(envelope).context("it is not text")?;
    let envelope = Envelope::parse(text)?;
    serde_json::from_slice(envelope.payload()).context("its payload is not a statement")
}

fn small_file(path: &Path) -> Result<Vec<u8>> {
    let reading = || format!("cannot read {}", path.display());
    let size = std::fs::symlink_metadata(path).with_context(reading)?.len();
    ensure!(size <= LARGEST_SAID, "{} is too large ({size} bytes, at most {LARGEST_SAID})", path.display());
    std::fs::read(path).with_context(reading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attest, example, write};
    use signature::SecretKey;

    /// Whoever has a registry's answer alone can check the signatures: the manifest is one of the things that the release's
    /// statement is about, and of no other statement.
    #[test]
    fn the_statement_of_a_release_names_what_it_is_in_a_registry() {
        let (directory, store, manifest) = example::release();
        let path = directory.path().join("dist/test");
        write(&store, &manifest, &path).unwrap();
        let before = oci_digest(&path).unwrap();
        attest(&path, &SecretKey::from_seed([1; 32]), None).unwrap();
        assert_eq!(oci_digest(&path).unwrap(), before, "what is said about a release does not change it");
        let Contents { manifest, said } = contents(&path).unwrap();
        for layer in &manifest.layers {
            let file = path.join(layer.title().unwrap());
            assert_eq!(layer.content().unwrap(), Digest::of_file(&file).unwrap(), "{}", file.display());
        }
        let about: Vec<_> = said
            .iter()
            .filter(|(path, kind)| *kind == ENVELOPE && path.ends_with(".intoto.jsonl"))
            .filter(|(name, _)| statement(&small_file(&path.join(name)).unwrap()).unwrap().is_about(&before))
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!((said.len(), about), (5, vec!["provenance/release.intoto.jsonl"]));
    }

    #[test]
    fn what_an_envelope_is_about_is_read_from_its_statement() {
        let about = |payload: &str| {
            let mut envelope = Envelope::new(payload.as_bytes());
            envelope.sign(&SecretKey::from_seed([1; 32]));
            statement(envelope.to_text().as_bytes())
        };
        let found = about(r#"{"predicateType":"x","subject":[{"digest":{"sha256":"ab"}}],"y":1}"#).unwrap();
        assert!(found.predicate_type == "x" && found.is_about("ab") && !found.is_about("abc"));
        for wrong in ["", "{}", "[]", r#"{"predicateType":"x"}"#] {
            assert!(about(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "{}", r#"{"payload":"!","payloadType":"x","signatures":[]}"#] {
            assert!(statement(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

//! Releases in a registry (OCI distribution specification 1.1).
//!
//! The files of a release are the layers of one manifest, with their paths as titles: `oras pull` gives the directory, and
//! `sha256sum -c` checks it. Nothing in the manifest is of a time, a machine or a registry, so that its digest is known before.
//! What is said about a release later (provenance, signatures) is no part of it: provenance refers to the manifest, and so does not
//! change it, and stands under cosign's tag as well, since cosign asks for nothing else. The bill of materials is one of the files,
//! and refers to the manifest for those who look for one.

use crate::{
    Manifest, Problem,
    names::{folded, why_unsafe},
    verify,
    verify::{Found, list},
};
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use input::{Descriptor, OciContent, OciManifest, OciReference, Registry};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
};
use store::{Digest, Progress, Unit, sync_directory};

/// What a release is called among artifacts.
pub const ARTIFACT_TYPE: &str = "application/vnd.mlc-repro.release.v1+json";
/// An envelope of statements.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// A bill of materials.
const BOM: &str = "application/vnd.cyclonedx+json";
const BOM_FILE: &str = "bom.cdx.json";

/// How many files a release in a registry may have.
const MOST_FILES: usize = 100_000;
/// The largest envelope or bill of materials, in bytes.
const LARGEST_SAID: u64 = 64 << 20;

/// What belongs to a release in a registry.
struct Contents {
    manifest: OciManifest,
    /// The files, by their digests in hexadecimal.
    files: BTreeMap<String, String>,
    /// Paths of what is said about it, with the kind of artifact.
    said: Vec<(String, &'static str)>,
}

/// The digest that the manifest of a release has in every registry, in hexadecimal.
///
/// # Errors
/// If the directory can't be read.
pub fn oci_digest(directory: &Path) -> Result<String> {
    Ok(Digest::of(&contents(directory)?.manifest.bytes()?).hex())
}

fn is_provenance(path: &str) -> bool {
    path.starts_with("provenance/") && path.ends_with(".intoto.jsonl")
}

/// Whether a file is of the release itself. What is signed later is said about it.
fn is_of_release(path: &str) -> bool {
    !path.starts_with("provenance/") && !path.ends_with(".minisig")
}

fn contents(directory: &Path) -> Result<Contents> {
    let (mut files, mut layers, mut said) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (path, found) in list(directory)? {
        if found == Found::Directory {
            continue;
        }
        if path == BOM_FILE {
            said.push((path.clone(), BOM));
        }
        if is_provenance(&path) {
            said.push((path, ENVELOPE));
        } else if is_of_release(&path) {
            let digest = Digest::of_file(&directory.join(&path))?;
            layers.push(Descriptor::new(media_type(&path), &digest).titled(&path));
            files.insert(digest.hex(), path);
        }
    }
    Ok(Contents { manifest: OciManifest::new(ARTIFACT_TYPE, layers), files, said })
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
    let Contents { manifest, files, said } = contents(directory)?;
    let mut published = Published { sha256: String::new(), sent: 0, there: 0, referrers: Vec::new() };
    let total = manifest.layers.iter().map(|layer| layer.size).sum();
    let meter = progress.begin("publishing", total, Unit::Bytes);
    let mut done = BTreeSet::new();
    for layer in &manifest.layers {
        let digest = layer.content()?;
        if done.insert(digest) {
            let path = files.get(&digest.hex()).context("a layer has a file")?;
            let path = directory.join(path);
            let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            let sent = registry.push_blob(&digest, &OciContent::File(file))?;
            *(if sent { &mut published.sent } else { &mut published.there }) += 1;
        }
        meter.add(layer.size);
    }
    let subject = registry.push_manifest(&manifest, tag)?;
    let subject = Descriptor { artifact_type: None, ..subject };
    published.sha256 = subject.content()?.hex();
    let mut envelopes = Vec::new();
    for (path, kind) in said {
        let bytes = small_file(&directory.join(&path))?;
        let digest = Digest::of(&bytes);
        registry.push_blob(&digest, &OciContent::Bytes(&bytes))?;
        let layer = Descriptor::new(kind, &digest).titled(&path);
        let mut referrer = OciManifest::new(kind, vec![layer]);
        referrer.subject = Some(subject.clone());
        registry.push_manifest(&referrer, None)?;
        if kind == ENVELOPE {
            let predicate = predicate_type(&bytes).with_context(|| format!("cannot publish `{path}`"))?;
            envelopes.push((digest, predicate));
        }
        published.referrers.push(path);
    }
    if !envelopes.is_empty() {
        let tag = format!("sha256-{}.att", published.sha256);
        let (manifest, configuration) = attestations(&envelopes)?;
        registry.push_blob(&manifest.config.content()?, &OciContent::Bytes(&configuration))?;
        registry.push_manifest(&manifest, Some(&tag))?;
    }
    Ok(published)
}

/// What cosign reads: an image whose layers are envelopes. Gives its configuration as well.
fn attestations(envelopes: &[(Digest, String)]) -> Result<(OciManifest, Vec<u8>)> {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let hashes: Vec<String> =
        envelopes.iter().map(|(digest, _)| format!("sha256:{}", digest.hex())).collect();
    let history: Vec<_> = envelopes.iter().map(|_| serde_json::json!({ "created": NEVER })).collect();
    let configuration = serde_json::to_vec(&serde_json::json!({
        "architecture": "", "config": {}, "created": NEVER, "history": history, "os": "",
        "rootfs": { "diff_ids": hashes, "type": "layers" },
    }))?;
    let layers = envelopes.iter().map(|(digest, predicate)| {
        let mut layer = Descriptor::new(ENVELOPE, digest);
        layer.annotations.insert("dev.cosignproject.cosign/signature".to_owned(), String::new());
        layer.annotations.insert("predicateType".to_owned(), predicate.clone());
        layer
    });
    let mut manifest = OciManifest::new(ARTIFACT_TYPE, layers.collect());
    manifest.artifact_type = None;
    manifest.config =
        Descriptor::new("application/vnd.oci.image.config.v1+json", &Digest::of(&configuration));
    Ok((manifest, configuration))
}

/// What the statement in an envelope is about.
fn predicate_type(envelope: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    struct Envelope {
        payload: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Statement {
        predicate_type: String,
    }
    let envelope: Envelope = serde_json::from_slice(envelope).context("it is not an envelope")?;
    let payload = STANDARD.decode(envelope.payload).context("its payload is not base64")?;
    let statement: Statement = serde_json::from_slice(&payload).context("its payload is not a statement")?;
    Ok(statement.predicate_type)
}

fn small_file(path: &Path) -> Result<Vec<u8>> {
    let reading = || format!("cannot read {}", path.display());
    let size = std::fs::symlink_metadata(path).with_context(reading)?.len();
    ensure!(size <= LARGEST_SAID, "{} is too large ({size} bytes, at most {LARGEST_SAID})", path.display());
    std::fs::read(path).with_context(reading)
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it is.
    pub manifest: Manifest,
    /// What is said about it, and was fetched as well: paths.
    pub said: Vec<String>,
}

/// Fetches a release by the digest of its manifest. The directory is finished, verified and synced beside `destination`, and
/// renamed. Nobody's word is taken for a name, a size or a digest; who may say something about the release is not looked at
/// here.
///
/// # Errors
/// If something stands at `destination`; if what the registry has is not a release that passes verification.
pub fn fetch_oci(
    reference: &OciReference,
    registry: &Registry,
    destination: &Path,
    progress: &dyn Progress,
) -> Result<Fetched> {
    let hex = reference.sha256.as_ref().context(
        "a release is fetched by its digest, since a tag may be given to another one at any time\n  hint: oci://HOST/NAME@sha256:HEX, as `publish` prints it",
    )?;
    ensure!(
        std::fs::symlink_metadata(destination).is_err(),
        "{} exists\n  hint: move it away, or choose another directory",
        destination.display()
    );
    let parent = destination.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let (manifest, subject) = registry.manifest(hex)?;
    let layers = checked_layers(&manifest)?;
    let total = layers.iter().fold(0u64, |sum, (_, digest)| sum.saturating_add(digest.size));
    require_space(parent, total)?;
    let scratch = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot write to {}", parent.display()))?;
    let new = scratch.path().join("new");
    let meter = progress.begin("fetching the release", total, Unit::Bytes);
    for (path, digest) in &layers {
        pull(registry, digest, &new.join(path))?;
        meter.add(digest.size);
    }
    drop(meter);
    let mut said = Vec::new();
    for (path, digest) in said_about(registry, &subject, progress)? {
        pull(registry, &digest, &new.join(&path))?;
        said.push(path);
    }
    let verdict = verify(&new, None)?;
    if !verdict.passes() {
        let problems: Vec<String> = verdict.problems.iter().map(Problem::to_string).collect();
        bail!("what {} has is not a sound release:\n  {}", reference.server(), problems.join("\n  "));
    }
    let text = std::fs::read_to_string(new.join("release.json")).context("the release has no manifest")?;
    let manifest = serde_json::from_str(&text).context("the release has no manifest")?;
    for directory in list(&new)?.iter().filter(|(_, found)| **found == Found::Directory) {
        sync_directory(&new.join(directory.0))?;
    }
    sync_directory(&new)?;
    std::fs::rename(&new, destination).with_context(|| format!("cannot write {}", destination.display()))?;
    sync_directory(parent)?;
    Ok(Fetched { manifest, said })
}

/// The files of a release by its manifest. Errors: it is none, or a title is no path that is one file on every system.
fn checked_layers(manifest: &OciManifest) -> Result<Vec<(String, Digest)>> {
    ensure!(
        manifest.artifact_type.as_deref() == Some(ARTIFACT_TYPE),
        "the manifest is not that of a release, but of `{}`",
        manifest.artifact_type.as_deref().unwrap_or("nothing in particular").escape_debug()
    );
    ensure!(manifest.layers.len() <= MOST_FILES, "the release has more than {MOST_FILES} files");
    let mut names = BTreeSet::new();
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        let path = layer.title().context("a file of the release has no title")?;
        let shown = path.escape_debug();
        if let Some(why) = why_unsafe(path) {
            bail!("the file `{shown}` of the release can't be written: {why}");
        }
        ensure!(is_of_release(path), "`{shown}` is said about a release, and is no part of one");
        ensure!(names.insert(folded(path)), "two files of the release are `{shown}` on some systems");
        layers.push((path.to_owned(), layer.content()?));
    }
    for path in &names {
        let mut above = path.as_str();
        while let Some((directory, _)) = above.rsplit_once('/') {
            ensure!(
                !names.contains(directory),
                "`{}` is a file of the release, and a directory",
                directory.escape_debug()
            );
            above = directory;
        }
    }
    Ok(layers)
}

/// What others say about a release, by its path: provenance. The bill of materials is one of the release's files, whatever refers
/// to it. Where two say something else at the same path, neither is taken.
fn said_about(
    registry: &Registry,
    subject: &Descriptor,
    progress: &dyn Progress,
) -> Result<Vec<(String, Digest)>> {
    let mut said: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    for referrer in registry.referrers(subject, progress)? {
        let kind = referrer.artifact_type.as_deref();
        for layer in &referrer.layers {
            let Some(path) = layer.title() else { continue };
            let belongs = kind == Some(ENVELOPE) && is_provenance(path) && path.matches('/').count() == 1;
            if !belongs || why_unsafe(path).is_some() || layer.size > LARGEST_SAID {
                continue;
            }
            said.entry(path.to_owned()).or_default().insert(layer.content()?);
        }
    }
    let mut taken = Vec::new();
    let mut names = BTreeSet::new();
    for (path, digests) in said {
        match (digests.len(), digests.first()) {
            (1, Some(digest)) if names.insert(folded(&path)) => taken.push((path, *digest)),
            _ => progress.note(&format!(
                "the registry has {} different files `{path}` about this release, and none of them is taken",
                digests.len()
            )),
        }
    }
    Ok(taken)
}

fn pull(registry: &Registry, digest: &Digest, path: &Path) -> Result<()> {
    let writing = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(path.parent().context("a file has a directory")?).with_context(writing)?;
    let mut file =
        File::options().read(true).write(true).create_new(true).open(path).with_context(writing)?;
    registry.pull_blob(digest, &mut file)?;
    file.sync_all().with_context(writing)
}

fn require_space(directory: &Path, bytes: u64) -> Result<()> {
    let status = rustix::fs::statvfs(directory)
        .with_context(|| format!("cannot look at the file system of {}", directory.display()))?;
    let free = status.f_bavail.saturating_mul(status.f_frsize);
    ensure!(
        bytes <= free,
        "the release has {} MB, and the disk of {} has {} MB free",
        bytes / 1_000_000,
        directory.display(),
        free / 1_000_000
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_that_are_no_files_of_a_release_are_refused() {
        let manifest = |titles: &[&str]| {
            let layer = |title: &&str| Descriptor::new("text/plain", &Digest::of(b"x")).titled(title);
            OciManifest::new(ARTIFACT_TYPE, titles.iter().map(layer).collect())
        };
        assert!(checked_layers(&manifest(&["release.json", "licenses/a/LICENSE", "licenses/b"])).is_ok());
        for titles in [
            &["/etc/passwd"][..],
            &["../evil"],
            &["a/../b"],
            &["a\\b"],
            &["a//b"],
            &[""],
            &["nul"],
            &["C:x"],
            &["a", "A"],
            &["a", "a"],
            &["stra\u{df}e", "STRASSE"],
            &["a", "a/b"],
            &["A", "a/b"],
            &["provenance/x.intoto.jsonl"],
            &["SHA256SUMS.minisig"],
            &["a\nb"],
            &["a\u{202e}b"],
        ] {
            assert!(checked_layers(&manifest(titles)).is_err(), "{titles:?}");
        }
        let mut other = manifest(&["release.json"]);
        other.artifact_type = Some("application/vnd.other".into());
        assert!(checked_layers(&other).is_err());
        let mut untitled = manifest(&["release.json"]);
        untitled.layers[0].annotations.clear();
        assert!(checked_layers(&untitled).is_err());
        let mut hashless = manifest(&["release.json"]);
        hashless.layers[0].digest = "md5:0".into();
        assert!(checked_layers(&hashless).is_err());
    }

    #[test]
    fn what_an_envelope_is_about_is_read_from_its_statement() {
        let payload = STANDARD.encode(r#"{"predicateType":"https://slsa.dev/provenance/v1","x":1}"#);
        let envelope = format!(r#"{{"payload":"{payload}","payloadType":"x","signatures":[]}}"#);
        assert_eq!(predicate_type(envelope.as_bytes()).unwrap(), "https://slsa.dev/provenance/v1");
        for wrong in ["", "{}", r#"{"payload":"!"}"#, r#"{"payload":"e30="}"#] {
            assert!(predicate_type(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

//! Fetching a release from a registry by the digest of its manifest.

use super::{ARTIFACT_TYPE, ENVELOPE, LARGEST_SAID, MOST_FILES, is_of_release, is_provenance, of_directory};
use crate::{
    Manifest, Problem,
    names::{folded, why_unsafe},
    provenance::{Companion, companions},
    verify,
    verify::{Found, list},
};
use anyhow::{Context, Result, bail, ensure};
use input::{Descriptor, OciManifest, OciReference, Registry};
use signature::{Envelope, PAYLOAD_TYPE};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, Write},
    path::Path,
};
use store::{Digest, Progress, Unit, sync_directory};

/// How many files with one name the referrers of a release may have.
const MOST_OF_ONE_NAME: usize = 64;

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
    let (image, subject) = registry.manifest(hex)?;
    let layers = checked_layers(&image)?;
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
    let (manifest, json) = of_directory(&new)?;
    let mut said = Vec::new();
    for (path, envelope) in said_about(registry, (&manifest, &json), &subject, progress)? {
        write(&new.join(&path), envelope.to_text().as_bytes())?;
        said.push(path);
    }
    let verdict = verify(&new, None)?;
    if !verdict.passes() {
        let problems: Vec<String> = verdict.problems.iter().map(Problem::to_string).collect();
        bail!("what {} has is not a sound release:\n  {}", reference.server(), problems.join("\n  "));
    }
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

/// What others say about a release, by its path: the signatures of all envelopes that hold the release's own statement. The bill
/// of materials is one of the release's files, whatever refers to it. What is something else is passed over, and named.
fn said_about(
    registry: &Registry,
    (manifest, json): (&Manifest, &str),
    subject: &Descriptor,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, Envelope>> {
    let statements = companions(manifest, json)?;
    let mut found: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    for referrer in registry.referrers(subject, progress)? {
        if referrer.artifact_type.as_deref() != Some(ENVELOPE) {
            continue;
        }
        for layer in &referrer.layers {
            let Some(path) = layer.title().filter(|path| is_provenance(path)) else { continue };
            if layer.size <= LARGEST_SAID {
                found.entry(path.to_owned()).or_default().insert(layer.content()?);
            }
        }
    }
    let mut said: BTreeMap<String, Envelope> = BTreeMap::new();
    for (path, digests) in found {
        let shown = path.escape_debug();
        let Some(Companion::Envelope { statement, .. }) = statements.get(&path) else {
            progress.note(&format!("the registry has `{shown}`, which this release has no place for"));
            continue;
        };
        if digests.len() > MOST_OF_ONE_NAME {
            progress.note(&format!(
                "of {} files `{shown}` in the registry, {MOST_OF_ONE_NAME} are looked at",
                digests.len()
            ));
        }
        for digest in digests.iter().take(MOST_OF_ONE_NAME) {
            let take = |there: Option<&mut Envelope>| {
                let envelope = Envelope::parse(&text(registry, digest)?)?;
                ensure!(
                    envelope.payload() == statement && envelope.payload_type() == PAYLOAD_TYPE,
                    "it is around another statement than release.json gives"
                );
                match there {
                    Some(there) => there.merge(&envelope).map(|()| None),
                    None => Ok(Some(envelope)),
                }
            };
            match take(said.get_mut(&path)) {
                Ok(Some(first)) => _ = said.insert(path.clone(), first),
                Ok(None) => {}
                Err(error) => progress.note(&format!(
                    "`{shown}` in the registry is passed over (sha256:{}): {error:#}",
                    digest.hex()
                )),
            }
        }
    }
    Ok(said)
}

/// A small blob, as text.
fn text(registry: &Registry, digest: &Digest) -> Result<String> {
    let mut file = tempfile::tempfile().context("cannot write a temporary file")?;
    registry.pull_blob(digest, &mut file)?;
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).context("it is not text")?;
    Ok(text)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let writing = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(path.parent().context("a file has a directory")?).with_context(writing)?;
    let mut file = File::options().write(true).create_new(true).open(path).with_context(writing)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(writing)
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
}

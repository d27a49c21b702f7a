//! Fetching a release from a registry by the digest of its manifest.

use super::{
    ARTIFACT_TYPE, BOM, LARGEST_SAID, MOST_FILES, image_digest, is_of_release, kind_of_said, of_directory,
};
use crate::{
    Check, Manifest, Problem, Trust,
    names::{folded, why_unsafe},
    provenance::{Companion, companions},
    verify::{Found, Signed, list},
    verify_with,
};
use anyhow::{Context, Result, bail, ensure};
use input::{Descriptor, OciManifest, OciReference, Registry};
use signature::{Envelope, Minisignature, ModelBundle, PAYLOAD_TYPE};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, Write},
    path::Path,
};
use store::{Digest, Progress, Unit, WithHint, hinted, sync_directory};

/// How many files with one name the referrers of a release may have.
const MOST_OF_ONE_NAME: usize = 64;

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it is.
    pub manifest: Manifest,
    /// What is said about it, and was fetched as well: paths.
    pub said: Vec<String>,
    /// With a policy: who signed what.
    pub signed: Vec<Signed>,
}

/// Fetches a release by the digest of its manifest. The directory is finished, verified and synced beside `destination`, and
/// renamed. Nobody's word is taken for a name, a size or a digest. Without a policy it does not matter who says something about the
/// release; with one, enough of the right keys must have signed it.
///
/// # Errors
/// If something stands at `destination`; if what the registry has is not a release that passes verification.
pub fn fetch_oci(
    (reference, registry): (&OciReference, &Registry),
    destination: &Path,
    trust: Option<&Trust>,
    progress: &dyn Progress,
) -> Result<Fetched> {
    let hex = reference.sha256.as_ref().with_hint(|| {
        hinted(
            "a release is fetched by its digest, since a tag may be given to another one at any time",
            "oci://HOST/NAME@sha256:HEX, as `publish` prints it",
        )
    })?;
    ensure!(
        std::fs::symlink_metadata(destination).is_err(),
        hinted(format!("{} exists", destination.display()), "move it away, or choose another directory")
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
    let about = About { registry, trust, progress };
    for (path, text) in about.read((&manifest, &json), &subject)? {
        write(&new.join(&path), text.as_bytes())?;
        said.push(path);
    }
    let verdict = verify_with(&new, &Check { trust, ..Check::default() })?;
    if !verdict.passes() {
        let problems: Vec<String> = verdict.problems.iter().map(Problem::to_string).collect();
        bail!("what {} has is not a sound release:\n  {}", reference.server(), problems.join("\n  "));
    }
    // Of everything that could be the same files: the signatures of the release are of this one.
    let own = image_digest(&manifest, &json)?.hex();
    ensure!(
        own == *hex,
        "what {} has are the files of a release, in another manifest than the one that they have in every registry, sha256:{own}",
        reference.server()
    );
    for directory in list(&new)?.iter().filter(|(_, found)| **found == Found::Directory) {
        sync_directory(&new.join(directory.0))?;
    }
    sync_directory(&new)?;
    std::fs::rename(&new, destination).with_context(|| format!("cannot write {}", destination.display()))?;
    sync_directory(parent)?;
    Ok(Fetched { manifest, said, signed: verdict.signed })
}

/// What the readers of what a registry has make of these bytes, as the manifest of a release and as an envelope.
#[doc(hidden)]
pub fn read_oci(bytes: &[u8]) {
    let _ = OciManifest::read(bytes).and_then(|manifest| checked_layers(&manifest));
    let _ = super::statement(bytes).map(|statement| statement.is_about(""));
}

/// The files of a release by its manifest. Errors: it is none, or a title is not a path that is one file on every system.
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
        ensure!(is_of_release(path), "`{shown}` is said about a release, and is not part of one");
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

/// What others say about a release, by its path. The bill of materials is one of the release's files, whatever refers to it. What
/// is something else is passed over, and named.
struct About<'a> {
    registry: &'a Registry,
    trust: Option<&'a Trust>,
    progress: &'a dyn Progress,
}

impl About<'_> {
    fn read(
        &self,
        (manifest, json): (&Manifest, &str),
        subject: &Descriptor,
    ) -> Result<BTreeMap<String, String>> {
        let companions = companions(manifest, json)?;
        let mut said = BTreeMap::new();
        for (path, digests) in self.found(subject)? {
            let shown = path.escape_debug();
            let text = match companions.get(&path) {
                Some(Companion::Envelope { statement, .. }) => self.envelope(&path, &digests, statement),
                Some(Companion::Checksums) => {
                    let content = manifest.checksums(json);
                    let read = |text: &str| -> Result<bool> {
                        let signature = Minisignature::parse(text)?;
                        Ok(self.trust.is_some_and(|trust| trust.signed_checksums(&signature, &content)))
                    };
                    self.one(&path, &digests, &read)
                }
                Some(Companion::Model(statement)) => {
                    let read = |text: &str| -> Result<bool> {
                        let is_of = ModelBundle::parse(text)?.is_of(statement);
                        ensure!(is_of, "it is of other files than the model has");
                        Ok(false)
                    };
                    self.one(&path, &digests, &read)
                }
                None => {
                    self.progress
                        .note(&format!("the registry has `{shown}`, which this release has no place for"));
                    None
                }
            };
            said.extend(text.map(|text| (path, text)));
        }
        Ok(said)
    }

    /// The blobs that are said to be files of these names.
    fn found(&self, subject: &Descriptor) -> Result<BTreeMap<String, BTreeSet<Digest>>> {
        let mut found: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
        for referrer in self.registry.referrers(subject, self.progress)? {
            let Some(kind) = referrer.artifact_type.as_deref().filter(|kind| *kind != BOM) else { continue };
            for layer in &referrer.layers {
                let Some(path) = layer.title().filter(|path| kind_of_said(path) == Some(kind)) else {
                    continue;
                };
                if layer.size <= LARGEST_SAID {
                    found.entry(path.to_owned()).or_default().insert(layer.content()?);
                }
            }
        }
        for (path, digests) in &found {
            if digests.len() > MOST_OF_ONE_NAME {
                self.progress.note(&format!(
                    "of {} files `{}` in the registry, {MOST_OF_ONE_NAME} are looked at",
                    digests.len(),
                    path.escape_debug()
                ));
            }
        }
        Ok(found)
    }

    fn pass_over(&self, path: &str, digest: &Digest, error: &anyhow::Error) {
        self.progress.note(&format!(
            "`{}` in the registry is passed over (sha256:{}): {error:#}",
            path.escape_debug(),
            digest.hex()
        ));
    }

    /// The signatures of all envelopes that hold the release's own statement.
    fn envelope(&self, path: &str, digests: &BTreeSet<Digest>, statement: &[u8]) -> Option<String> {
        let mut merged: Option<Envelope> = None;
        for digest in digests.iter().take(MOST_OF_ONE_NAME) {
            let mut take = || -> Result<()> {
                let envelope = Envelope::parse(&text(self.registry, digest)?)?;
                ensure!(
                    envelope.payload() == statement && envelope.payload_type() == PAYLOAD_TYPE,
                    "it is around another statement than release.json gives"
                );
                match &mut merged {
                    Some(there) => there.merge(&envelope)?,
                    None => merged = Some(envelope),
                }
                Ok(())
            };
            if let Err(error) = take() {
                self.pass_over(path, digest, &error);
            }
        }
        merged.map(|envelope| envelope.to_text())
    }

    /// One of the files by a name that can hold one signature: the first that `read` says is preferred, else the first that it can
    /// read.
    fn one(
        &self,
        path: &str,
        digests: &BTreeSet<Digest>,
        read: &dyn Fn(&str) -> Result<bool>,
    ) -> Option<String> {
        let mut sound: Vec<(bool, String)> = Vec::new();
        for digest in digests.iter().take(MOST_OF_ONE_NAME) {
            let taken = text(self.registry, digest).and_then(|text| Ok((read(&text)?, text)));
            match taken {
                Ok(taken) => sound.push(taken),
                Err(error) => self.pass_over(path, digest, &error),
            }
        }
        if sound.len() > 1 {
            let shown = path.escape_debug();
            self.progress.note(&format!(
                "the registry has {} signatures `{shown}`, and a release holds one of them",
                sound.len()
            ));
        }
        let preferred = sound.iter().position(|(preferred, _)| *preferred).unwrap_or_default();
        sound.into_iter().nth(preferred).map(|(_, text)| text)
    }
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
            &["provenance/x.sig"],
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

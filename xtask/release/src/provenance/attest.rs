//! Writing signatures beside a release.

use super::{CHECKSUMS_SIGNATURE, Companion, DIRECTORY, LARGEST, companions};
use crate::Manifest;
use anyhow::{Context, Result, ensure};
use signature::{Envelope, MODEL_SIGNATURE, Minisignature, ModelBundle, ModelKey, ModelStatement, SecretKey};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};
use store::{Digest, hinted, remove_abandoned, write_output};

/// Removes what was left beside a release by a process that was killed while it signed. Before a release is verified and signed.
///
/// # Errors
/// If a directory can't be read, or written.
pub fn clear(directory: &Path) -> Result<()> {
    let provenance = directory.join(DIRECTORY);
    // Nobody signs meanwhile. The directory of a model has no provenance, and is nobody's to lock.
    let lock = match directory.join("release.json").exists() {
        true => Some(self::lock(directory)?),
        false => None,
    };
    for place in [directory, &provenance] {
        if std::fs::symlink_metadata(place).is_ok_and(|there| there.is_dir()) {
            remove_abandoned(place)?;
        }
    }
    if lock.is_some() {
        // It fails for one that holds something: an empty one is what a kill before the first envelope left.
        let _ = std::fs::remove_dir(&provenance);
    }
    Ok(())
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attested {
    /// How many envelopes carry the signature now.
    pub envelopes: usize,
    /// Whose signature of the checksums was there already, by its key's name, when it is not the one that was to be written.
    pub other_checksums: Option<String>,
}

/// A release directory that passed [`crate::verify`], and what may stand beside its files.
struct Directory {
    path: PathBuf,
    manifest: Manifest,
    json: String,
    companions: BTreeMap<String, Companion>,
}

impl Directory {
    fn open(path: &Path) -> Result<Self> {
        let json = read(&path.join("release.json"))?
            .with_context(|| format!("{} is not a release", path.display()))?;
        let manifest: Manifest = serde_json::from_str(&json)
            .with_context(|| format!("{} has a damaged release.json", path.display()))?;
        let companions = companions(&manifest, &json)?;
        Ok(Self { path: path.to_owned(), manifest, json, companions })
    }

    fn envelopes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.companions.iter().filter_map(|(path, companion)| match companion {
            Companion::Envelope { statement, .. } => Some((path.as_str(), statement.as_slice())),
            _ => None,
        })
    }
}

/// The comment that is signed with the checksums: it binds them to the release, also for who looks at nothing else.
pub(crate) fn comment(manifest: &Manifest, json: &str) -> String {
    format!("release: {}\trelease.json: sha256:{}", manifest.name, Digest::of(json.as_bytes()).hex())
}

/// Signs a release: an envelope for each artifact, model and the whole, and the checksums. What others signed stays. The
/// directory must have passed [`crate::verify`]. With `collected`, the signatures go to that directory and not into the release.
///
/// Signing again changes nothing. A process that is killed leaves some files signed, and the next run signs the others.
///
/// # Errors
/// If a file that is there is not an envelope around the release's own statement; if the directory can't be written.
pub fn attest(directory: &Path, key: &SecretKey, collected: Option<&Path>) -> Result<Attested> {
    let release = Directory::open(directory)?;
    let _lock = lock(directory)?;
    let mut attested = Attested::default();
    let place = |path: &str| match collected {
        // Flat: the names of provenance files do not collide with the checksums' signature.
        Some(own) => own.join(path.strip_prefix(&format!("{DIRECTORY}/")).unwrap_or(path)),
        None => directory.join(path),
    };
    std::fs::create_dir_all(place(&format!("{DIRECTORY}/release")).parent().unwrap_or(directory))
        .with_context(|| format!("cannot write to {}", directory.display()))?;
    for (path, statement) in release.envelopes() {
        let place = place(path);
        let mut envelope = match read_envelope(&place, statement)? {
            Some(envelope) if collected.is_none() => envelope,
            _ => Envelope::new(statement),
        };
        envelope.sign(key);
        write_output(&place, envelope.to_text().as_bytes())?;
        attested.envelopes += 1;
    }
    let place = place(CHECKSUMS_SIGNATURE);
    let content = release.manifest.checksums(&release.json);
    match read(&place)?.map(|text| Minisignature::parse(&text)) {
        Some(Ok(there)) if !there.verifies(&key.public(), content.as_bytes()) => {
            attested.other_checksums = Some(there.key_id());
        }
        Some(Err(error)) => {
            return Err(error.context(format!("{} is not a signature", place.display())));
        }
        _ => {
            let signature =
                Minisignature::sign(key, content.as_bytes(), &comment(&release.manifest, &release.json))?;
            write_output(&place, signature.to_text("signature by mlc-repro, for minisign").as_bytes())?;
        }
    }
    Ok(attested)
}

/// Adds the signatures of other copies of a release (release directories, or a builder's directory of collected signatures) to
/// the first. Gives how many signatures its envelopes have now.
///
/// # Errors
/// If one of them is of another release; if signatures contradict each other.
pub fn merge(directory: &Path, others: &[PathBuf]) -> Result<usize> {
    let release = Directory::open(directory)?;
    let _lock = lock(directory)?;
    for other in others {
        ensure!(other.is_dir(), "{} is not a directory", other.display());
        let json = read(&other.join("release.json"))?;
        ensure!(
            json.as_ref().is_none_or(|json| *json == release.json),
            "{} is another release than {}: their release.json differ",
            other.display(),
            directory.display()
        );
    }
    let mut merged: BTreeMap<&str, Envelope> = BTreeMap::new();
    let mut count = 0;
    for (path, statement) in release.envelopes() {
        let places = std::iter::once(directory).chain(others.iter().map(PathBuf::as_path));
        for place in places.map(|directory| placed(directory, path)) {
            let Some(envelope) = read_envelope(&place, statement)? else { continue };
            match merged.get_mut(path) {
                Some(there) => {
                    there.merge(&envelope).with_context(|| format!("cannot add {}", place.display()))?;
                }
                None => _ = merged.insert(path, envelope),
            }
        }
    }
    // Everything was read, so nothing is left half merged by a file that can't be.
    std::fs::create_dir_all(directory.join(DIRECTORY))
        .with_context(|| format!("cannot write to {}", directory.display()))?;
    for (path, envelope) in &merged {
        write_output(&directory.join(path), envelope.to_text().as_bytes())?;
        count += envelope.signatures().len();
    }
    let own = directory.join(CHECKSUMS_SIGNATURE);
    for other in others {
        if let (None, Some(text)) = (read(&own)?, read(&other.join(CHECKSUMS_SIGNATURE))?) {
            Minisignature::parse(&text).with_context(|| {
                format!("{} is not a signature", other.join(CHECKSUMS_SIGNATURE).display())
            })?;
            write_output(&own, text.as_bytes())?;
        }
    }
    Ok(count)
}

/// Where an envelope is: in a release, or flat in a builder's directory of collected signatures.
fn placed(directory: &Path, path: &str) -> PathBuf {
    match directory.join("release.json").exists() {
        true => directory.join(path),
        false => directory.join(path.strip_prefix(&format!("{DIRECTORY}/")).unwrap_or(path)),
    }
}

/// Signs the models of a release, each by a file beside the envelopes. Gives how many there are.
///
/// # Errors
/// If the directory can't be written.
pub fn sign_models(directory: &Path, key: &ModelKey) -> Result<usize> {
    let release = Directory::open(directory)?;
    let _lock = lock(directory)?;
    let mut count = 0;
    for (path, companion) in &release.companions {
        let Companion::Model(statement) = companion else { continue };
        std::fs::create_dir_all(directory.join(DIRECTORY))
            .with_context(|| format!("cannot write to {}", release.path.display()))?;
        write_model(&release.path.join(path), statement, key)?;
        count += 1;
    }
    Ok(count)
}

/// Signs the files of a directory that is a model, as [`MODEL_SIGNATURE`] in it.
///
/// # Errors
/// If it holds something else than files and directories, or can't be written.
pub fn sign_model(directory: &Path, key: &ModelKey) -> Result<PathBuf> {
    clear(directory)?;
    let statement = model_statement(directory)?;
    let place = directory.join(MODEL_SIGNATURE);
    write_model(&place, &statement, key)?;
    Ok(place)
}

/// What a signature says of a directory.
pub(crate) fn model_statement(directory: &Path) -> Result<ModelStatement> {
    let directory =
        directory.canonicalize().with_context(|| format!("cannot read {}", directory.display()))?;
    let name = directory
        .file_name()
        .and_then(|name| name.to_str())
        .context("the directory of a model has a name")?;
    let mut files = BTreeMap::new();
    for (path, found) in crate::verify::list(&directory)? {
        match found {
            crate::verify::Found::Directory => {}
            crate::verify::Found::File(_) if !path.contains('\0') => {
                let digest = Digest::of_file(&directory.join(&path))?;
                files.insert(path, digest.hex());
            }
            _ => anyhow::bail!("`{}` is neither a file nor a directory", path.escape_debug()),
        }
    }
    files.remove(MODEL_SIGNATURE);
    ensure!(!files.is_empty(), "{} holds no file", directory.display());
    Ok(ModelStatement { name: name.to_owned(), files })
}

/// ECDSA makes another signature each time: one that is there and right stays.
fn write_model(place: &Path, statement: &ModelStatement, key: &ModelKey) -> Result<()> {
    if let Some(Ok(there)) = read(place)?.map(|text| ModelBundle::parse(&text))
        && there.is_of(statement)
        && there.verifies(&key.public_pem())?
    {
        return Ok(());
    }
    write_output(place, key.sign(statement)?.to_text().as_bytes())
}

/// An envelope that is there. Errors: it is none, or around another statement.
fn read_envelope(place: &Path, statement: &[u8]) -> Result<Option<Envelope>> {
    let Some(text) = read(place)? else { return Ok(None) };
    let envelope = Envelope::parse(&text).with_context(|| format!("cannot use {}", place.display()))?;
    ensure!(
        envelope.payload() == statement && envelope.payload_type() == signature::PAYLOAD_TYPE,
        hinted(
            format!("{} is around another statement than release.json gives", place.display()),
            "it is of another release or another version of this program"
        )
    );
    Ok(Some(envelope))
}

/// A regular file's text, or nothing where there is none. Errors: it is something else, or too long.
pub(crate) fn read(path: &Path) -> Result<Option<String>> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        metadata => metadata.with_context(|| format!("cannot look at {}", path.display()))?,
    };
    ensure!(metadata.is_file(), "{} is not a regular file", path.display());
    ensure!(metadata.len() <= LARGEST, "{} is too large ({} bytes)", path.display(), metadata.len());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_string(&mut text))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(text))
}

/// Two processes that add signatures take turns, and none writes a release meanwhile.
fn lock(directory: &Path) -> Result<File> {
    let directory =
        directory.canonicalize().with_context(|| format!("cannot read {}", directory.display()))?;
    let parent = directory.parent().context("a release directory has a name")?;
    crate::directory::lock(parent)
}

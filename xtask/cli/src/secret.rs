//! Where secret keys and passphrases come from: files and the environment. None of them is an argument, and none is shown.

use anyhow::{Context, Result, bail, ensure};
use signature::{ModelKey, Passphrase, SecretKey};
use std::{
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use store::{Progress, WithHint, hinted, open_regular};
use zeroize::Zeroizing;

/// Holds the text of a key.
const KEY: &str = "MLC_REPRO_KEY";
/// Holds a passphrase.
const PASSPHRASE: &str = "MLC_REPRO_PASSPHRASE";
/// The most that a key or passphrase may have, in bytes.
const LARGEST: u64 = 64 << 10;

/// Where passphrases come from.
#[derive(Default)]
pub struct Passphrases {
    /// A file whose first line is one.
    pub file: Option<PathBuf>,
}

impl Passphrases {
    /// The passphrase that was given, if any.
    ///
    /// # Errors
    /// If the file can't be read, or is empty.
    pub fn find(&self) -> Result<Option<Passphrase>> {
        if let Some(path) = &self.file {
            let text = read(path)?;
            let line = text.lines().next().unwrap_or_default();
            ensure!(!line.is_empty(), "{} has no passphrase on its first line", path.display());
            return Ok(Some(Zeroizing::new(line.to_owned())));
        }
        variable(PASSPHRASE)
    }

    fn wanted(&self) -> Result<Passphrase> {
        self.find()?.with_hint(|| {
            hinted(
                "the key is encrypted",
                format!("give its passphrase in a file with `--passphrase-file`, or in {PASSPHRASE}"),
            )
        })
    }
}

/// A variable that is set and not empty. Errors: it is not UTF-8; the message does not repeat it.
fn variable(name: &str) -> Result<Option<Zeroizing<String>>> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("{name} is not text"),
    }
}

/// Whether the environment holds a key.
pub fn is_in_environment() -> bool {
    std::env::var_os(KEY).is_some_and(|text| !text.is_empty())
}

/// The key of a file, or of the environment.
pub fn key(path: Option<&Path>, passphrases: &Passphrases, progress: &dyn Progress) -> Result<SecretKey> {
    let (text, whose) = match path {
        Some(path) => (guarded(path, progress)?, path.display().to_string()),
        None => {
            let text = variable(KEY)?.with_hint(|| {
                hinted(
                    "there is no key to sign with",
                    format!("give `--key FILE` or {KEY}; `cargo xtask attest keygen NAME` makes one"),
                )
            })?;
            (text, KEY.to_owned())
        }
    };
    SecretKey::parse(&text, &mut || passphrases.wanted()).with_context(|| format!("cannot sign with {whose}"))
}

/// The key of a file that signs models.
pub fn model_key(path: &Path, passphrases: &Passphrases, progress: &dyn Progress) -> Result<ModelKey> {
    let text = guarded(path, progress)?;
    ModelKey::parse(&text, &mut || passphrases.wanted())
        .with_context(|| format!("cannot sign models with {}", path.display()))
}

/// The text of a key, or of another secret; the user is told when others can read it.
pub fn guarded(path: &Path, progress: &dyn Progress) -> Result<Zeroizing<String>> {
    let mode = std::fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        progress.note(&format!(
            "others on this machine may read {path} (mode {:o}): `chmod 600 {path}`",
            mode & 0o777
        ));
    }
    read(path)
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    open_regular(path)?
        .take(LARGEST)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

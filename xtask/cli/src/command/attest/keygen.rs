//! `attest keygen`.

use crate::{context::Global, secret::Passphrases};
use anyhow::{Context, Result, ensure};
use signature::{ModelKey, SecretKey};
use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use store::{hinted, sync_directory};

/// Make a key that signs releases
///
/// From one seed, in the forms of all tools: NAME.pem (secret) and NAME.pub for OpenSSL, cosign and this program, NAME.minisign.key
/// (secret) and NAME.minisign.pub for minisign. With `--model` an elliptic curve key that signs models: NAME.pem and NAME.pub.
/// The secret files are encrypted with the passphrase in `--passphrase-file` or MLC_REPRO_PASSPHRASE. Nothing is overwritten.
#[derive(clap::Args)]
pub struct Arguments {
    /// The start of the files' names
    name: PathBuf,
    /// Make a key for `--model-signature` (ECDSA on P-256)
    #[arg(long)]
    model: bool,
    /// Read the passphrase from the first line of a file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Write the secret key without a passphrase
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    let passphrases = Passphrases { file: arguments.passphrase_file.clone() };
    let passphrase = match arguments.no_passphrase {
        true => None,
        false => passphrases.find()?,
    };
    ensure!(
        passphrase.is_some() || arguments.no_passphrase,
        hinted(
            "a secret key without a passphrase is for everybody who reads its file",
            "give a passphrase with `--passphrase-file` or MLC_REPRO_PASSPHRASE, or say `--no-passphrase`"
        )
    );
    let with = |ending: &str| {
        let mut name = arguments.name.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let passphrase = passphrase.as_ref();
    let (files, shown) = if arguments.model {
        let key = ModelKey::generate()?;
        let files = vec![
            (with(".pem"), key.to_pem(passphrase)?, 0o600),
            (with(".pub"), key.public_pem().into(), 0o644),
        ];
        (files, "for models".to_owned())
    } else {
        let key = SecretKey::generate()?;
        let public = key.public();
        let files = vec![
            (with(".pem"), key.to_pem(passphrase)?, 0o600),
            (with(".minisign.key"), key.to_minisign(passphrase)?, 0o600),
            (with(".pub"), public.to_pem().into(), 0o644),
            (with(".minisign.pub"), public.to_minisign().into(), 0o644),
        ];
        (files, public.key_id())
    };
    for (path, _, _) in &files {
        ensure!(!path.exists(), "{} exists, and no key is overwritten", path.display());
    }
    for (path, text, mode) in &files {
        write(path, text, *mode)?;
        global.progress().line(&format!("{} is written", path.display()));
    }
    global.progress().line(&format!("key {shown}"));
    Ok(())
}

/// A new file that others can't read from its first moment.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).with_context(context)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(context)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}

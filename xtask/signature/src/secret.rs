//! Secret ed25519 keys: PKCS #8 in PEM (RFC 8410) and minisign's form, plain or behind a passphrase.

use crate::{
    PublicKey, minisign,
    public::{LARGEST, pem},
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use pkcs8::{
    EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument,
    pkcs5::{
        EncryptionScheme,
        pbes2::{Kdf, Parameters},
    },
};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};
use std::fmt;
use store::hinted;
use zeroize::Zeroizing;

/// What stands before the 32 bytes of a seed in its PKCS #8 form, as OpenSSL writes it.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// How often a passphrase is hashed for PKCS #8 (OWASP's number for PBKDF2 with SHA-256).
const ROUNDS: u32 = 600_000;

/// The most that a key file may ask for, so that none keeps a machine busy for hours.
const MOST_ROUNDS: u32 = 10_000_000;

/// The most memory that a key file may ask for, in bytes.
const MOST_MEMORY: u64 = 2 << 30;

/// A passphrase. It is overwritten when it is no longer needed, and shown nowhere.
pub type Passphrase = Zeroizing<String>;

/// An ed25519 key that signs. Its seed is overwritten when it is no longer needed, and shown nowhere.
pub struct SecretKey {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
    minisign_id: [u8; 8],
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public.key_id())
    }
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn generate() -> Result<Self> {
        Ok(Self::from_seed(random()?))
    }

    /// The key of a seed (RFC 8032: "private key").
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let (pair, public) = pair(&seed);
        Self { pair, seed, public, minisign_id: public.minisign_id() }
    }

    /// Reads a key: PEM (`PRIVATE KEY`, `ENCRYPTED PRIVATE KEY`), or minisign's. `passphrase` is asked for one that is
    /// encrypted.
    ///
    /// # Errors
    /// If it is neither, of another kind than ed25519, or the passphrase is wrong. No message repeats the key or passphrase.
    pub fn parse(text: &str, passphrase: &mut dyn FnMut() -> Result<Passphrase>) -> Result<Self> {
        ensure!(text.len() <= LARGEST, "it is too long for a key");
        let text = text.trim();
        if !text.starts_with("-----") {
            let (seed, id) = minisign::parse_secret(text, passphrase)?;
            return Ok(Self { minisign_id: id, ..Self::from_seed(*seed) });
        }
        let document = decrypted(text, passphrase)?;
        let key = PrivateKeyInfoRef::try_from(document.as_bytes())
            .map_err(|_| anyhow!("it is not a secret key"))?;
        ensure!(
            key.algorithm.oid.as_bytes() == [0x2b, 0x65, 0x70],
            hinted(
                "it is a key of another kind than ed25519, which releases are signed with",
                "`cargo xtask attest keygen` makes one, or `openssl genpkey -algorithm ed25519`"
            )
        );
        let seed = key.private_key.as_bytes().strip_prefix(&[0x04, 0x20]);
        let seed: [u8; 32] =
            seed.and_then(|seed| seed.try_into().ok()).context("it is not an ed25519 key")?;
        Ok(Self::from_seed(seed))
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The name that its minisign signatures carry.
    pub fn minisign_id(&self) -> [u8; 8] {
        self.minisign_id
    }

    /// The signature of a message, 64 bytes. The same each time.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// The key in PEM, as OpenSSL reads it.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>> {
        let der = Zeroizing::new([&PKCS8[..], &*self.seed].concat());
        encrypted(&der, passphrase)
    }

    /// The key in minisign's form, of two lines.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn to_minisign(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>> {
        minisign::secret_text(&self.seed, &self.public, self.minisign_id, passphrase)
    }
}

fn pair(seed: &[u8; 32]) -> (Ed25519KeyPair, PublicKey) {
    let pair = match Ed25519KeyPair::from_seed_unchecked(seed) {
        Ok(pair) => pair,
        // Only another length is refused.
        Err(_) => unreachable!("a seed has 32 bytes"),
    };
    let mut bytes = [0; 32];
    bytes.copy_from_slice(pair.public_key().as_ref());
    let public = match PublicKey::new(bytes) {
        Ok(public) => public,
        // Seeds are multiplied into the group of large order, and never by zero.
        Err(_) => unreachable!("a seed gives a key of large order"),
    };
    (pair, public)
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(bytes)
}

/// A PKCS #8 document as PEM, plain or encrypted in the way that OpenSSL has by default.
pub(crate) fn encrypted(der: &[u8], passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>> {
    let Some(passphrase) = passphrase else { return Ok(Zeroizing::new(pem("PRIVATE KEY", der))) };
    let fail = |_| anyhow!("the key cannot be encrypted");
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &random::<16>()?, random()?)
        .map_err(|_| anyhow!("the key cannot be encrypted"))?;
    let key = PrivateKeyInfoRef::try_from(der).map_err(|_| anyhow!("the key cannot be encrypted"))?;
    let document = key.encrypt_with_params(parameters, passphrase.as_bytes()).map_err(fail)?;
    document
        .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)
        .map_err(|_| anyhow!("the key cannot be encrypted"))
}

/// The PKCS #8 document of a PEM file.
pub(crate) fn decrypted(
    text: &str,
    passphrase: &mut dyn FnMut() -> Result<Passphrase>,
) -> Result<SecretDocument> {
    let Ok((label, document)) = SecretDocument::from_pem(text) else { bail!("it is not a PEM file") };
    match label {
        "PRIVATE KEY" => Ok(document),
        "ENCRYPTED PRIVATE KEY" => {
            let key = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                .map_err(|_| anyhow!("it is encrypted in a way that is not known here"))?;
            check_cost(&key.encryption_algorithm)?;
            key.decrypt(passphrase()?.as_bytes()).map_err(|_| anyhow!("the passphrase is not the key's"))
        }
        "EC PRIVATE KEY" => bail!(hinted(
            "it is a key in the form of SEC 1, and PKCS #8 is wanted",
            "`openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` rewrites it"
        )),
        "PUBLIC KEY" => bail!("it is a public key, and signing needs the secret one"),
        other => bail!("it is a PEM file of `{}`, not of a secret key", other.escape_debug()),
    }
}

/// Refuses what would keep a machine busy for hours.
fn check_cost(scheme: &EncryptionScheme) -> Result<()> {
    let EncryptionScheme::Pbes2(parameters) = scheme else {
        bail!("it is encrypted in a way that is not known here");
    };
    let is_fair = match &parameters.kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MOST_ROUNDS,
        Kdf::Scrypt(parameters) => {
            let memory = parameters
                .cost_parameter
                .saturating_mul(u64::from(parameters.block_size))
                .saturating_mul(128);
            memory <= MOST_MEMORY && parameters.parallelization <= 64
        }
        _ => false,
    };
    ensure!(is_fair, "it asks for more work or memory than a key file should");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_passphrase() -> Result<Passphrase> {
        bail!("a passphrase was asked for")
    }

    #[test]
    fn a_key_reads_back_from_all_its_forms() {
        let key = SecretKey::from_seed([7; 32]);
        let passphrase = Passphrase::new("correct horse".into());
        for text in [key.to_pem(None).unwrap(), key.to_minisign(None).unwrap()] {
            assert_eq!(SecretKey::parse(&text, &mut no_passphrase).unwrap().public(), key.public());
        }
        for text in [key.to_pem(Some(&passphrase)).unwrap(), key.to_minisign(Some(&passphrase)).unwrap()] {
            assert!(SecretKey::parse(&text, &mut no_passphrase).is_err());
            let read = SecretKey::parse(&text, &mut || Ok(passphrase.clone())).unwrap();
            assert_eq!((read.public(), read.minisign_id()), (key.public(), key.minisign_id()));
            let error = SecretKey::parse(&text, &mut || Ok(Passphrase::new("battery".into()))).unwrap_err();
            assert_eq!(format!("{error:#}"), "the passphrase is not the key's");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let key = SecretKey::from_seed([7; 32]);
        let shown = format!("{key:?} {key:#?}");
        assert!(!shown.contains("0707") && !shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn what_is_not_a_secret_key_is_named() {
        let key = SecretKey::from_seed([7; 32]);
        let elliptic = crate::ModelKey::generate().unwrap();
        for (text, expected) in [
            (key.public().to_pem(), "it is a public key, and signing needs the secret one"),
            (key.public().to_minisign(), "it is a public key, and signing needs the secret one"),
            (elliptic.to_pem(None).unwrap().to_string(), "a key of another kind than ed25519"),
            (pem("EC PRIVATE KEY", &[0x30, 0]), "openssl pkcs8 -topk8"),
            (pem("ENCRYPTED PRIVATE KEY", &[0x30, 0]), "encrypted in a way that is not known"),
            (pem("PRIVATE KEY", &[0x30, 0]), "it is not a secret key"),
            ("-----BEGIN PRIVATE KEY-----".into(), "it is not a PEM file"),
            (String::new(), "it is neither a key in PEM nor one of minisign"),
        ] {
            let error = store::full_text(&SecretKey::parse(&text, &mut no_passphrase).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

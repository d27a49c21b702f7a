//! Public ed25519 keys: PEM (SubjectPublicKeyInfo, RFC 8410) and minisign's form.

use crate::minisign;
use anyhow::{Context, Result, bail, ensure};
use blake2::{Blake2b, Digest as _, digest::consts::U8};
use pkcs8::{Document, LineEnding};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::fmt;
use store::{Digest, hinted};

/// What stands before the 32 bytes of a key in its SubjectPublicKeyInfo.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The object identifier of elliptic curves, which a key of another kind most often has.
const EC: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The longest file of a key, in bytes.
pub(crate) const LARGEST: usize = 64 << 10;

/// An ed25519 key that signatures are checked with. Two are equal when they are the same key, whatever form they came in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.key_id())
    }
}

impl PublicKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// If it is a point of small order, for which anybody can make signatures.
    pub fn new(bytes: [u8; 32]) -> Result<Self> {
        ensure!(!has_small_order(&bytes), "it is a weak key: anybody can make signatures for it");
        Ok(Self(bytes))
    }

    /// Reads a key in PEM (`-----BEGIN PUBLIC KEY-----`) or in minisign's form, with or without its comment.
    ///
    /// # Errors
    /// If it is neither, or of another kind than ed25519.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.len() <= LARGEST, "it is too long for a key");
        let text = text.trim();
        ensure!(
            !text.contains("PRIVATE KEY-----") && !text.contains("encrypted secret key"),
            hinted(
                "it is a secret key",
                "give the public key, and keep this one where nobody else can read it"
            )
        );
        if !text.starts_with("-----") {
            return minisign::parse_public(text);
        }
        let Ok((label, document)) = Document::from_pem(text) else { bail!("it is not a PEM file") };
        ensure!(label == "PUBLIC KEY", "it is a PEM file of `{}`, not of a public key", label.escape_debug());
        let bytes = document.as_bytes();
        let is_ec = bytes.windows(EC.len()).any(|part| part == EC);
        ensure!(!is_ec, "it is an elliptic curve key, and releases are signed with ed25519");
        let key = bytes.strip_prefix(&SPKI).and_then(|key| key.try_into().ok());
        Self::new(key.context("it is not an ed25519 key")?)
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key in PEM, as OpenSSL and cosign read it.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI[..], &self.0].concat())
    }

    /// The key in minisign's form, of two lines.
    pub fn to_minisign(&self) -> String {
        minisign::public_text(self, self.minisign_id())
    }

    /// The name of the key in DSSE envelopes: SHA-256, in hexadecimal, of the canonical JSON that securesystemslib and TUF
    /// have for it. A hint: whoever checks a signature tries the key.
    pub fn key_id(&self) -> String {
        let json =
            format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{}"}},"scheme":"ed25519"}}"#, hex(&self.0));
        Digest::of(json.as_bytes()).hex()
    }

    /// The name that minisign has for a key that was not made by minisign: the start of its BLAKE2b.
    pub fn minisign_id(&self) -> [u8; 8] {
        Blake2b::<U8>::digest(self.0).into()
    }

    /// Whether `signature` is this key's of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

/// Whether a point, whatever its sign, has an order that divides 8. All encodings of these are listed.
fn has_small_order(key: &[u8; 32]) -> bool {
    const ORDER_EIGHT: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut point = *key;
    point[31] &= 0x7f;
    let (first, rest) = (point[0], &point[1..]);
    // 0 and 1, and, by way of the prime 2^255 - 19, what is 0, 1 or -1 too.
    let is_low = first <= 1 && rest.iter().all(|byte| *byte == 0);
    let is_high =
        (0xec..=0xee).contains(&first) && rest[..30].iter().all(|byte| *byte == 0xff) && rest[30] == 0x7f;
    is_low || is_high || ORDER_EIGHT.contains(&point)
}

/// A PEM file.
pub(crate) fn pem(label: &'static str, der: &[u8]) -> String {
    let document = Document::try_from(der).and_then(|document| document.to_pem(label, LineEnding::LF));
    // Only labels and sizes that are no document's fail.
    document.unwrap_or_default()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelKey, SecretKey};

    /// securesystemslib 1.6.0: `SSlibKey.from_crypto(key).keyid` of the same seed.
    #[test]
    fn a_key_has_the_name_that_securesystemslib_gives_it() {
        let key = SecretKey::from_seed([7; 32]).public();
        assert_eq!(key.key_id(), "bfe1a83869e5bf574e3ff3acbb83f840de84a990d10059f3096f0bf4f2b90c10");
        for text in [key.to_pem(), key.to_minisign(), key.to_minisign().lines().nth(1).unwrap().to_owned()] {
            assert_eq!(PublicKey::parse(&text).unwrap(), key, "{text}");
        }
        let lines = key.to_pem().replace('\n', "\r\n");
        assert_eq!(PublicKey::parse(&lines).unwrap(), key);
    }

    #[test]
    fn what_is_not_an_ed25519_key_is_refused_and_named() {
        let secret = SecretKey::from_seed([7; 32]);
        let elliptic = ModelKey::generate().unwrap();
        for (text, expected) in [
            (secret.to_pem(None).unwrap().to_string(), "it is a secret key"),
            (secret.to_minisign(None).unwrap().to_string(), "it is a secret key"),
            (elliptic.public_pem(), "it is an elliptic curve key"),
            (pem("CERTIFICATE", &[0x30, 0]), "it is a PEM file of `CERTIFICATE`"),
            (pem("PUBLIC KEY", &[0x30, 0]), "it is not an ed25519 key"),
            ("-----BEGIN PUBLIC KEY-----\n".into(), "it is not a PEM file"),
            ("RWQ".into(), "it is neither a key in PEM nor one of minisign"),
            (String::new(), "it is neither a key in PEM nor one of minisign"),
            ("A".repeat(LARGEST + 1), "it is too long"),
        ] {
            let error = PublicKey::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn weak_keys_are_refused() {
        let number = |first: u8, rest: u8, last: u8| {
            let mut key = [rest; 32];
            (key[0], key[31]) = (first, last);
            key
        };
        for key in [
            number(0, 0, 0),
            number(1, 0, 0),
            number(1, 0, 0x80),
            number(0xec, 0xff, 0x7f),
            number(0xed, 0xff, 0xff),
            number(0xee, 0xff, 0x7f),
        ] {
            assert!(PublicKey::new(key).is_err(), "{key:?}");
            assert!(PublicKey::parse(&minisign::public_text(&PublicKey(key), [0; 8])).is_err());
        }
        assert!(PublicKey::new(number(2, 0, 0)).is_ok());
    }
}

//! Signatures over the files of a model, as `model_signing` (PyPI) makes and checks them: a Sigstore bundle, version 0.3, around a
//! DSSE envelope, signed with an ECDSA key on P-256.

use crate::{
    Passphrase,
    dsse::{PAYLOAD_TYPE, pre_authentication_encoding},
    public::{hex, pem},
    secret::{decrypted, encrypted},
};
use anyhow::{Context, Result, anyhow, ensure};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    },
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use store::{Digest, hinted};
use zeroize::Zeroizing;

/// The file of a signature in the directory of a model.
pub const MODEL_SIGNATURE: &str = "model.sig";

/// What does not count as a part of a model: the signature itself, and what belongs to Git.
const IGNORED: [&str; 5] = [MODEL_SIGNATURE, ".git", ".gitattributes", ".github", ".gitignore"];

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://model_signing/signature/v1.0";

/// What stands before the point of a P-256 key in its SubjectPublicKeyInfo.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An ECDSA key on P-256 that signs models. Its secret is shown nowhere.
pub struct ModelKey {
    pair: EcdsaKeyPair,
    der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelKey({})", self.hint())
    }
}

impl ModelKey {
    /// A new key.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn generate() -> Result<Self> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| anyhow!("the system gives no random numbers"))?;
        Self::from_der(Zeroizing::new(document.as_ref().to_vec()))
    }

    fn from_der(der: Zeroizing<Vec<u8>>) -> Result<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &SystemRandom::new())
            .map_err(|_| {
                anyhow!(hinted(
                    "it is not an elliptic curve key on P-256 with its public half",
                    "`cargo xtask attest keygen --model` makes one, or `openssl genpkey -algorithm \
                EC -pkeyopt ec_paramgen_curve:P-256`"
                ))
            })?;
        Ok(Self { pair, der })
    }

    /// Reads a key in PEM (PKCS #8). `passphrase` is asked for one that is encrypted.
    ///
    /// # Errors
    /// If it is none, on another curve, or the passphrase is wrong.
    pub fn parse(text: &str, passphrase: &mut dyn FnMut() -> Result<Passphrase>) -> Result<Self> {
        Self::from_der(Zeroizing::new(decrypted(text.trim(), passphrase)?.as_bytes().to_vec()))
    }

    /// The key in PEM.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>> {
        encrypted(&self.der, passphrase)
    }

    /// The public key in PEM, as `model_signing verify key --public_key` takes it.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI[..], self.pair.public_key().as_ref()].concat())
    }

    /// What bundles name the key by: SHA-256 of its PEM, in hexadecimal.
    fn hint(&self) -> String {
        Digest::of(self.public_pem().as_bytes()).hex()
    }

    /// Signs a model.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn sign(&self, model: &ModelStatement) -> Result<ModelBundle> {
        let payload = model.payload();
        let signed = pre_authentication_encoding(PAYLOAD_TYPE, &payload);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), &signed)
            .map_err(|_| anyhow!("the system gives no random numbers"))?;
        Ok(ModelBundle { hint: self.hint(), payload, signature: signature.as_ref().to_vec() })
    }
}

/// What a signature says of a model: its name, and every file by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatement {
    /// The name of its directory.
    pub name: String,
    /// SHA-256 of each file, in hexadecimal.
    pub files: BTreeMap<String, String>,
}

impl ModelStatement {
    /// The in-toto statement. Of one model it is the same each time.
    pub fn payload(&self) -> Vec<u8> {
        // Python sorts paths by their parts.
        let mut files: Vec<_> = self.files.iter().filter(|(path, _)| !is_ignored(path)).collect();
        files.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
        let all: Vec<u8> = files.iter().flat_map(|(_, sha256)| bytes_of(sha256)).collect();
        let resources: Vec<_> = files
            .iter()
            .map(
                |(path, sha256)| serde_json::json!({ "algorithm": "sha256", "digest": sha256, "name": path }),
            )
            .collect();
        let statement = serde_json::json!({
            "_type": STATEMENT,
            "subject": [{ "name": self.name, "digest": { "sha256": Digest::of(&all).hex() } }],
            "predicateType": PREDICATE,
            "predicate": {
                "serialization": {
                    "method": "files", "hash_type": "sha256", "allow_symlinks": false, "ignore_paths": IGNORED,
                },
                "resources": resources,
            },
        });
        statement.to_string().into_bytes()
    }
}

/// Whether a path does not count as a part of a model.
fn is_ignored(path: &str) -> bool {
    IGNORED.iter().any(|ignored| {
        path.strip_prefix(ignored).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

fn bytes_of(sha256: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(sha256.get(at..at + 2)?, 16).ok();
    (0..sha256.len()).step_by(2).filter_map(digit).collect()
}

/// A signature of a model.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelBundle {
    hint: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl fmt::Debug for ModelBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelBundle({})", hex(self.hint.as_bytes()))
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    media_type: String,
    verification_material: Material,
    dsse_envelope: JsonEnvelope,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    public_key: Hint,
    #[serde(default)]
    tlog_entries: Vec<serde_json::Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    hint: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature {
    sig: String,
    #[serde(default)]
    keyid: String,
}

impl ModelBundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// If it is none of this kind, or was not made with a plain key.
    pub fn parse(text: &str) -> Result<Self> {
        let json: Json = serde_json::from_str(text)
            .map_err(|error| anyhow!("it is not a bundle signed with a key: {error}"))?;
        ensure!(json.media_type == MEDIA_TYPE, "it is a bundle of another kind than {MEDIA_TYPE}");
        let envelope = json.dsse_envelope;
        ensure!(envelope.payload_type == PAYLOAD_TYPE, "its payload is of another kind than {PAYLOAD_TYPE}");
        let [signature] = envelope.signatures.as_slice() else {
            anyhow::bail!("it has not exactly one signature")
        };
        ensure!(
            json.verification_material.tlog_entries.is_empty(),
            "it has entries of a log, which nothing here checks"
        );
        let hint = json.verification_material.public_key.hint;
        Digest::from_hex(&hint, 0).context("it does not name its key by a SHA-256")?;
        let decode = |text: &str| BASE64.decode(text).map_err(|_| anyhow!("it is not written in Base64"));
        Ok(Self { hint, payload: decode(&envelope.payload)?, signature: decode(&signature.sig)? })
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let json = Json {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material {
                public_key: Hint { hint: self.hint.clone() },
                tlog_entries: Vec::new(),
            },
            dsse_envelope: JsonEnvelope {
                payload: BASE64.encode(&self.payload),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: vec![JsonSignature { sig: BASE64.encode(&self.signature), keyid: String::new() }],
            },
        };
        // Text and lists of text can always be written.
        serde_json::to_string(&json).unwrap_or_default() + "\n"
    }

    /// Whether it says this of the model, in the one way that [`ModelStatement::payload`] writes it.
    pub fn is_of(&self, model: &ModelStatement) -> bool {
        self.payload == model.payload()
    }

    /// SHA-256 of the key's PEM, as the bundle says; a hint that is not signed.
    pub fn key_hint(&self) -> &str {
        &self.hint
    }

    /// Whether it is this key's, a PEM file as [`ModelKey::public_pem`] gives it.
    ///
    /// # Errors
    /// If that is not a P-256 key.
    pub fn verifies(&self, public: &str) -> Result<bool> {
        let Ok((label, document)) = pkcs8::Document::from_pem(public) else {
            anyhow::bail!("it is not a PEM file");
        };
        let point = document.as_bytes().strip_prefix(&SPKI).filter(|_| label == "PUBLIC KEY");
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.context("it is not a key on P-256")?);
        Ok(key.verify(&pre_authentication_encoding(PAYLOAD_TYPE, &self.payload), &self.signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn statement() -> ModelStatement {
        let file = |text: &str| Digest::of(text.as_bytes()).hex();
        let files = [("params_shard_0.bin", "weights"), ("a/b", "1"), ("a.b", "2"), (".git/HEAD", "3")];
        ModelStatement {
            name: "model".into(),
            files: files.into_iter().map(|(path, text)| (path.to_owned(), file(text))).collect(),
        }
    }

    #[test]
    fn a_model_is_signed_by_one_key() {
        let key = ModelKey::generate().unwrap();
        let bundle = ModelBundle::parse(&key.sign(&statement()).unwrap().to_text()).unwrap();
        assert!(bundle.verifies(&key.public_pem()).unwrap() && bundle.is_of(&statement()));
        assert!(!bundle.verifies(&ModelKey::generate().unwrap().public_pem()).unwrap());
        assert!(bundle.verifies("x").is_err());
        let mut other = statement();
        other.files.insert("more".into(), "0".repeat(64));
        assert!(!bundle.is_of(&other));
        let mut forged = bundle.clone();
        forged.payload = other.payload();
        assert!(!forged.verifies(&key.public_pem()).unwrap());
        let passphrase = Passphrase::new("correct horse".into());
        let text = key.to_pem(Some(&passphrase)).unwrap();
        assert_eq!(
            ModelKey::parse(&text, &mut || Ok(passphrase.clone())).unwrap().public_pem(),
            key.public_pem()
        );
    }

    #[test]
    fn files_stand_in_pythons_order_and_git_is_left_out() {
        let payload: serde_json::Value = serde_json::from_slice(&statement().payload()).unwrap();
        let names: Vec<_> = payload["predicate"]["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["a/b", "a.b", "params_shard_0.bin"]);
        let all = ["1", "2", "weights"].map(|text| bytes_of(&Digest::of(text.as_bytes()).hex())).concat();
        assert_eq!(payload["subject"][0]["digest"]["sha256"], Digest::of(&all).hex());
    }

    #[test]
    fn what_is_not_such_a_bundle_is_refused() {
        let text = ModelKey::generate().unwrap().sign(&statement()).unwrap().to_text();
        for (text, expected) in [
            (text.replace("v0.3", "v0.2"), "a bundle of another kind"),
            (text.replace("in-toto+json", "other+json"), "its payload is of another kind"),
            (text.replace("\"publicKey\"", "\"certificate\""), "not a bundle signed with a key"),
            (text.replace("\"hint\":\"", "\"hint\":\"x"), "does not name its key"),
            (text.replace("\"signatures\":[", "\"signatures\":[{\"sig\":\"\"},"), "not exactly one"),
            (text.replace("\"tlogEntries\":[", "\"tlogEntries\":[{\"logIndex\":\"1\"}"), "entries of a log"),
            (String::new(), "not a bundle"),
        ] {
            let error = format!("{:#}", ModelBundle::parse(&text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

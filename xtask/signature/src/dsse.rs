//! Envelopes of DSSE 1.0 around in-toto statements, with ed25519 signatures.

use crate::{PublicKey, SecretKey};
use anyhow::{Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The type of a payload that is an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The most signatures that one envelope may have.
const MOST_SIGNATURES: usize = 256;

/// A signature of an envelope. Whose it is can only be found out by trying keys: `keyid` is a hint that is not signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// [`PublicKey::key_id`], where one of ours wrote it.
    pub keyid: String,
    /// The bytes.
    pub sig: Vec<u8>,
}

/// A payload and signatures of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Json {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<JsonSignature>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

impl Envelope {
    /// An in-toto statement that nobody has signed yet.
    pub fn new(statement: &[u8]) -> Self {
        Self { payload_type: PAYLOAD_TYPE.to_owned(), payload: statement.to_vec(), signatures: Vec::new() }
    }

    /// Reads an envelope, in whatever way its JSON is written. One file holds one.
    ///
    /// # Errors
    /// If it is none, has no signature or too many, or the same one twice.
    pub fn parse(text: &str) -> Result<Self> {
        let json: Json = serde_json::from_str(text)
            .map_err(|error| anyhow::anyhow!("it is not one DSSE envelope: {error}"))?;
        ensure!(!json.signatures.is_empty(), "it has no signature");
        ensure!(json.signatures.len() <= MOST_SIGNATURES, "it has more than {MOST_SIGNATURES} signatures");
        let decode = |what: &str, text: &str| {
            BASE64.decode(text).map_err(|_| anyhow::anyhow!("its {what} is not written in Base64"))
        };
        let mut signatures = Vec::new();
        for signature in json.signatures {
            let is_id =
                signature.keyid.len() <= 256 && signature.keyid.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(is_id, "a key id of it is not one");
            signatures.push(Signature { sig: decode("signature", &signature.sig)?, keyid: signature.keyid });
        }
        let mut envelope = Self {
            payload: decode("payload", &json.payload)?,
            payload_type: json.payload_type,
            signatures: Vec::new(),
        };
        for signature in signatures {
            ensure!(!envelope.signatures.contains(&signature), "it has one signature twice");
            envelope.signatures.push(signature);
        }
        Ok(envelope)
    }

    /// The one way that we write it: a JSON object on one line, signatures sorted.
    pub fn to_text(&self) -> String {
        let mut signatures = self.signatures.clone();
        signatures.sort();
        let json = Json {
            payload: BASE64.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: signatures
                .iter()
                .map(|it| JsonSignature { keyid: it.keyid.clone(), sig: BASE64.encode(&it.sig) })
                .collect(),
        };
        // Text and lists of text can always be written.
        serde_json::to_string(&json).unwrap_or_default() + "\n"
    }

    /// What was signed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What kind of thing the payload is said to be; signed with it.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The signatures.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds this key's signature, in place of one that it made before.
    pub fn sign(&mut self, key: &SecretKey) {
        let signature = Signature { keyid: key.public().key_id(), sig: key.sign(&self.signed()) };
        let signed = self.signed();
        let public = key.public();
        self.signatures
            .retain(|other| other.keyid != signature.keyid && !public.verifies(&signed, &other.sig));
        self.signatures.push(signature);
        self.signatures.sort();
    }

    /// Adds the signatures of another envelope around the same payload.
    ///
    /// # Errors
    /// If it is around another payload; if two different signatures claim to be of one key: one of them is not.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        ensure!(
            self.payload == other.payload && self.payload_type == other.payload_type,
            "the two envelopes are around different statements"
        );
        for signature in &other.signatures {
            let same = |it: &&Signature| it.keyid == signature.keyid && !it.keyid.is_empty();
            match self.signatures.iter().find(same) {
                Some(there) if there == signature => {}
                Some(_) => anyhow::bail!(
                    "two different signatures are said to be of the key {}, and one key makes one: check both against it",
                    signature.keyid
                ),
                None if self.signatures.contains(signature) => {}
                None => self.signatures.push(signature.clone()),
            }
        }
        ensure!(
            self.signatures.len() <= MOST_SIGNATURES,
            "together they have more than {MOST_SIGNATURES} signatures"
        );
        self.signatures.sort();
        Ok(())
    }

    /// Whether each signature names a key of its own. Some programs refuse an envelope in which two do not, or name none.
    pub fn names_differ(&self) -> bool {
        let names: BTreeSet<&str> =
            self.signatures.iter().map(|signature| signature.keyid.as_str()).collect();
        names.len() == self.signatures.len()
    }

    /// Which of these keys signed the payload: keys are counted, not signatures or what their key ids claim.
    pub fn signers(&self, keys: &BTreeSet<PublicKey>) -> BTreeSet<PublicKey> {
        let signed = self.signed();
        let mut found = BTreeSet::new();
        for signature in &self.signatures {
            // The key that the signature names is likely the one.
            let (named, others): (Vec<&PublicKey>, Vec<&PublicKey>) = keys
                .iter()
                .filter(|key| !found.contains(*key))
                .partition(|key| key.key_id() == signature.keyid);
            let signer = named.into_iter().chain(others).find(|key| key.verifies(&signed, &signature.sig));
            found.extend(signer.copied());
        }
        found
    }

    /// DSSE's encoding of type and payload, which is what is signed.
    fn signed(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload_type, &self.payload)
    }
}

/// `DSSEv1 LENGTH TYPE LENGTH PAYLOAD`.
pub(crate) fn pre_authentication_encoding(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(seeds: &[u8]) -> (Vec<SecretKey>, BTreeSet<PublicKey>) {
        let keys: Vec<_> = seeds.iter().map(|seed| SecretKey::from_seed([*seed; 32])).collect();
        let public = keys.iter().map(SecretKey::public).collect();
        (keys, public)
    }

    fn signed(statement: &[u8], keys: &[SecretKey]) -> Envelope {
        let mut envelope = Envelope::new(statement);
        keys.iter().for_each(|key| envelope.sign(key));
        envelope
    }

    /// The example of the protocol's description.
    #[test]
    fn the_encoding_is_the_protocols() {
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn builders_in_any_order_make_the_same_file() {
        let (keys, public) = keys(&[1, 2, 3]);
        let alone: Vec<_> = keys.iter().map(|key| signed(b"{}", std::slice::from_ref(key))).collect();
        let merged = |order: [usize; 3]| {
            let mut envelope = alone[order[0]].clone();
            order[1..].iter().for_each(|other| envelope.merge(&alone[*other]).unwrap());
            envelope.to_text()
        };
        assert_eq!(merged([0, 1, 2]), merged([2, 0, 1]));
        let read = Envelope::parse(&merged([1, 2, 0])).unwrap();
        assert_eq!(read.signers(&public), public);
        assert_eq!(merged([0, 1, 2]), signed(b"{}", &keys).to_text());
        assert_eq!(merged([0, 1, 1]).matches("keyid").count(), 2);
    }

    #[test]
    fn keys_are_counted_and_not_what_is_said_of_them() {
        let (keys, public) = keys(&[1, 2]);
        let one = signed(b"{}", &keys[..1]);
        let signature = one.signatures[0].clone();
        // One signature under many names is one key.
        let mut many = one.clone();
        for name in ["", "a", &keys[1].public().key_id()] {
            many.signatures.push(Signature { keyid: name.into(), ..signature.clone() });
        }
        let many = Envelope::parse(&many.to_text()).unwrap();
        assert_eq!(many.signers(&public).len(), 1);
        // A signature under another's name is still its maker's.
        let mut swapped = one.clone();
        swapped.signatures[0].keyid = keys[1].public().key_id();
        assert_eq!(swapped.signers(&public), [keys[0].public()].into());
        // A stranger's is nobody's, whatever it claims.
        let mut stranger = signed(b"{}", &[SecretKey::from_seed([9; 32])]);
        stranger.signatures[0].keyid = keys[0].public().key_id();
        assert_eq!(stranger.signers(&public), BTreeSet::new());
        assert!(one.clone().merge(&stranger).is_err());
    }

    #[test]
    fn whatever_is_signed_can_not_be_changed() {
        let (keys, public) = keys(&[1]);
        let envelope = signed(b"{\"a\":1}", &keys);
        let mut other = envelope.clone();
        other.payload[2] ^= 1;
        assert_eq!(other.signers(&public).len(), 0);
        let mut other = envelope.clone();
        other.payload_type = "application/json".into();
        assert_eq!(other.signers(&public).len(), 0);
        let mut other = envelope.clone();
        other.signatures[0].sig[0] ^= 1;
        assert_eq!(other.signers(&public).len(), 0);
        assert!(envelope.clone().merge(&signed(b"{}", &keys)).is_err());
    }

    #[test]
    fn what_is_not_one_envelope_is_refused() {
        let text = signed(b"{}", &keys(&[1]).0).to_text();
        let signature = &text[text.find("{\"keyid").unwrap()..text.find("]}").unwrap()];
        for (text, expected) in [
            (format!("{text}{text}"), "it is not one DSSE envelope"),
            (text.replace("\"payload\"", "\"payload\":\"e30=\",\"payload\""), "duplicate field"),
            (text.replace("\"sig\"", "\"more\":1,\"sig\""), "unknown field"),
            (text.replace("{\"payload\"", "{\"more\":1,\"payload\""), "unknown field"),
            (text.replace(signature, ""), "it has no signature"),
            (text.replace(signature, &format!("{signature},{signature}")), "it has one signature twice"),
            (text.replace("\"e30=\"", "\"e30\""), "its payload is not written in Base64"),
            (text.replace("\"sig\":\"", "\"sig\":\"-"), "its signature is not written in Base64"),
            (text.replace("\"keyid\":\"", "\"keyid\":\"\\n"), "a key id of it is not one"),
            ("[".repeat(100_000), "it is not one DSSE envelope"),
        ] {
            let error = Envelope::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

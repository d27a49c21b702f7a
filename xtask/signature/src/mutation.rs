//! Random changes of everything that is read here: no reader panics, and nothing that was changed is taken for what was signed.

use crate::{Envelope, Minisignature, ModelBundle, ModelKey, ModelStatement, PublicKey, SecretKey};
use std::collections::BTreeSet;

const ROUNDS: usize = 1000;

/// A stream of numbers that is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }

    /// Flips, removes, doubles, inserts or cuts something.
    fn mutated(&mut self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let end = (at + 1 + self.below(8)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                3 => bytes.insert(at, self.below(256) as u8),
                4 if self.below(8) == 0 => bytes.truncate(at),
                _ if at < bytes.len() => bytes[at] = b"{}[],:\"=+/Aa0\n\\"[self.below(15)],
                _ => {}
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn keys() -> (SecretKey, BTreeSet<PublicKey>) {
    let key = SecretKey::from_seed([7; 32]);
    let public = [key.public(), SecretKey::from_seed([8; 32]).public()].into();
    (key, public)
}

#[test]
fn envelopes() {
    let (key, public) = keys();
    let payload = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[]}"#;
    let mut envelope = Envelope::new(payload);
    envelope.sign(&key);
    let (text, mut random, mut read) = (envelope.to_text(), Random(17), 0);
    for _ in 0..ROUNDS {
        let Ok(found) = Envelope::parse(&random.mutated(&text)) else { continue };
        read += 1;
        // What still counts as signed is what was signed.
        if !found.signers(&public).is_empty() {
            assert_eq!(
                (found.payload(), found.payload_type()),
                (envelope.payload(), envelope.payload_type())
            );
        }
        let _ = envelope.clone().merge(&found);
    }
    assert!(read > 0, "every change was refused before a signature was looked at");
}

#[test]
fn minisign_signatures() {
    let (key, _) = keys();
    let signature = Minisignature::sign(&key, b"content", "release tvm").unwrap();
    let (text, mut random) = (signature.to_text("mlc-repro"), Random(18));
    for _ in 0..ROUNDS {
        if let Ok(found) = Minisignature::parse(&random.mutated(&text))
            && found.verifies(&key.public(), b"content")
        {
            // The name of the key is not signed.
            assert_eq!(found.comment(), signature.comment());
        }
    }
}

#[test]
fn model_bundles() {
    let key = ModelKey::generate().unwrap();
    let files = [("a".to_owned(), "0".repeat(64))].into();
    let statement = ModelStatement { name: "model".into(), files };
    let bundle = key.sign(&statement).unwrap();
    let (text, mut random) = (bundle.to_text(), Random(19));
    for _ in 0..ROUNDS {
        if let Ok(found) = ModelBundle::parse(&random.mutated(&text))
            && found.verifies(&key.public_pem()).unwrap()
        {
            assert!(found.is_of(&statement));
        }
    }
}

#[test]
fn keys_of_both_forms() {
    let (key, _) = keys();
    let mut random = Random(20);
    let public = [key.public().to_pem(), key.public().to_minisign()];
    let secret = [key.to_pem(None).unwrap(), key.to_minisign(None).unwrap()];
    for round in 0..ROUNDS {
        let _ = PublicKey::parse(&random.mutated(&public[round % 2]));
        let text = random.mutated(&secret[round % 2]);
        if let Ok(found) = SecretKey::parse(&text, &mut || anyhow::bail!("none")) {
            // Whatever it is, it signs for the public key that it shows.
            assert!(found.public().verifies(b"x", &found.sign(b"x")));
        }
    }
}

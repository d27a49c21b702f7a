//! Keys and signatures, in the forms that others' tools read: DSSE envelopes with ed25519 (cosign, securesystemslib), minisign,
//! and Sigstore bundles with ECDSA P-256 over the files of a model (`model_signing`).
//!
//! Nothing here knows what a release is.

mod dsse;
mod minisign;
mod model;
mod public;
mod secret;

pub use dsse::{Envelope, PAYLOAD_TYPE, Signature};
pub use minisign::Minisignature;
pub use model::{MODEL_SIGNATURE, ModelBundle, ModelKey, ModelStatement};
pub use public::PublicKey;
pub use secret::{Passphrase, SecretKey};

#[cfg(test)]
mod mutation;

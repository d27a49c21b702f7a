//! Digests in messages of the Remote Execution API.

use crate::{Digest, damage::Id};
use anyhow::{Context, Result};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;

/// How many hexadecimal digits a SHA-256 has.
const HEX: usize = 64;

/// A digest as messages have it.
pub fn to_message(digest: &Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size as i64 }
}

/// The digest of a message.
///
/// # Errors
/// If it is absent, or no SHA-256 and size.
pub fn from_message(message: Option<&reapi::Digest>) -> Result<Digest> {
    let message = message.context("a message lacks a digest")?;
    Digest::from_hex(
        &message.hash,
        u64::try_from(message.size_bytes).context("a digest has a negative size")?,
    )
}

/// Whether it is the SHA-256 of nothing: an empty file, and the empty tree.
pub fn is_empty(id: &Id) -> bool {
    *id == Digest::of(b"").sha256
}

/// Every SHA-256 that stands in a text, as `HEX` or `HEX/SIZE`.
pub fn digests_in(text: &str) -> Vec<Id> {
    text.split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| word.len() == HEX)
        .filter_map(|word| Some(Digest::from_hex(word, 0).ok()?.sha256))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_words() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let text = format!("source input {a} \"x\" 1 [\"{}\"] {}0 {}", b.hex(), b.hex(), &a.hex()[1..]);
        assert_eq!(digests_in(&text), [a.sha256, b.sha256]);
    }
}

//! Digests in messages of the Remote Execution API.

use crate::Digest;
use anyhow::{Context, Result};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;

pub fn to_message(digest: &Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size as i64 }
}

/// Errors: the message is absent, or no SHA-256 and size.
pub fn from_message(message: Option<&reapi::Digest>) -> Result<Digest> {
    let message = message.context("a message lacks a digest")?;
    Digest::from_hex(
        &message.hash,
        u64::try_from(message.size_bytes).context("a digest has a negative size")?,
    )
}

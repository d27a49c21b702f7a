//! What a server allows.

use crate::{compression::offers, reapi};
use anyhow::{Result, ensure};
use reapi::digest_function::Value::Sha256;

/// The most that a message of gRPC has where nobody says otherwise.
const MESSAGE: u64 = 4 << 20;

/// What a blob takes in a batch beside its content: its digest twice over, and framing.
pub const OVERHEAD: u64 = 128;

/// As many digests as fit a message of 4 MiB more than five times; servers refuse 60,000.
pub const MOST_DIGESTS: usize = 10_000;

/// What one server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one batch, [`OVERHEAD`] included. What does not fit goes as a stream.
    pub batch: u64,
    /// The largest blob that is kept.
    pub blob: Option<u64>,
    /// Whether results may be written.
    pub takes_results: bool,
    /// Whether actions may be run.
    pub executes: bool,
    /// Whether blobs may be sent and received as zstd, and whether those of a batch may be sent so.
    pub zstd: bool,
    pub zstd_batches: bool,
}

impl Limits {
    /// Of a server that was not asked yet.
    pub const NONE: Self = Self {
        batch: 0,
        blob: None,
        takes_results: false,
        executes: false,
        zstd: false,
        zstd_batches: false,
    };

    /// # Errors
    /// If the server does not know digests by SHA-256.
    pub fn of(place: &str, capabilities: &reapi::ServerCapabilities) -> Result<Self> {
        let cache = capabilities.cache_capabilities.clone().unwrap_or_default();
        if let Some(version) = &capabilities.low_api_version {
            ensure!(
                version.major <= 2,
                "{place} speaks version {} of the API, and here is version 2",
                version.major
            );
        }
        let functions = &cache.digest_functions;
        ensure!(
            functions.is_empty() || functions.contains(&Sha256.into()),
            "{place} does not know blobs by SHA-256, and everything here is known by it"
        );
        let batch = match u64::try_from(cache.max_batch_total_size_bytes) {
            Ok(0) | Err(_) => MESSAGE,
            Ok(batch) => batch.min(MESSAGE),
        };
        let zstd = offers(&cache.supported_compressors);
        Ok(Self {
            zstd,
            zstd_batches: zstd && offers(&cache.supported_batch_update_compressors),
            // What the server counts is not said everywhere: the content, or the message around it.
            batch: batch - batch / 12,
            blob: u64::try_from(cache.max_cas_blob_size_bytes).ok().filter(|most| *most > 0),
            takes_results: cache.action_cache_update_capabilities.is_none_or(|update| update.update_enabled),
            executes: capabilities.execution_capabilities.as_ref().is_some_and(|found| found.exec_enabled),
        })
    }

    /// Whether a blob goes by batch.
    pub fn fits(&self, size: u64) -> bool {
        size.saturating_add(OVERHEAD) <= self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_obeyed_and_bounded() {
        let limits = |batch, functions: &[i32]| {
            let cache_capabilities = Some(reapi::CacheCapabilities {
                max_batch_total_size_bytes: batch,
                digest_functions: functions.to_vec(),
                ..Default::default()
            });
            Limits::of("x", &reapi::ServerCapabilities { cache_capabilities, ..Default::default() })
        };
        let silent = limits(0, &[]).unwrap();
        assert!(silent.batch < MESSAGE && silent.batch > MESSAGE / 10 * 9);
        assert_eq!(limits(i64::MAX, &[1]).unwrap(), silent);
        assert_eq!(limits(-1, &[1]).unwrap(), silent);
        let small = limits(65_536, &[1, 2]).unwrap();
        assert!(small.fits(50_000) && !small.fits(65_000));
        assert!(limits(0, &[2]).unwrap_err().to_string().contains("SHA-256"));
        let newer = reapi::ServerCapabilities {
            low_api_version: Some(bazel_remote_apis::build::bazel::semver::SemVer {
                major: 3,
                ..Default::default()
            }),
            ..Default::default()
        };
        assert!(Limits::of("x", &newer).unwrap_err().to_string().contains("version 3"));
    }
}

//! Blobs as zstd, where a server offers it. What comes is expanded within the size that was asked for, and hashed afterwards.

use anyhow::{Context, Result};
use bazel_remote_apis::build::bazel::remote::execution::v2::compressor::Value::Zstd;
use std::io::{Error, Write};

/// How hard is tried: as zstd itself does.
const LEVEL: i32 = 3;

/// Whether a list of compressors has ours.
pub fn offers(compressors: &[i32]) -> bool {
    compressors.contains(&Zstd.into())
}

/// Takes so many bytes and no more.
pub struct Bounded<W> {
    out: W,
    size: u64,
    left: u64,
}

impl<W: Write> Bounded<W> {
    pub fn new(out: W, size: u64) -> Self {
        Self { out, size, left: size }
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let after = self.left.checked_sub(bytes.len() as u64);
        let more = || Error::other(format!("more is sent than the {} bytes that it has", self.size));
        self.left = after.ok_or_else(more)?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// What takes the pieces of a blob.
pub enum Sink<W: Write> {
    Plain(Bounded<W>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Bounded<W>>>),
}

impl<W: Write> Sink<W> {
    pub fn new(out: W, size: u64, is_compressed: bool) -> Result<Self> {
        let out = Bounded::new(out, size);
        Ok(match is_compressed {
            true => Self::Zstd(Box::new(zstd::stream::write::Decoder::new(out)?)),
            false => Self::Plain(out),
        })
    }

    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Plain(out) => out.write_all(bytes).context("cannot keep it"),
            Self::Zstd(out) => out.write_all(bytes).context("cannot expand it"),
        }
    }

    /// What was written to. A frame that ends early has given less than it says, which its digest shows.
    pub fn finish(self) -> Result<W> {
        match self {
            Self::Plain(out) => Ok(out.into_inner()),
            Self::Zstd(mut out) => {
                out.flush().context("cannot expand it")?;
                Ok(out.into_inner().into_inner())
            }
        }
    }
}

/// Expands a blob of at most so many bytes.
pub fn expand(bytes: &[u8], size: u64) -> Result<Vec<u8>> {
    let mut sink = Sink::new(Vec::new(), size, true)?;
    sink.take(bytes)?;
    sink.finish()
}

/// Compresses a blob, if that makes it smaller.
pub fn shrink(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let shrunk = zstd::encode_all(bytes, LEVEL).context("cannot compress a blob")?;
    Ok((shrunk.len() < bytes.len()).then_some(shrunk))
}

/// Compresses what is read.
pub fn shrinking<R: std::io::Read>(
    reader: R,
) -> Result<zstd::stream::read::Encoder<'static, std::io::BufReader<R>>> {
    zstd::stream::read::Encoder::new(reader, LEVEL).context("cannot compress a blob")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expanded_stays_within_its_size() {
        let content = vec![0; 1_000_000];
        let shrunk = shrink(&content).unwrap().unwrap();
        assert!(shrunk.len() < 1000);
        assert_eq!(expand(&shrunk, 1_000_000).unwrap(), content);
        let error = format!("{:#}", expand(&shrunk, 999_999).unwrap_err());
        assert!(error.contains("more is sent than the 999999 bytes"), "{error}");
        assert!(expand(&shrunk[..shrunk.len() - 5], 1_000_000).unwrap_or_default() != content);
        assert!(expand(b"no frame", 100).is_err());
        assert_eq!(shrink(b"x").unwrap(), None);
    }
}

//! SHA-256 and size.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    path::Path,
    str::FromStr,
};

/// The identity of a blob: its SHA-256 and its size in bytes (REAPI `Digest`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    /// The SHA-256 of the content.
    pub sha256: [u8; 32],
    /// The length of the content in bytes.
    pub size: u64,
}

impl Digest {
    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256::digest(bytes).into(), size: bytes.len() as u64 }
    }

    /// The digest of everything that `reader` gives.
    pub fn of_reader(mut reader: impl Read) -> std::io::Result<Self> {
        let mut hash = HashWriter::new(std::io::sink());
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(hash.finish().1),
                Ok(count) => hash.write_all(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of a file's content.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::of_reader(file).with_context(|| format!("cannot read {}", path.display()))
    }

    /// From 64 hexadecimal digits (lower case) and a size.
    pub fn from_hex(hex: &str, size: u64) -> Result<Self> {
        let bytes = hex.as_bytes();
        ensure!(
            bytes.len() == 64 && bytes.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)),
            "`{}` is not a SHA-256 (64 lower-case hexadecimal digits)",
            hex.escape_debug()
        );
        let mut sha256 = [0; 32];
        for (out, pair) in sha256.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *out = u8::from_str_radix(std::str::from_utf8(pair)?, 16)?;
        }
        Ok(Self { sha256, size })
    }

    /// The SHA-256 as 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// `HEX/SIZE`, as REAPI resource names write it.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hex(), self.size)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let (hex, size) = text
            .split_once('/')
            .with_context(|| format!("`{}` is not a digest (SHA256/SIZE)", text.escape_debug()))?;
        Self::from_hex(hex, size.parse().with_context(|| format!("bad size in digest `{text}`"))?)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes everything written through it.
pub struct HashWriter<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> HashWriter<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// Gives back the inner writer and the digest of what was written.
    pub fn finish(self) -> (W, Digest) {
        (self.inner, Digest { sha256: self.hash.finalize().into(), size: self.size })
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

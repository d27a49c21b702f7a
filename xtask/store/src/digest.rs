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

/// How many bytes are read at a time: enough that system calls do not count, few enough for the processor's cache.
const LARGEST_PIECE: usize = 256 * 1024;

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
    pub fn of_reader(reader: impl Read) -> std::io::Result<Self> {
        Self::of_pieces(reader, LARGEST_PIECE)
    }

    /// The digest of a file's content.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::of_open_file(&file).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The digest of all that is left to read of a file.
    pub(crate) fn of_open_file(file: &std::fs::File) -> std::io::Result<Self> {
        // Most files are small; to clear a large buffer takes longer than to hash one of them.
        let size = file.metadata()?.len();
        let piece = usize::try_from(size).map_or(LARGEST_PIECE, |size| size.saturating_add(1));
        Self::of_pieces(file, piece.clamp(4096, LARGEST_PIECE))
    }

    fn of_pieces(mut reader: impl Read, size: usize) -> std::io::Result<Self> {
        let mut hash = HashWriter::new(std::io::sink());
        let mut buffer = vec![0; size];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(hash.finish().1),
                Ok(count) => hash.write_all(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
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

    /// Hashes bytes that are written elsewhere.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_every_size_have_the_digest_of_their_content() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for size in [0, 1, 4095, 4096, LARGEST_PIECE - 1, LARGEST_PIECE, LARGEST_PIECE + 1, 1_000_003] {
            let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            std::fs::write(file.path(), &bytes).unwrap();
            assert_eq!(Digest::of_file(file.path()).unwrap(), Digest::of(&bytes));
            assert_eq!(Digest::of_reader(bytes.as_slice()).unwrap(), Digest::of(&bytes));
        }
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad/3";
        assert_eq!(Digest::of(b"abc").to_string(), abc);
        // /proc says that its files are empty.
        assert!(Digest::of_file(Path::new("/proc/self/status")).unwrap().size > 0);
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let hex = Digest::of(b"").hex();
        assert_eq!(format!("{hex}/0").parse::<Digest>().unwrap(), Digest::of(b""));
        for text in [hex.clone(), format!("{hex}/"), format!("{hex}/-1"), format!("{}/0", hex.to_uppercase())]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(format!("{}/0", &hex[1..]).parse::<Digest>().is_err());
    }
}

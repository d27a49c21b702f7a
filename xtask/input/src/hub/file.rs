//! Files that are published.

use super::Sibling;
use anyhow::Result;
use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::PathBuf,
};
use store::{Digest, open_regular};

/// The most that a file may have that goes into a commit itself, in bytes.
pub(super) const LARGEST_PLAIN: u64 = 32 << 20;

/// A file to publish.
#[derive(Clone, Debug)]
pub struct PublishedFile {
    /// Its path in the repository.
    pub path: String,
    /// Where its content is.
    pub content: Content,
    /// SHA-256 and size.
    pub digest: Digest,
}

/// Where the content of a file is.
#[derive(Clone, Debug)]
pub enum Content {
    /// In a file.
    File(PathBuf),
    /// Here.
    Text(String),
}

impl PublishedFile {
    pub(super) fn open(&self) -> Result<File> {
        match &self.content {
            Content::File(path) => open_regular(path),
            Content::Text(text) => {
                let mut file = tempfile::tempfile()?;
                file.write_all(text.as_bytes())?;
                file.rewind()?;
                Ok(file)
            }
        }
    }

    pub(super) fn start(&self, most: u64) -> Result<Vec<u8>> {
        let mut start = Vec::new();
        self.open()?.take(most).read_to_end(&mut start)?;
        Ok(start)
    }

    /// What Git calls the content.
    fn blob(&self) -> Result<String> {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(format!("blob {}\0", self.digest.size).as_bytes());
        let mut content = self.open()?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        Ok(hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Whether the hub has this very file: by SHA-256 where it keeps it outside of Git, else by Git's name for it.
pub(super) fn is_same(sibling: &Sibling, file: &PublishedFile) -> Result<bool> {
    Ok(match (&sibling.lfs, &sibling.blob_id) {
        (Some(large), _) => large.sha256 == file.digest.hex() && large.size == file.digest.size,
        (None, Some(blob)) if file.digest.size <= LARGEST_PLAIN => *blob == file.blob()?,
        _ => false,
    })
}

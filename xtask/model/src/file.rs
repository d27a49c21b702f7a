//! The files of models as strangers give them: opened without being waited for, bounded, and recognized when they are
//! something else under this name.

use anyhow::{Context, Result, bail, ensure};
use memmap2::Mmap;
use std::{fs::File, io::Read, path::Path};
use store::{hinted, open_regular};

/// Refuses what [`open_regular`] refuses, and what stands in for a file ([`strange`]).
pub(crate) fn check(path: &Path) -> Result<()> {
    let reading = || format!("cannot read {}", path.display());
    let mut start = Vec::new();
    open_regular(path)?.take(1024).read_to_end(&mut start).with_context(reading)?;
    strange(path, &start)
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// As of [`open_regular`]; when it is larger, or what stands in for it ([`strange`]).
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let reading = || format!("cannot read {}", path.display());
    let file = open_regular(path)?;
    let size = file.metadata().with_context(reading)?.len();
    ensure!(size <= limit, "{} is too large ({size} bytes, at most {limit})", path.display());
    let mut bytes = Vec::with_capacity(size as usize);
    // It may grow meanwhile.
    file.take(limit + 1).read_to_end(&mut bytes).with_context(reading)?;
    ensure!(bytes.len() as u64 <= limit, "{} is too large (more than {limit} bytes)", path.display());
    strange(path, &bytes)?;
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// As of [`read_bytes`]; when it is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read_bytes(path, limit)?).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Maps a file for reading.
///
/// # Errors
/// As of [`open_regular`]; when it is what stands in for it ([`strange`]).
pub(crate) fn map_file(path: &Path) -> Result<Mmap> {
    let map = map_open(&open_regular(path)?).with_context(|| format!("cannot map {}", path.display()))?;
    strange(path, &map)?;
    Ok(map)
}

/// Maps an open file for reading.
///
/// # Errors
/// When the system refuses.
pub(crate) fn map_open(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read only, and only ever used as bytes, for which every value is valid. Should another
    // process shorten the file meanwhile, reading stops this process with SIGBUS; it cannot go on with wrong bytes
    // of another object. Checkpoints are not written to while they are converted.
    #[allow(unsafe_code)]
    unsafe {
        Mmap::map(file)
    }
}

/// Refuses what downloads leave in place of a file: a pointer of Git LFS, or the page of a server.
fn strange(path: &Path, bytes: &[u8]) -> Result<()> {
    if is_lfs_pointer(bytes) {
        bail!(hinted(
            format!("{} is a Git LFS pointer, not the file itself", path.display()),
            "run `git lfs pull` in its repository, or download the model with `cargo xtask model fetch OWNER/NAME@REVISION`"
        ));
    }
    ensure!(
        !is_html(bytes),
        hinted(
            format!(
                "{} is an HTML page, not the file itself: the server answered with a page to log in, or with an error",
                path.display()
            ),
            "download the model with `cargo xtask model fetch OWNER/NAME@REVISION`"
        )
    );
    Ok(())
}

/// Whether a file is what Git keeps in place of a large file: text of less than 1,024 bytes (`git-lfs`,
/// docs/spec.md).
fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.len() < 1024
        && [&b"version https://git-lfs.github.com/spec/"[..], b"version https://hawser.github.com/spec/"]
            .iter()
            .any(|start| bytes.starts_with(start))
}

fn is_html(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(512)];
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag)))
}

/// What a file is that should be safetensors and is not, as far as its first bytes tell.
pub(crate) fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let formats: [(&[u8], &str); 5] = [
        (
            b"GGUF",
            "it is a GGUF file, which llama.cpp reads; MLC is made from the original safetensors checkpoint",
        ),
        (b"PK\x03\x04", "it is a ZIP file, as PyTorch writes; such a checkpoint is called pytorch_model.bin"),
        (b"\x80\x02", "it is a pickle, which PyTorch writes as pytorch_model.bin"),
        (b"\x93NUMPY", "it is a NumPy array; convert it to safetensors first"),
        (b"\x89HDF", "it is an HDF5 file, as Keras writes it; convert it to safetensors first"),
    ];
    formats.into_iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";

    #[test]
    fn what_has_no_end_or_blocks_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let zero = directory.path().join("zero");
        std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
        for path in [&pipe, &zero, &directory.path().to_owned()] {
            for error in [read_bytes(path, 9).unwrap_err(), map_file(path).unwrap_err()] {
                assert!(error.to_string().contains("is not a regular file"), "{error:#}");
            }
        }
        let file = directory.path().join("file");
        fs::write(&file, "1234567890").unwrap();
        assert!(read_bytes(&file, 9).unwrap_err().to_string().contains("too large (10 bytes, at most 9)"));
        assert_eq!(read_text(&file, 10).unwrap(), "1234567890");
    }

    #[test]
    fn what_stands_in_for_a_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        for (content, expected) in [
            (POINTER, "is a Git LFS pointer, not the file itself"),
            ("\u{feff} \n<!DOCTYPE HTML>\n", "is an HTML page"),
            ("<html lang=en>", "is an HTML page"),
        ] {
            fs::write(&path, content).unwrap();
            for error in [read_text(&path, 4096).unwrap_err(), map_file(&path).unwrap_err()] {
                assert!(error.to_string().contains(expected), "{error:#}");
            }
        }
        fs::write(&path, "{\"a\": \"<html>\"}").unwrap();
        read_text(&path, 4096).unwrap();
    }
}

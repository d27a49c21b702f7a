//! Copies that leave holes where there are only zeros.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
};

/// How much is looked at together: a hole is a multiple of the file system's blocks.
const PIECE: usize = 256 * 1024;

/// Copies all that is left of a file into an empty one. Gives the number of bytes.
pub(crate) fn copy(from: &mut File, to: &mut File) -> io::Result<u64> {
    copy_with(from, to, &mut |_| {})
}

/// As [`copy`]; `watch` is shown every byte in order.
pub(crate) fn copy_with(from: &mut File, to: &mut File, watch: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut length = 0;
    loop {
        let mut filled = 0;
        while filled < PIECE {
            match from.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let piece = &buffer[..filled];
        watch(piece);
        match piece.iter().all(|byte| *byte == 0) {
            true => {
                to.seek(SeekFrom::Current(filled as i64))?;
            }
            false => to.write_all(piece)?,
        }
        length += filled as u64;
        if filled < PIECE {
            to.set_len(length)?;
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn holes_stay_holes() {
        for (size, data) in [(0, 0), (1, 0), (100_000_000, 0), (100_000_000, 77_777_777), (524_288, 524_287)]
        {
            let mut from = tempfile::tempfile().unwrap();
            from.set_len(size).unwrap();
            if size > data {
                from.seek(SeekFrom::Start(data)).unwrap();
                from.write_all(b"x").unwrap();
                from.rewind().unwrap();
            }
            let mut to = tempfile::NamedTempFile::new().unwrap();
            assert_eq!(copy(&mut from, to.as_file_mut()).unwrap(), size);
            let blocks = to.as_file().metadata().unwrap().blocks();
            assert!(blocks * 512 <= 2 * PIECE as u64, "{size}: {blocks}");
            from.rewind().unwrap();
            assert_eq!(crate::Digest::of_reader(from).unwrap(), crate::Digest::of_file(to.path()).unwrap());
        }
    }
}

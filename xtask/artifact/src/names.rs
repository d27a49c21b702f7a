//! Names out of tables. Entries of a hostile table may all point to one long name, so what is copied is bounded.

use anyhow::{Result, ensure};

/// More bytes of names, and of what holds them, than any library that we meet has.
pub const MOST_BYTES: usize = 256 << 20;

/// What a name costs beside its bytes.
const EACH: usize = 32;

/// Copies a name. `left` is what may still be copied in bytes. Errors: nothing is left.
pub fn name(bytes: &[u8], left: &mut usize) -> Result<String> {
    let cost = bytes.len() + EACH;
    ensure!(cost <= *left, "its tables hold more names than a library does");
    *left -= cost;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

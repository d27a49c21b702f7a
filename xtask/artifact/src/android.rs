//! What Android asks of a shared library: the note that names its API level, and symbols that this level has.

use crate::{
    Elf, inspect_elf,
    policy::{AndroidPolicy, own_library},
};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeSet;
use store::{Entry, Store, Tree};

/// `.note.android.ident`, which the NDK's start objects put into every library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AndroidIdent {
    /// The API level that it was linked for, and so the oldest Android that it runs on.
    pub api: u32,
    /// The NDK's name, such as `r27c`; empty in libraries of very old ones.
    pub ndk: String,
    /// The NDK's build number.
    pub build: String,
}

impl AndroidIdent {
    /// Reads the note's description: the API level, then two texts of 64 bytes (bionic's `crtbrand.S`).
    pub fn parse(description: &[u8]) -> Option<Self> {
        let (api, texts) = description.split_first_chunk::<4>()?;
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        let (ndk, build) = texts.split_at_checked(64).unwrap_or((texts, &[]));
        Some(Self { api: u32::from_le_bytes(*api), ndk: text(ndk), build: text(build) })
    }
}

/// Everything that a library does not keep to. `system` is what the build saw, the NDK's stubs among it.
pub fn check(
    store: &Store,
    rules: &AndroidPolicy,
    elf: &Elf,
    outputs: &Tree,
    system: &Tree,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    match &elf.android {
        None => {
            problems.push("has no Android note: it was not linked with an NDK's start objects".to_owned())
        }
        Some(ident) => {
            if ident.api != rules.api {
                problems.push(format!("is for Android API level {}, not {}", ident.api, rules.api));
            }
            if ident.ndk != rules.ndk {
                problems.push(format!("was linked by NDK `{}`, not `{}`", ident.ndk, rules.ndk));
            }
        }
    }
    if elf.soname.is_none() {
        problems.push("has no SONAME, so Android before 6 looks for its path".to_owned());
    }
    let mut known = BTreeSet::new();
    for needed in &elf.needed {
        let place = format!("{}/{needed}", rules.stubs);
        let Some(Entry::File { digest, .. }) = own_library(outputs, needed).or_else(|| system.get(&place))
        else {
            problems.push(format!(
                "needs `{needed}`, which neither it comes with nor API level {} has",
                rules.api
            ));
            continue;
        };
        match inspect_elf(&store.read(digest)?) {
            Ok(library) => known.extend(library.exports),
            Err(error) => problems.push(format!("needs `{needed}`, whose symbols can't be read: {error:#}")),
        }
    }
    for symbol in elf.undefined.iter().filter(|symbol| !known.contains(*symbol)) {
        problems.push(format!("wants `{symbol}`, which none of the libraries that it needs has"));
    }
    Ok(problems)
}

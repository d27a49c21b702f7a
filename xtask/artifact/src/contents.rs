//! What any archive holds: the members, and of libraries among them what stands in those.

use crate::{
    Content, Kind, Limits, WheelName, inspect_elf, inspect_pe, list_archive, machine, member::read_member,
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::io::Cursor;

/// What an archive may hold that is looked at.
const LIMITS: Limits = Limits { bytes: 8 << 30, members: 200_000 };

/// Libraries that are looked into, and their size in bytes.
const MOST_LIBRARIES: usize = 64;
const LONGEST_LIBRARY: u64 = 1 << 30;

/// An archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// `zip`, `tar.gz` or `wheel`.
    pub kind: &'static str,
    /// The directory at the top, where there is one.
    pub top: Option<String>,
    /// Of a wheel: what METADATA says, a line each, without the description.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<String>,
    /// Members, in the archive's order.
    pub members: Vec<String>,
    /// Libraries and programs among them.
    pub libraries: Vec<Library>,
}

/// A library or program in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Its path in the archive.
    pub path: String,
    /// `PE` or `ELF`.
    pub format: &'static str,
    /// The processor by name.
    pub machine: String,
    /// What it needs beside it.
    pub needs: Vec<String>,
    /// How much it exports.
    pub exports: usize,
}

/// Lists an archive; `name` is the file's, which tells its kind.
///
/// # Errors
/// If it is damaged, or holds more than any archive that is met does.
pub fn list_contents(name: &str, bytes: &[u8]) -> Result<Contents> {
    let kind = if bytes.starts_with(b"PK") { Kind::Zip } else { Kind::TarGz };
    let list = list_archive(Cursor::new(bytes), kind, LIMITS)?;
    let mut contents = Contents { kind: kind.extension(), ..Contents::default() };
    let tops: Vec<_> = list.iter().map(|member| member.path.split_once('/').map(|(top, _)| top)).collect();
    if let Some(Some(first)) = tops.first().filter(|first| tops.iter().all(|top| top == *first)) {
        contents.top = Some((*first).to_owned());
    }
    let read = |path: &str| read_member(Cursor::new(bytes), kind, LIMITS, path);
    if let Some(wheel) = WheelName::parse(name).filter(|_| name.ends_with(".whl")) {
        contents.kind = "wheel";
        let path = format!("{}/METADATA", wheel.information());
        let text = read(&path).context("it is named like a wheel, and has no METADATA")?;
        let text = String::from_utf8_lossy(&text).into_owned();
        contents.metadata = text.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect();
    }
    for member in list {
        let is_library = |path: &str| {
            let name = path.rsplit('/').next().unwrap_or(path);
            [".dll", ".pyd", ".exe", ".so"].iter().any(|end| name.ends_with(end)) || name.contains(".so.")
        };
        if let Content::File { digest, .. } = &member.content
            && is_library(&member.path)
            && digest.size <= LONGEST_LIBRARY
            && contents.libraries.len() < MOST_LIBRARIES
        {
            contents.libraries.extend(library(&member.path, &read(&member.path)?));
        }
        contents.members.push(member.path);
    }
    Ok(contents)
}

fn library(path: &str, bytes: &[u8]) -> Option<Library> {
    let path = path.to_owned();
    if let Ok(pe) = inspect_pe(bytes) {
        let needs = pe.imports.into_iter().map(|import| import.dll).collect();
        let machine = machine::pe_name(pe.machine);
        return Some(Library { path, format: "PE", machine, needs, exports: pe.exports.len() });
    }
    let elf = inspect_elf(bytes).ok()?;
    let machine = machine::elf_name(elf.machine);
    Some(Library { path, format: "ELF", machine, needs: elf.needed, exports: elf.exports.len() })
}

/// Whether a zip archive is an AAR: by its name, or since it has an Android manifest at the top.
pub fn is_aar(name: &str, bytes: &[u8]) -> bool {
    let has_manifest = || {
        let members = list_archive(Cursor::new(bytes), Kind::Zip, LIMITS).unwrap_or_default();
        members.iter().any(|member| member.path == "AndroidManifest.xml")
    };
    name.ends_with(".aar") || (!name.ends_with(".whl") && has_manifest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{Entry, Store, Tree};

    #[test]
    fn our_own_archives_are_listed_with_their_libraries() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut tree = Tree::new();
        let program = store.put_bytes(&std::fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        let text = store.put_bytes(b"text").unwrap();
        for (path, digest) in [("lib/libx.so", program), ("README.md", text), ("lib/broken.dll", text)] {
            tree.insert(path, Entry::File { digest, executable: false }).unwrap();
        }
        for kind in [Kind::Zip, Kind::TarGz] {
            let archive = crate::write_archive(&store, &tree, "x-1.0", kind).unwrap();
            let bytes = store.read(&archive).unwrap();
            let name = format!("x-1.0.{}", kind.extension());
            assert!(!is_aar(&name, &bytes));
            let contents = list_contents(&name, &bytes).unwrap();
            assert_eq!((contents.kind, contents.top.as_deref()), (kind.extension(), Some("x-1.0")));
            assert_eq!(contents.members, ["x-1.0/README.md", "x-1.0/lib/broken.dll", "x-1.0/lib/libx.so"]);
            let library = &contents.libraries[0];
            assert_eq!((library.path.as_str(), library.format), ("x-1.0/lib/libx.so", "ELF"));
            assert!(
                library.machine.starts_with("x86-64") || library.machine.starts_with("arm64"),
                "{}",
                library.machine
            );
            assert!(library.needs.iter().any(|name| name.starts_with("libc.so")));
        }
        let error = list_contents("x-1.0-py3-none-any.whl", b"PK").unwrap_err();
        assert!(format!("{error:#}").contains("not a zip archive"), "{error:#}");
    }
}

//! Files and directories of this machine.

use super::{
    Change, Comparison, Kind, MEMORY, Side, Work,
    archive::{self, Sides},
    cause::Cause,
    inside,
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeMap,
    fs::{File, Metadata},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use store::Digest;

/// Files of a directory that are looked at.
const MOST_ENTRIES: usize = 1 << 20;

/// Compares two files or two directories. Links are compared by their texts and never followed, but for the two paths
/// themselves.
///
/// # Errors
/// If one of them can't be read, or one is a file and the other a directory.
pub fn compare_paths(expected: &Path, found: &Path) -> Result<Comparison> {
    let look =
        |path: &Path| std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()));
    let (left, right) = (look(expected)?, look(found)?);
    ensure!(
        left.is_dir() == right.is_dir(),
        "cannot compare a file with a directory: {} and {}",
        expected.display(),
        found.display()
    );
    let name =
        expected.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned());
    let mut work = Work::new();
    match left.is_dir() {
        true => directories(&name, expected, found, &mut work),
        false => files(&name, expected, found, &mut work),
    }
}

fn directories(name: &str, expected: &Path, found: &Path, work: &mut Work) -> Result<Comparison> {
    let mut comparison =
        Comparison { name: name.to_owned(), kind: "directory".to_owned(), ..Comparison::default() };
    let (left, right) = (list(expected)?, list(found)?);
    let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for name in names {
        let place = |what: &str, a: Option<String>, b: Option<String>, cause| Change {
            place: name.clone(),
            what: what.to_owned(),
            expected: a,
            found: b,
            cause,
            ..Change::default()
        };
        let (a, b) = (left.get(name), right.get(name));
        let (Some((a_path, a)), Some((b_path, b))) = (a, b) else {
            comparison.add(place("file", a.map(|(_, it)| kind(it)), b.map(|(_, it)| kind(it)), None));
            continue;
        };
        if kind(a) != kind(b) {
            comparison.add(place("kind", Some(kind(a)), Some(kind(b)), None));
        } else if a.is_symlink() {
            let text = |path: &Path| std::fs::read_link(path).map(|text| text.to_string_lossy().into_owned());
            let (a, b) = (text(a_path)?, text(b_path)?);
            if a != b {
                comparison.add(place("link", Some(a), Some(b), None));
            }
        } else if a.is_file() {
            let mode = |it: &Metadata| format!("{:04o}", it.permissions().mode() & 0o7777);
            if a.permissions().mode() & 0o111 != b.permissions().mode() & 0o111 {
                comparison.add(place("mode", Some(mode(a)), Some(mode(b)), Some(Cause::Permissions)));
            }
            let inner = files(name, a_path, b_path, work)?;
            if !inner.same {
                comparison.members.push(inner);
            }
        }
    }
    comparison.same =
        comparison.changes.is_empty() && comparison.members.is_empty() && comparison.left_out == 0;
    Ok(comparison)
}

fn kind(metadata: &Metadata) -> String {
    let kind = match () {
        () if metadata.is_symlink() => "link",
        () if metadata.is_dir() => "directory",
        () if metadata.is_file() => "file",
        () => "special file",
    };
    kind.to_owned()
}

/// Everything below a directory by its relative path.
fn list(directory: &Path) -> Result<BTreeMap<String, (PathBuf, Metadata)>> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), directory.to_owned())];
    while let Some((prefix, path)) = open.pop() {
        let explain = || format!("cannot list {}", path.display());
        for entry in std::fs::read_dir(&path).with_context(explain)? {
            let entry = entry.with_context(explain)?;
            let metadata = entry.metadata().with_context(explain)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if metadata.is_dir() {
                open.push((format!("{name}/"), entry.path()));
            }
            found.insert(name, (entry.path(), metadata));
            ensure!(
                found.len() <= MOST_ENTRIES,
                "{} holds more than {MOST_ENTRIES} files",
                directory.display()
            );
        }
    }
    Ok(found)
}

fn files(name: &str, expected: &Path, found: &Path, work: &mut Work) -> Result<Comparison> {
    let (left, right) = (Digest::of_file(expected)?, Digest::of_file(found)?);
    let side = |digest: &Digest| Some(Side { sha256: digest.hex(), size: digest.size });
    let mut comparison = Comparison {
        name: name.to_owned(),
        same: left == right,
        expected: side(&left),
        found: side(&right),
        kind: "file".to_owned(),
        ..Comparison::default()
    };
    if comparison.same {
        return Ok(comparison);
    }
    let need = left.size.saturating_add(right.size);
    // An archive's members are held beside it, so that it may take a part of the memory alone.
    if need <= MEMORY / 4 {
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        work.memory = MEMORY - need;
        return Ok(inside(name, &read(expected)?, &read(found)?, work, 0));
    }
    work.memory = MEMORY;
    let kinds = [begin(expected)?, begin(found)?].map(|begin| Kind::of(&begin));
    match kinds {
        [a, b] if a == b && matches!(a, Kind::Zip | Kind::Tar | Kind::Gzip) => {
            comparison.kind = a.to_string();
            archive::compare(&mut comparison, &Sides { expected, found, kind: a }, work, 0);
        }
        _ => archive::stream(&mut comparison, expected, found)?,
    }
    Ok(comparison)
}

/// The first bytes, which say what a file is.
fn begin(path: &Path) -> Result<Vec<u8>> {
    let mut begin = Vec::new();
    let read = |file: File| file.take(512).read_to_end(&mut begin);
    File::open(path).and_then(read).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(begin)
}

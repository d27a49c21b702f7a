//! Whether libraries in a wheel keep what its tag promises.

use crate::{
    Machine,
    elf::{inspect_elf, parse_version},
    pe::inspect_pe,
};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use store::{Entry, Store, Tree, WithHint, hinted};

/// Libraries that every manylinux system has (PEP 600, PEP 599), but for graphics and those that few link to.
const MANYLINUX: [&str; 10] = [
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
];

/// `manylinux.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "system")]
    systems: Vec<Row>,
}

/// Systems from a glibc on, sorted by it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    glibc: String,
    /// Name to the highest version.
    versions: BTreeMap<String, String>,
}

/// What a platform tag promises.
enum Platform {
    /// No library at all.
    Any,
    /// Windows on a machine.
    Windows(Machine),
    /// Linux with at least this glibc on a machine.
    Manylinux(Vec<u32>, Machine),
}

/// Checks every library of `tree` against the tag; `brought` are libraries of dependencies. Errors: an unknown platform; a
/// library that breaks the promise, by name.
pub fn check(store: &Store, tree: &Tree, tag: &str, brought: &[String]) -> Result<()> {
    let platforms: Vec<Platform> = tag
        .rsplit('-')
        .next()
        .unwrap_or_default()
        .split('.')
        .map(|name| {
            parse(name).with_hint(|| {
                hinted(
                    format!("the platform `{name}` is not known here"),
                    "known are `any`, `win_amd64`, `win_arm64`, `manylinux_X_Y_x86_64` and \
                `manylinux_X_Y_aarch64`",
                )
            })
        })
        .collect::<Result<_>>()?;
    for (path, entry) in tree.iter() {
        let Entry::File { digest, .. } = entry else { continue };
        let bytes = store.read(digest)?;
        for platform in &platforms {
            keeps(platform, tree, brought, path, &bytes)
                .with_context(|| format!("the tag `{tag}` is wrong"))?;
        }
    }
    Ok(())
}

fn parse(name: &str) -> Option<Platform> {
    let machine = |name: &str| match name {
        "x86_64" => Some(Machine::X86_64),
        "aarch64" => Some(Machine::Aarch64),
        _ => None,
    };
    match name {
        "any" => Some(Platform::Any),
        "win_amd64" => Some(Platform::Windows(Machine::X86_64)),
        "win_arm64" => Some(Platform::Windows(Machine::Aarch64)),
        _ => {
            let mut parts = name.strip_prefix("manylinux_")?.splitn(3, '_');
            let version = vec![parts.next()?.parse().ok()?, parts.next()?.parse().ok()?];
            Some(Platform::Manylinux(version, machine(parts.next()?)?))
        }
    }
}

/// What GCC's libraries have at least on systems with a glibc. Errors: it is older than any that the table knows.
fn system(glibc: &[u32]) -> Result<BTreeMap<String, String>> {
    let table: Table =
        toml::from_str(include_str!("manylinux.toml")).context("manylinux.toml is malformed")?;
    let known = table.systems.into_iter().rev();
    let row = known
        .into_iter()
        .find(|row| parse_version(&row.glibc).is_some_and(|known| known.as_slice() <= glibc));
    row.map(|row| row.versions).context("a glibc before 2.17 is not known here")
}

fn keeps(platform: &Platform, tree: &Tree, brought: &[String], path: &str, bytes: &[u8]) -> Result<()> {
    let (is_pe, is_elf) = (bytes.starts_with(b"MZ"), bytes.starts_with(b"\x7fELF"));
    match platform {
        _ if !is_pe && !is_elf => {}
        Platform::Any => bail!("`{path}` is a library, which `any` has no place for"),
        Platform::Windows(machine) => {
            ensure!(is_pe, "`{path}` is not a library for Windows");
            let pe = inspect_pe(bytes).with_context(|| format!("in `{path}`"))?;
            ensure!(pe.machine == machine.pe(), "`{path}` is for another machine");
        }
        Platform::Manylinux(glibc, machine) => {
            ensure!(is_elf, "`{path}` is not a library for Linux");
            let elf = inspect_elf(bytes).with_context(|| format!("in `{path}`"))?;
            ensure!(elf.machine == machine.elf(), "`{path}` is for another machine");
            for needed in &elf.needed {
                let own = tree.iter().any(|(path, _)| path.rsplit('/').next() == Some(needed));
                ensure!(
                    own || brought.contains(needed) || MANYLINUX.contains(&needed.as_str()),
                    hinted(
                        format!("`{path}` needs `{needed}`, which not every system has"),
                        "put it into the wheel, link it statically, or name it in `dependency-libraries` when a dependency loads it"
                    )
                );
            }
            let known = system(glibc)?;
            for (library, version) in &elf.versions {
                let ceiling = match library.as_str() {
                    "GLIBC" => Some(glibc.clone()),
                    _ => known.get(library).and_then(|version| parse_version(version)),
                };
                ensure!(
                    ceiling.is_none_or(|most| parse_version(version).is_some_and(|version| version <= most)),
                    "`{path}` needs {library}_{version}"
                );
            }
        }
    }
    Ok(())
}

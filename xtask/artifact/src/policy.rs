//! What an artifact may contain: `recipes/policies/NAME.toml`. All findings are collected, not just the first.

use crate::{
    Machine, android,
    elf::{inspect_elf, parse_version},
    pattern::{fits, fits_any},
    pe::inspect_pe,
};
use anyhow::{Context, Result};
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};
use store::{Digest, Entry, Store, Tree};

mod include;

/// A policy. Lists of names may use `*`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Files that must be there.
    #[serde(default)]
    pub required: Vec<String>,
    /// Text that no file may hold, such as build paths: neither in UTF-8 nor in UTF-16, as Windows writes it.
    #[serde(default)]
    pub forbidden: Vec<String>,
    /// Text that files must hold, such as the version of what is linked in: file to texts.
    #[serde(default)]
    pub holds: BTreeMap<String, Vec<String>>,
    /// Exports that libraries must have: file to names.
    #[serde(default)]
    pub exports: BTreeMap<String, Vec<String>>,
    /// Rules for PE files.
    pub pe: Option<PePolicy>,
    /// Rules for ELF files.
    pub elf: Option<ElfPolicy>,
    /// What is different for artifacts that are made with another sysroot than the usual one, by its name.
    #[serde(default)]
    pub sysroots: BTreeMap<String, Amendment>,
}

/// What another sysroot changes in a policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amendment {
    /// Further DLLs of the system that may be imported, in lower case.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Files that need not be there.
    #[serde(default)]
    pub not_required: Vec<String>,
}

/// Rules for PE files. Always: for the target's machine, no time stamp unless it is a hash, NX and ASLR.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PePolicy {
    /// DLLs of the system that may be imported, in lower case.
    #[serde(default)]
    pub imports: Vec<String>,
    /// DLLs that may only be imported with delay, so that a machine without them still loads ours.
    #[serde(default)]
    pub delayed: Vec<String>,
    /// The directory of the environment whose DLLs' export tables stand for those of the system.
    pub providers: String,
    /// System DLLs by another name in that directory: pattern to file (API sets, `api-ms-win-crt-*` to `ucrtbase.dll`).
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// System DLLs whose exports are not known here; what is imported from them is only listed.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// Rules for ELF files. Always: for the target's machine, no executable stack, no text relocations, RELRO, immediate binding, stripped.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElfPolicy {
    /// Libraries of the system that may be needed.
    #[serde(default)]
    pub needed: Vec<String>,
    /// Run paths that are fine.
    #[serde(default)]
    pub run_paths: Vec<String>,
    /// The highest symbol version that may be needed: name to version.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Symbol versions without a number that may be needed, such as `GLIBC_ABI_DT_RELR`: no ceiling bounds them.
    #[serde(default)]
    pub unnumbered: Vec<String>,
    /// Least alignment of loaded segments in bytes (16384 for Android).
    #[serde(default)]
    pub alignment: u64,
    /// Compilers and linkers that may have made parts of it, as `.comment` names them; none is named: any may.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Files that hold what was stripped from others, and are never loaded: only their machine counts.
    #[serde(default)]
    pub debug: Vec<String>,
    /// Rules for Android.
    pub android: Option<AndroidPolicy>,
}

/// Rules for Android. Always: every symbol that is wanted is one of a library that is needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AndroidPolicy {
    /// The API level, as the note has it.
    pub api: u32,
    /// The NDK's name, as the note has it.
    pub ndk: String,
    /// The directory of stub libraries of that API level, from the root that the build saw.
    pub stubs: String,
}

/// Something that breaks a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.problem)
    }
}

impl Policy {
    /// Reads a policy and those that it includes (`include = ["base/linux"]`, from its own directory). The digest is that of
    /// the rules that come together, as JSON with sorted keys. Errors: a file is missing, is not a policy, includes itself, or
    /// says something else than one that includes it.
    pub fn load(path: &Path) -> Result<(Self, Digest)> {
        let rules = include::read(path, &mut Vec::new())?;
        let digest = Digest::of(&serde_json::to_vec(&rules)?);
        let policy = rules.try_into().with_context(|| format!("{} is not a policy", path.display()))?;
        Ok((policy, digest))
    }

    /// The policy for what is made with a sysroot.
    pub fn with_sysroot(mut self, name: Option<&str>) -> Self {
        let Some(amendment) = name.and_then(|name| self.sysroots.remove(name)) else { return self };
        self.required.retain(|path| !amendment.not_required.contains(path));
        if let Some(pe) = &mut self.pe {
            pe.imports.extend(amendment.imports);
        }
        self
    }
}

/// Checks all files of `outputs`, which were made for `target`, an LLVM triple. `system` is the environment's tree, for the
/// export tables of system DLLs and the stubs of Android's libraries.
pub fn check(
    store: &Store,
    policy: &Policy,
    target: &str,
    outputs: &Tree,
    system: &Tree,
) -> Result<Vec<Finding>> {
    let machine = Machine::of(target);
    let forbidden: Vec<(&str, [Finder; 2])> =
        policy.forbidden.iter().map(|text| (text.as_str(), finders(text))).collect();
    let mut findings = Vec::new();
    let mut report = |file: &str, problem: String| findings.push(Finding { file: file.to_owned(), problem });
    for pattern in &policy.required {
        if !outputs.iter().any(|(path, _)| fits(pattern, path)) {
            report(pattern, "is missing".to_owned());
        }
    }
    let mut seen = BTreeSet::new();
    for (path, entry) in outputs.iter() {
        let digest = match entry {
            Entry::File { digest, .. } => digest,
            Entry::Symlink { target } => {
                for (text, _) in forbidden.iter().filter(|(_, finders)| holds(finders, target.as_bytes())) {
                    report(path, format!("is a link to `{target}`, which holds `{text}`"));
                }
                continue;
            }
            Entry::Directory => continue,
        };
        let bytes = store.read(digest)?;
        for (text, _) in forbidden.iter().filter(|(_, finders)| holds(finders, &bytes)) {
            report(path, format!("holds `{text}`"));
        }
        for (pattern, texts) in policy.holds.iter().filter(|(pattern, _)| fits(pattern, path)) {
            seen.insert(pattern);
            for text in texts.iter().filter(|text| !holds(&finders(text), &bytes)) {
                report(path, format!("does not hold `{text}`"));
            }
        }
        let mut exports = None;
        if bytes.starts_with(b"MZ") {
            match (&policy.pe, inspect_pe(&bytes)) {
                (_, Err(error)) => report(path, format!("{error:#}")),
                (None, _) => report(path, "is a PE file, for which the policy has no rules".to_owned()),
                (Some(rules), Ok(pe)) => {
                    if machine.map(Machine::pe) != Some(pe.machine) {
                        report(path, format!("is for the machine {:#x}, not for `{target}`", pe.machine));
                    }
                    for problem in check_pe(store, rules, &pe, outputs, system)? {
                        report(path, problem);
                    }
                    exports = Some(pe.exports);
                }
            }
        } else if bytes.starts_with(b"\x7fELF") {
            match (&policy.elf, inspect_elf(&bytes)) {
                (_, Err(error)) => report(path, format!("{error:#}")),
                (None, _) => report(path, "is an ELF file, for which the policy has no rules".to_owned()),
                (Some(rules), Ok(elf)) => {
                    if machine.map(Machine::elf) != Some(elf.machine) {
                        report(path, format!("is for the machine {}, not for `{target}`", elf.machine));
                    }
                    if fits_any(&rules.debug, path) {
                        continue;
                    }
                    for problem in check_elf(rules, &elf, outputs) {
                        report(path, problem);
                    }
                    if let Some(rules) = &rules.android {
                        for problem in android::check(store, rules, &elf, outputs, system)? {
                            report(path, problem);
                        }
                    }
                    exports = Some(elf.exports);
                }
            }
        }
        for (pattern, names) in policy.exports.iter().filter(|(pattern, _)| fits(pattern, path)) {
            seen.insert(pattern);
            for name in names {
                if !exports.iter().flatten().any(|export| fits(name, export)) {
                    report(path, format!("does not export `{name}`"));
                }
            }
        }
    }
    let asked: BTreeSet<_> = policy.holds.keys().chain(policy.exports.keys()).collect();
    for pattern in asked.difference(&seen) {
        report(pattern, "is missing, so what it has to hold or to export can't be checked".to_owned());
    }
    Ok(findings)
}

/// Searches for a text as bytes, and as UTF-16 in the byte order of every machine that we build for.
fn finders(text: &str) -> [Finder<'static>; 2] {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [text.as_bytes(), &wide].map(|bytes| Finder::new(bytes).into_owned())
}

fn holds(finders: &[Finder; 2], bytes: &[u8]) -> bool {
    finders.iter().any(|finder| !finder.needle().is_empty() && finder.find(bytes).is_some())
}

fn check_pe(
    store: &Store,
    rules: &PePolicy,
    pe: &crate::Pe,
    outputs: &Tree,
    system: &Tree,
) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    if pe.time_stamp != 0 && !pe.reproducible {
        problems.push(format!("has the time stamp {:#x}; link with /Brepro", pe.time_stamp));
    }
    if !pe.nx {
        problems.push("may execute data (no NXCOMPAT)".to_owned());
    }
    if !pe.aslr {
        problems.push("is loaded at a fixed address (no DYNAMIC_BASE with HIGH_ENTROPY_VA)".to_owned());
    }
    for import in &pe.imports {
        let name = import.dll.to_ascii_lowercase();
        let own = outputs.iter().find(|(path, _)| {
            path.rsplit('/').next().is_some_and(|file| file.eq_ignore_ascii_case(&import.dll))
        });
        let delayed = fits_any(&rules.delayed, &name);
        if own.is_none() && !delayed && !fits_any(&rules.imports, &name) {
            problems.push(format!("imports `{}`, which is not on the allow-list", import.dll));
            continue;
        }
        if delayed && !import.delayed {
            problems.push(format!(
                "imports `{}` without delay; a machine without it can't load this",
                import.dll
            ));
        }
        if own.is_none() && fits_any(&rules.unknown, &name) {
            continue;
        }
        let alias = rules.aliases.iter().find(|(pattern, _)| fits(pattern, &name));
        let file = alias.map_or(name.as_str(), |(_, file)| file);
        let provider = match own {
            Some((_, entry)) => Some(entry),
            None => system.get(&format!("{}/{file}", rules.providers)),
        };
        let Some(Entry::File { digest, .. }) = provider else {
            problems.push(format!("imports `{}`, whose export table is not at hand (`{file}`)", import.dll));
            continue;
        };
        let provider = match inspect_pe(&store.read(digest)?) {
            Ok(provider) => provider,
            Err(error) => {
                problems
                    .push(format!("imports `{}`, whose export table can't be read: {error:#}", import.dll));
                continue;
            }
        };
        for missing in import.names.iter().filter(|name| !provider.provides(name)) {
            problems.push(format!("imports `{missing}` from `{}`, which does not export it", import.dll));
        }
    }
    Ok(problems)
}

/// The library of a name among the outputs.
pub fn own_library<'a>(outputs: &'a Tree, name: &str) -> Option<&'a Entry> {
    outputs.iter().find(|(path, _)| path.rsplit('/').next() == Some(name)).map(|(_, entry)| entry)
}

fn check_elf(rules: &ElfPolicy, elf: &crate::Elf, outputs: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (wrong, problem) in [
        (elf.executable_stack, "has an executable stack"),
        (elf.text_relocations, "has relocations in its code"),
        (!elf.relro, "has no RELRO segment"),
        (!elf.bind_now, "binds lazily (link with -z now)"),
        (elf.unstripped, "is not stripped"),
    ] {
        if wrong {
            problems.push(problem.to_owned());
        }
    }
    for needed in &elf.needed {
        let own = own_library(outputs, needed).is_some();
        if !own && !fits_any(&rules.needed, needed) {
            problems.push(format!("needs `{needed}`, which is not on the allow-list"));
        }
    }
    if let Some(path) = elf.run_path.as_ref().filter(|path| !rules.run_paths.contains(path)) {
        problems.push(format!("looks for libraries in `{path}`"));
    }
    for (library, version) in &elf.versions {
        let Some(ceiling) = rules.versions.get(library) else { continue };
        if parse_version(version) > parse_version(ceiling) {
            problems.push(format!("needs {library}_{version}, above the ceiling {ceiling}"));
        }
    }
    for version in elf.unnumbered.iter().filter(|version| !rules.unnumbered.contains(version)) {
        problems.push(format!("needs `{version}`, a version without a number, which no ceiling bounds"));
    }
    if !rules.tools.is_empty() {
        if elf.tools.is_empty() {
            problems.push("does not say what it was made with (`.comment`)".to_owned());
        }
        for tool in elf.tools.iter().filter(|tool| !fits_any(&rules.tools, tool)) {
            problems.push(format!("was made with `{tool}`, which is not on the allow-list"));
        }
    }
    if elf.alignment < rules.alignment {
        problems.push(format!("has segments aligned to {} bytes, not to {}", elf.alignment, rules.alignment));
    }
    problems
}

#[cfg(test)]
mod tests;

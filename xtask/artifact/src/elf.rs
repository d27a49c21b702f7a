//! ELF shared libraries (System V ABI, gABI): what one needs, exports and says of itself.

use crate::{
    AndroidIdent,
    names::{MOST_BYTES, name},
};
use anyhow::{Context, Result};
use object::{
    Endianness, Object, ObjectSection, elf,
    read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader, Sym},
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A 64-bit ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Elf {
    /// EM_*, 62 for x86-64, 183 for arm64.
    pub machine: u16,
    /// Libraries that it needs (DT_NEEDED).
    pub needed: Vec<String>,
    /// Where they are looked for (DT_RUNPATH or DT_RPATH), as it is written.
    pub run_path: Option<String>,
    /// DT_SONAME.
    pub soname: Option<String>,
    /// Highest version of each library's symbol versions: `GLIBC` to `2.34`.
    pub versions: Vec<(String, String)>,
    /// Versions that are needed and end in no number, such as `GLIBC_PRIVATE`, sorted.
    pub unnumbered: Vec<String>,
    /// Names of defined dynamic symbols, sorted.
    pub exports: Vec<String>,
    /// Names of undefined dynamic symbols that are not weak, sorted.
    pub undefined: Vec<String>,
    /// Whether relocations are read-only after start (PT_GNU_RELRO) and all are done then (DF_BIND_NOW).
    pub relro: bool,
    /// All relocations are done at start.
    pub bind_now: bool,
    /// Code is relocated (DT_TEXTREL), so it must be writable at start.
    pub text_relocations: bool,
    /// The stack may be executed (PT_GNU_STACK with PF_X, or none).
    pub executable_stack: bool,
    /// Smallest alignment of a loaded segment in bytes.
    pub alignment: u64,
    /// Whether there is a symbol table or debug information beside the dynamic one.
    pub unstripped: bool,
    /// Android's note, where there is one.
    pub android: Option<AndroidIdent>,
    /// What its parts were made with, as compilers and linkers leave it in `.comment`, sorted. Stripping keeps it.
    pub tools: Vec<String>,
    /// Sections: name, offset in the file, size in the file.
    pub sections: Vec<(String, u64, u64)>,
}

/// Reads a 64-bit ELF file. Errors: it is none, or its tables are damaged.
pub fn inspect_elf(bytes: &[u8]) -> Result<Elf> {
    let file = ElfFile64::<Endianness>::parse(bytes).context("this is not a 64-bit ELF file")?;
    let endian = file.endian();
    let header = file.elf_header();
    let mut elf = Elf {
        machine: header.e_machine(endian).0,
        executable_stack: true,
        alignment: u64::MAX,
        ..Elf::default()
    };
    let segments = file.elf_program_headers();
    for segment in segments {
        match segment.p_type(endian) {
            elf::PT_GNU_RELRO => elf.relro = true,
            elf::PT_GNU_STACK => elf.executable_stack = segment.p_flags(endian).0 & elf::PF_X.0 != 0,
            elf::PT_LOAD => elf.alignment = elf.alignment.min(segment.p_align(endian)),
            elf::PT_NOTE => {
                let notes = segment.notes(endian, bytes).context("the notes are damaged")?;
                let mut notes = notes.context("the notes are damaged")?;
                while let Some(note) = notes.next().context("the notes are damaged")? {
                    // NT_VERSION is the type that bionic gives its own note too.
                    if note.name() == b"Android"
                        && note.n_type(endian) == object::elf::NoteType(elf::NT_VERSION)
                    {
                        elf.android = AndroidIdent::parse(note.desc());
                    }
                }
            }
            _ => {}
        }
    }
    let sections = file.elf_section_table();
    let (dynamic, strings) =
        match sections.dynamic(endian, bytes).context("the dynamic section is damaged")? {
            Some((entries, link)) => {
                (entries, sections.strings(endian, bytes, link).context("the dynamic strings are damaged")?)
            }
            None => (&[][..], Default::default()),
        };
    let mut left = MOST_BYTES;
    let mut string = |value: u64| -> Result<String> {
        let offset = u32::try_from(value).context("a dynamic string is out of bounds")?;
        let bytes = strings.get(offset).map_err(|()| anyhow::anyhow!("a dynamic string is out of bounds"))?;
        name(bytes, &mut left)
    };
    for entry in dynamic {
        let value: u64 = entry.d_val(endian);
        match entry.d_tag(endian) {
            elf::DT_NEEDED => elf.needed.push(string(value)?),
            elf::DT_SONAME => elf.soname = Some(string(value)?),
            elf::DT_RUNPATH | elf::DT_RPATH => {
                elf.run_path = Some(string(value)?);
            }
            elf::DT_TEXTREL => elf.text_relocations = true,
            elf::DT_BIND_NOW => elf.bind_now = true,
            elf::DT_FLAGS => {
                elf.bind_now |= value & elf::DF_BIND_NOW.0 != 0;
                elf.text_relocations |= value & elf::DF_TEXTREL.0 != 0;
            }
            elf::DT_FLAGS_1 => elf.bind_now |= value & elf::DF_1_NOW.0 != 0,
            _ => {}
        }
    }
    let symbols = file.elf_dynamic_symbol_table();
    for symbol in symbols.iter() {
        let bytes = symbols.symbol_name(endian, symbol).context("a dynamic symbol has no name")?;
        let name = name(bytes, &mut left)?;
        if name.is_empty() {
            continue;
        }
        match symbol.is_undefined(endian) {
            false => elf.exports.push(name),
            true if symbol.st_bind() != elf::STB_WEAK => elf.undefined.push(name),
            true => {}
        }
    }
    elf.exports.sort();
    elf.undefined.sort();
    (elf.versions, elf.unnumbered) = versions(&file, bytes, &mut left)?;
    let mut tools = BTreeSet::new();
    for section in file.sections() {
        let (offset, size) = section.file_range().unwrap_or_default();
        let name = String::from_utf8_lossy(section.name_bytes()?).into_owned();
        elf.unstripped |= name == ".symtab" || name.starts_with(".debug");
        if name == ".comment" {
            let text = section.data().context("the section `.comment` is damaged")?;
            for tool in text.split(|byte| *byte == 0).filter(|tool| !tool.is_empty()) {
                tools.insert(crate::names::name(tool, &mut left)?);
            }
        }
        elf.sections.push((name, offset, size));
    }
    elf.tools = tools.into_iter().collect();
    Ok(elf)
}

/// Versions by name, and what is no such version.
type Versions = (Vec<(String, String)>, Vec<String>);

/// The highest version of each name among the versions that are needed: `GLIBC_2.34` and `GLIBC_2.4` give `2.34`; then those
/// that have no number.
fn versions(file: &ElfFile64<Endianness>, bytes: &[u8], left: &mut usize) -> Result<Versions> {
    let endian = file.endian();
    let sections = file.elf_section_table();
    let mut highest: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut unnumbered = BTreeSet::new();
    let Some((mut needed, link)) = sections.gnu_verneed(endian, bytes).context("the versions are damaged")?
    else {
        return Ok(Versions::default());
    };
    let strings = sections.strings(endian, bytes, link).context("the versions' strings are damaged")?;
    while let Some((_, mut auxiliary)) = needed.next().context("the versions are damaged")? {
        while let Some(version) = auxiliary.next().context("the versions are damaged")? {
            let name = name(version.name(endian, strings).context("a version has no name")?, left)?;
            match name.rsplit_once('_').and_then(|(library, number)| Some((library, parse_version(number)?)))
            {
                Some((library, number)) => {
                    let known = highest.entry(library.to_owned()).or_default();
                    if number > *known {
                        *known = number;
                    }
                }
                None => {
                    unnumbered.insert(name);
                }
            }
        }
    }
    let text = |number: Vec<u32>| number.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    let highest = highest.into_iter().map(|(library, number)| (library, text(number))).collect();
    Ok((highest, unnumbered.into_iter().collect()))
}

/// `2.34` as numbers, so that versions compare as versions.
pub fn parse_version(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

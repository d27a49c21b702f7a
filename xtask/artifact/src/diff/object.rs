//! PE files, ELF files and COFF objects: headers, sections, imports, exports, symbols, notes; then the bytes of sections.

use super::{
    Comparison,
    bytes::{self, Symbols},
    cause::Cause,
    fact::{self, Facts},
    windows,
};
use ::object::{
    Endianness, File, FileFlags, Object, ObjectSection, ObjectSymbol, elf,
    read::elf::{ElfFile64, FileHeader, ProgramHeader},
    read::{ExportTarget, NameOrOrdinal},
};
use std::borrow::Cow;

/// Compares two of them.
pub fn compare(comparison: &mut Comparison, expected: &[u8], found: &[u8]) {
    let (left, right) = match (File::parse(expected), File::parse(found)) {
        (Ok(left), Ok(right)) => (left, right),
        (left, right) => {
            let error = left.err().or(right.err()).map_or_else(String::new, |error| error.to_string());
            comparison.notes.push(format!("can't be taken apart: {error}"));
            return;
        }
    };
    fact::compare(comparison, &facts(&left, expected), &facts(&right, found));
    let symbols = symbols(&left);
    sections(comparison, &left, &right, &symbols);
    if comparison.changes.is_empty() {
        // What stands between the sections, and in headers that nobody reads.
        bytes::compare(comparison, expected, found, 0, &symbols);
    }
}

fn facts(file: &File, bytes: &[u8]) -> Facts {
    let mut facts = Facts::default();
    facts.add("headers", "format", format!("{:?}", file.format()));
    facts.add("headers", "architecture", format!("{:?}", file.architecture()));
    facts.add("headers", "kind", format!("{:?}", file.kind()));
    facts.add("headers", "entry", format!("{:#x}", file.entry()));
    facts.add("headers", "image base", format!("{:#x}", file.relative_address_base()));
    match file.flags() {
        FileFlags::None => {}
        flags => facts.add("headers", "flags", format!("{flags:?}")),
    }
    for section in file.sections() {
        let name = String::from_utf8_lossy(section.name_bytes().unwrap_or_default()).into_owned();
        facts.add("sections", name, format!("{} bytes, {:?}", section.size(), section.flags()));
    }
    for import in file.imports().into_iter().flatten().flatten() {
        let library = String::from_utf8_lossy(import.library()).into_owned();
        let name = match import.name() {
            NameOrOrdinal::Name(name) => String::from_utf8_lossy(name).into_owned(),
            NameOrOrdinal::Ordinal(number) => format!("#{number}"),
        };
        facts
            .name("imports", if library.is_empty() { name } else { format!("{library}: {name}") }.as_bytes());
    }
    for export in file.exports().into_iter().flatten().flatten() {
        facts.name("exports", &windows::name(export.into_name()));
    }
    for symbol in file.symbols() {
        if let Ok(name) = symbol.name_bytes()
            && !name.is_empty()
        {
            let name = String::from_utf8_lossy(name).into_owned();
            facts.add("symbols", name, format!("{:?}, {} bytes", symbol.kind(), symbol.size()));
        }
    }
    match bytes {
        [b'M', b'Z', ..] => windows::facts(bytes, &mut facts),
        [0x7f, ..] => elf_facts(file, bytes, &mut facts),
        // The time stamp of a COFF object is at the same place in both of its headers.
        _ => windows::coff(bytes, &mut facts),
    }
    facts
}

fn elf_facts(file: &File, bytes: &[u8], facts: &mut Facts) {
    if let Ok(inspected) = crate::inspect_elf(bytes) {
        inspected.needed.iter().for_each(|name| facts.name("needed libraries", name.as_bytes()));
        facts.add("dynamic section", "soname", inspected.soname.unwrap_or_default());
        facts.add_with(Cause::Path, "dynamic section", "run path", inspected.run_path.unwrap_or_default());
        for (library, version) in inspected.versions {
            facts.add_with(Cause::Tool, "symbol versions", library, version);
        }
    }
    // Objects have no segments, so their tools are read here too.
    if let Some(data) = file.section_by_name(".comment").and_then(|section| section.data().ok()) {
        let text: Vec<_> = data
            .split(|byte| *byte == 0)
            .filter(|tool| !tool.is_empty())
            .map(String::from_utf8_lossy)
            .collect();
        facts.add_with(Cause::Tool, "tools (.comment)", "versions", text.join(", "));
    }
    let Ok(raw) = ElfFile64::<Endianness>::parse(bytes) else { return };
    let endian = raw.endian();
    facts.add("headers", "segments", raw.elf_program_headers().len());
    facts.add("headers", "section headers", raw.elf_header().e_shnum(endian));
    for segment in raw.elf_program_headers() {
        let Ok(Some(mut notes)) = segment.notes(endian, bytes) else { continue };
        while let Ok(Some(note)) = notes.next() {
            let name = String::from_utf8_lossy(note.name()).into_owned();
            let hex: String = note.desc().iter().take(64).map(|byte| format!("{byte:02x}")).collect();
            let kind = note.n_type(endian).0;
            match (name.as_str(), kind) {
                ("GNU", 3) => facts.add_with(Cause::Identifier, "notes", "GNU build ID", hex),
                // NT_GNU_PROPERTY_TYPE_0: which processors it asks for, and control-flow protection.
                ("GNU", 5) => facts.add_with(Cause::Processor, "notes", "GNU properties", hex),
                _ => facts.add("notes", format!("{name}, type {kind}"), hex),
            }
        }
    }
    debug_assert_eq!(elf::NT_GNU_BUILD_ID.0, 3);
}

/// Symbols of all tables by their offset in the file.
fn symbols<'a>(file: &File<'a>) -> Vec<(u64, Cow<'a, [u8]>)> {
    /// More are not kept.
    const MOST: usize = 1 << 20;
    let ranges: Vec<(u64, u64, u64)> = file
        .sections()
        .filter_map(|section| {
            let (offset, size) = section.file_range()?;
            Some((section.address(), size, offset))
        })
        .collect();
    let place = |address: u64| {
        ranges.iter().find_map(|(start, size, offset)| {
            let within = address.checked_sub(*start).filter(|within| within < size)?;
            offset.checked_add(within)
        })
    };
    let mut found: Vec<(u64, Cow<'a, [u8]>)> = Vec::new();
    for symbol in
        file.symbols().chain(file.dynamic_symbols()).filter(|symbol| symbol.is_definition()).take(MOST)
    {
        if let (Ok(name), Some(offset)) = (symbol.name_bytes(), place(symbol.address()))
            && !name.is_empty()
        {
            found.push((offset, name.into()));
        }
    }
    for export in file.exports().into_iter().flatten().flatten().take(MOST) {
        let ExportTarget::Address { address } = export.target() else { continue };
        if let Some(offset) = place(address) {
            found.push((offset, windows::name(export.into_name())));
        }
    }
    found.sort_unstable();
    found
}

/// The bytes of sections that both have.
fn sections(comparison: &mut Comparison, left: &File, right: &File, symbols: &Symbols) {
    let others: Vec<_> = right.sections().collect();
    for (index, section) in left.sections().enumerate() {
        let name = section.name_bytes().unwrap_or_default();
        // Most objects have several sections of one name, in one order.
        let same = others.get(index).filter(|other| other.name_bytes().unwrap_or_default() == name);
        let Some(other) =
            same.or_else(|| others.iter().find(|it| it.name_bytes().unwrap_or_default() == name))
        else {
            continue;
        };
        let (Ok(a), Ok(b)) = (section.data(), other.data()) else { continue };
        if a != b {
            let start = section.file_range().map_or(0, |(offset, _)| offset);
            // The nearest symbol of another section says nothing.
            let first = symbols.partition_point(|(offset, _)| *offset < start);
            let last = symbols.partition_point(|(offset, _)| *offset < start.saturating_add(a.len() as u64));
            let symbols = symbols.get(first..last).unwrap_or_default();
            let place = format!("section {}", fact::shown(&String::from_utf8_lossy(name)));
            bytes::compare_in(comparison, &place, (a, b), start, symbols);
        }
    }
}

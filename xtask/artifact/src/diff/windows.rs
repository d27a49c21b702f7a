//! What PE files have beside sections and tables of names: time stamps, the checksum, resources, the debug directory.

use super::{cause::Cause, fact::Facts};
use object::{
    LittleEndian as LE, Object,
    pe::{self, ImageNtHeaders32, ImageNtHeaders64},
    read::NameOrOrdinal,
    read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile, ResourceDirectory, ResourceDirectoryEntryData},
};
use std::borrow::Cow;
use store::Digest;

/// Resources that are looked at.
const MOST_RESOURCES: usize = 4096;

/// Types, names and languages: a resource stands at the third level.
const LEVELS: usize = 3;

/// The name of an import or export; `#N` for a number.
pub fn name<'a>(name: NameOrOrdinal<Cow<'a, [u8]>>) -> Cow<'a, [u8]> {
    match name {
        NameOrOrdinal::Name(name) => name,
        NameOrOrdinal::Ordinal(number) => format!("#{number}").into_bytes().into(),
    }
}

/// The facts of a PE file.
pub fn facts(bytes: &[u8], facts: &mut Facts) {
    if let Ok(file) = PeFile::<ImageNtHeaders64>::parse(bytes) {
        all(&file, facts);
    } else if let Ok(file) = PeFile::<ImageNtHeaders32>::parse(bytes) {
        all(&file, facts);
    }
}

/// The time stamp of a COFF object: of the ordinary header, or of the one for imports and many sections.
pub fn coff(bytes: &[u8], facts: &mut Facts) {
    let start = if bytes.starts_with(&[0, 0, 0xff, 0xff]) { 8 } else { 4 };
    if let Some(time) = bytes.get(start..start + 4).and_then(|bytes| bytes.try_into().ok()) {
        facts.add_with(Cause::TimeStamp, "headers", "time stamp", time_text(u32::from_le_bytes(time)));
    }
}

fn all<Pe: ImageNtHeaders>(file: &PeFile<Pe>, facts: &mut Facts) {
    let headers = file.nt_headers();
    let (header, optional) = (headers.file_header(), headers.optional_header());
    let stamp = header.time_date_stamp.get(LE);
    facts.add_with(Cause::TimeStamp, "headers", "time stamp", time_text(stamp));
    let linker = format!("{}.{}", optional.major_linker_version(), optional.minor_linker_version());
    facts.add_with(Cause::Tool, "headers", "linker version", linker);
    facts.add_with(Cause::Identifier, "headers", "checksum", format!("{:#x}", optional.check_sum()));
    facts.add("headers", "subsystem", format!("{:?}", optional.subsystem()));
    facts.add("headers", "DLL characteristics", format!("{:?}", optional.dll_characteristics()));
    facts.add(
        "headers",
        "stack",
        format!("{} / {}", optional.size_of_stack_reserve(), optional.size_of_stack_commit()),
    );
    if let Some(rich) = file.rich_header_info() {
        facts.add_with(Cause::Tool, "headers", "Rich header", format!("{:#x}", rich.xor_key));
    }
    if let Ok(Some(table)) = file.export_table() {
        let stamp = table.directory().time_date_stamp.get(LE);
        facts.add_with(Cause::TimeStamp, "exports", "(time stamp)", time_text(stamp));
    }
    let sections = file.section_table();
    if let Ok(Some(directory)) = file.data_directories().resource_directory(file.data(), &sections) {
        resources(directory, file, facts);
    }
    debug(file, facts);
}

/// Walks the tables of resources without recursion; a hostile one may lead in circles, so its entries are counted.
fn resources<Pe: ImageNtHeaders>(directory: ResourceDirectory, file: &PeFile<Pe>, facts: &mut Facts) {
    let mut open: Vec<(String, object::read::pe::ResourceDirectoryTable)> = Vec::new();
    open.extend(directory.root().ok().map(|root| (String::new(), root)));
    let mut left = MOST_RESOURCES;
    while let Some((path, table)) = open.pop() {
        let stamp = table.header.time_date_stamp.get(LE);
        if stamp != 0 {
            facts.add_with(Cause::TimeStamp, "resources", format!("{path}/(time stamp)"), time_text(stamp));
        }
        for entry in table.entries {
            let Some(rest) = left.checked_sub(1) else { return };
            left = rest;
            let name = match entry.name_or_id() {
                object::read::pe::ResourceNameOrId::Id(id) => id.to_string(),
                object::read::pe::ResourceNameOrId::Name(name) => {
                    name.to_string_lossy(directory).unwrap_or_else(|_| "?".to_owned())
                }
            };
            let path = format!("{path}/{}", if path.is_empty() { kind(&name) } else { &name });
            match entry.data(directory) {
                Ok(ResourceDirectoryEntryData::Table(table)) if path.matches('/').count() < LEVELS => {
                    open.push((path, table));
                }
                Ok(ResourceDirectoryEntryData::Data(data)) => {
                    let (start, size) = (data.offset_to_data.get(LE), data.size.get(LE));
                    let content = file.section_table().pe_data_at(file.data(), start);
                    let content =
                        content.and_then(|content| content.get(..size as usize)).unwrap_or_default();
                    let sha256 = Digest::of(content).hex();
                    let text = text(content);
                    facts.add("resources", path, format!("{size} bytes, sha256 {}… {text}", &sha256[..16]));
                }
                _ => {}
            }
        }
    }
}

/// The beginning of a resource's UTF-16 text: of a version, the strings.
fn text(content: &[u8]) -> String {
    let units = content.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units.take(4096))
        .map(|c| c.unwrap_or('\0'))
        .map(|c| if c.is_ascii_graphic() { c } else { ' ' })
        .collect();
    let words: Vec<_> = text.split_whitespace().filter(|word| word.len() > 2).take(60).collect();
    words.join(" ")
}

/// The names of resource types that Windows gives numbers (winuser.h).
fn kind(id: &str) -> &str {
    match id {
        "3" => "icon",
        "6" => "strings",
        "10" => "data",
        "11" => "messages",
        "14" => "icons",
        "16" => "version",
        "24" => "manifest",
        other => other,
    }
}

/// The entries of the debug directory (PE/COFF specification, 5.1.1): 28 bytes each.
fn debug<Pe: ImageNtHeaders>(file: &PeFile<Pe>, facts: &mut Facts) {
    const ENTRY: usize = 28;
    const MOST: usize = 64;
    let Some(directory) = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_DEBUG) else { return };
    let Ok(entries) = directory.data(file.data(), &file.section_table()) else { return };
    for entry in entries.chunks_exact(ENTRY).take(MOST) {
        let number = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let kind = match number(12) {
            2 => "CodeView".to_owned(),
            16 => "reproducible".to_owned(),
            20 => "characteristics".to_owned(),
            other => format!("type {other}"),
        };
        facts.add_with(
            Cause::TimeStamp,
            "debug directory",
            format!("{kind}: time stamp"),
            time_text(number(4)),
        );
        facts.add("debug directory", format!("{kind}: size"), number(16));
    }
    if let Ok(Some(info)) = file.pdb_info() {
        let path = String::from_utf8_lossy(info.path()).into_owned();
        let guid: String = info.guid().iter().map(|byte| format!("{byte:02x}")).collect();
        facts.add("debug directory", "PDB file", path);
        facts.add_with(
            Cause::Identifier,
            "debug directory",
            "PDB identifier",
            format!("{guid}, age {}", info.age()),
        );
    }
}

/// A time stamp as a number and, where it is one, as a time.
fn time_text(seconds: u32) -> String {
    match super::cause::is_time(seconds.into()) {
        true => format!("{seconds:#010x} ({})", super::text::time(seconds.into())),
        false => format!("{seconds:#010x}"),
    }
}

//! PE files (Microsoft PE/COFF specification): what a DLL imports, exports and says of itself.

use crate::names::{MOST_BYTES, name};
use anyhow::{Context, Result};
use object::{
    LittleEndian as LE, Object, ObjectSection, pe,
    read::pe::{ImageNtHeaders, ImageOptionalHeader, ImageThunkData, Import as RawImport, PeFile64},
};
use serde::Serialize;

/// What is imported from one DLL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The DLL's name as it is written.
    pub dll: String,
    /// Whether it is loaded at the first call only.
    pub delayed: bool,
    /// Names of functions and variables; `#N` for ordinals.
    pub names: Vec<String>,
}

/// A 64-bit PE file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pe {
    /// IMAGE_FILE_MACHINE_*, 0x8664 for x86-64.
    pub machine: u16,
    /// The COFF header's time stamp.
    pub time_stamp: u32,
    /// Whether the debug directory says that time stamps are hashes (IMAGE_DEBUG_TYPE_REPRO, what /Brepro writes).
    pub reproducible: bool,
    /// Data execution prevention (NXCOMPAT).
    pub nx: bool,
    /// Address space layout randomisation (DYNAMIC_BASE and HIGH_ENTROPY_VA).
    pub aslr: bool,
    /// Imports, in the order of the tables, normal ones first.
    pub imports: Vec<Import>,
    /// Exported names, sorted.
    pub exports: Vec<String>,
    /// Numbers of all exports, named or not, as ranges from the first to the last of a run.
    pub ordinals: Vec<(u16, u16)>,
    /// Sections: name, offset in the file, size in the file.
    pub sections: Vec<(String, u64, u64)>,
}

impl Pe {
    /// Whether it exports what an import names: a name, or `#N` for an ordinal.
    pub fn provides(&self, import: &str) -> bool {
        match import.strip_prefix('#').map(str::parse) {
            Some(Ok(ordinal)) => {
                self.ordinals.iter().any(|(first, last)| (*first..=*last).contains(&ordinal))
            }
            _ => self.exports.binary_search_by(|export| export.as_str().cmp(import)).is_ok(),
        }
    }
}

/// Reads a 64-bit PE file. Errors: it is none, or its tables are damaged.
pub fn inspect_pe(bytes: &[u8]) -> Result<Pe> {
    let file = PeFile64::parse(bytes).context("this is not a 64-bit PE file")?;
    let header = file.nt_headers();
    let coff = header.file_header();
    let mut left = MOST_BYTES;
    let characteristics = header.optional_header().dll_characteristics();
    let has = |flags: pe::DllFlags| characteristics.0 & flags.0 == flags.0;
    let mut pe = Pe {
        machine: coff.machine.get(LE).0,
        time_stamp: coff.time_date_stamp.get(LE),
        reproducible: is_reproducible(&file),
        nx: has(pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT),
        aslr: has(pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE | pe::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA),
        imports: imports(&file, &mut left)?,
        ..Pe::default()
    };
    if let Some(table) = file.export_table().context("the export table is damaged")? {
        for (pointer, _) in table.name_iter() {
            let bytes = table.name_from_pointer(pointer).context("an export has no name")?;
            pe.exports.push(name(bytes, &mut left)?);
        }
        // A free number in the table has the address 0; what lies above the last number is damage that nothing can import.
        for (ordinal, address) in (table.ordinal_base()..=u16::MAX).zip(table.addresses()) {
            if address.get(LE) == 0 {
                continue;
            }
            match pe.ordinals.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(ordinal) => *last = ordinal,
                _ => pe.ordinals.push((ordinal, ordinal)),
            }
        }
    }
    pe.exports.sort();
    for section in file.sections() {
        let (offset, size) = section.file_range().unwrap_or_default();
        pe.sections.push((String::from_utf8_lossy(section.name_bytes()?).into_owned(), offset, size));
    }
    Ok(pe)
}

fn imports(file: &PeFile64, left: &mut usize) -> Result<Vec<Import>> {
    let mut found = Vec::new();
    if let Some(table) = file.import_table().context("the import table is damaged")? {
        let mut descriptors = table.descriptors()?;
        while let Some(descriptor) = descriptors.next().context("the import table is damaged")? {
            let dll = name(table.name(descriptor.name.get(LE))?, left)?;
            let mut import = Import { dll, ..Import::default() };
            let mut address = descriptor.original_first_thunk.get(LE);
            if address == 0 {
                address = descriptor.first_thunk.get(LE);
            }
            let mut thunks = table.thunks(address)?;
            while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>()? {
                import.names.push(imported(table.import::<pe::ImageNtHeaders64>(thunk)?, left)?);
            }
            found.push(import);
        }
    }
    if let Some(table) = file.delay_load_import_table().context("the delay import table is damaged")? {
        let mut descriptors = table.descriptors()?;
        while let Some(descriptor) = descriptors.next().context("the delay import table is damaged")? {
            let dll = name(table.name(descriptor.dll_name_rva.get(LE))?, left)?;
            let mut import = Import { dll, delayed: true, names: Vec::new() };
            let mut thunks = table.thunks(descriptor.import_name_table_rva.get(LE))?;
            while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>()? {
                let named = match thunk.is_ordinal() {
                    true => RawImport::Ordinal(thunk.ordinal()),
                    false => table.import::<pe::ImageNtHeaders64>(thunk)?,
                };
                import.names.push(imported(named, left)?);
            }
            found.push(import);
        }
    }
    Ok(found)
}

fn imported(import: RawImport, left: &mut usize) -> Result<String> {
    match import {
        RawImport::Ordinal(ordinal) => name(format!("#{ordinal}").as_bytes(), left),
        RawImport::Name(_, bytes) => name(bytes, left),
    }
}

/// Looks for a debug directory entry of type IMAGE_DEBUG_TYPE_REPRO (16).
fn is_reproducible(file: &PeFile64) -> bool {
    const ENTRY: usize = 28;
    const TYPE: std::ops::Range<usize> = 12..16;
    let Some(directory) = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_DEBUG) else { return false };
    let Ok(entries) = directory.data(file.data(), &file.section_table()) else { return false };
    entries
        .chunks_exact(ENTRY)
        .any(|entry| entry[TYPE].try_into().is_ok_and(|kind| u32::from_le_bytes(kind) == 16))
}

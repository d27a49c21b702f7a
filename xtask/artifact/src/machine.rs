//! Processors, as triples, PE files and ELF files name them.

/// A processor's architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86_64,
    /// Arm, 64 bits.
    Aarch64,
}

impl Machine {
    /// That of an LLVM triple, if there is a library for it that we know.
    pub fn of(triple: &str) -> Option<Self> {
        match triple.split('-').next()? {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// IMAGE_FILE_MACHINE_* of the PE/COFF specification.
    pub fn pe(self) -> u16 {
        match self {
            Self::X86_64 => 0x8664,
            Self::Aarch64 => 0xaa64,
        }
    }

    /// EM_* of the ELF specification.
    pub fn elf(self) -> u16 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
        }
    }
}

/// A processor by IMAGE_FILE_MACHINE_*, with the number where it has no name here.
pub fn pe_name(number: u16) -> String {
    named(
        number,
        &[(0x8664, "x86-64"), (0xaa64, "arm64"), (0x14c, "x86"), (0x1c4, "arm"), (0xa641, "arm64ec")],
    )
}

/// A processor by EM_*, with the number where it has no name here.
pub fn elf_name(number: u16) -> String {
    named(
        number,
        &[(62, "x86-64"), (183, "arm64"), (3, "x86"), (40, "arm"), (243, "riscv"), (258, "loongarch")],
    )
}

fn named(number: u16, names: &[(u16, &str)]) -> String {
    let name = names.iter().find(|(known, _)| *known == number).map_or("unknown", |(_, name)| name);
    format!("{name} ({number:#x})")
}

//! What artifacts are made of: deterministic archives, what stands in PE and ELF files, and whether that may stand there.

mod archive;
mod difference;
mod elf;
mod member;
mod names;
mod pattern;
mod pe;
mod policy;

pub use archive::{Kind, read_archive, write_archive};
pub use difference::{Difference, first_difference};
pub use elf::{Elf, inspect_elf};
pub use member::{Content, Limits, Member, list_archive};
pub use pe::{Import, Pe, inspect_pe};
pub use policy::{Finding, Policy, check};

//! What artifacts are made of: deterministic archives, wheels and AARs, what stands in PE and ELF files, and whether that may stand there.

mod aar;
mod android;
mod archive;
mod contents;
mod diff;
mod difference;
mod elf;
mod form;
mod machine;
mod member;
mod names;
mod pattern;
mod pe;
mod policy;
mod results;
mod wheel;

pub use aar::{Aar, AarMetadata, Coordinates, Dependency, JniLibrary, inspect_aar, write_aar};
pub use android::AndroidIdent;
pub use archive::{Kind, write_archive};
pub use contents::{Contents, Library, is_aar, list_contents};
pub use diff::{Cause, Change, Comparison, Side, compare_bytes, compare_paths};
pub use difference::{Difference, first_difference};
pub use elf::{Elf, inspect_elf};
pub use form::{Listing, ReadAt, list_in_form};
pub use machine::{Machine, elf_name, pe_name};
pub use member::{Content, Limits, Member, list_archive};
pub use pe::{Import, Pe, inspect_pe};
pub use policy::{Amendment, Finding, Policy, check};
pub use results::{ArchivePeer, ResultIndex, read_results, write_results};
pub use wheel::{Metadata, WheelName, record_text, wheel_tags, wheel_texts, write_wheel};

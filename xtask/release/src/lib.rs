//! Releases: a directory of artifacts with a manifest and checksums, and the verification that trusts nothing but files.

mod assemble;
mod bom;
mod compare;
mod definition;
mod directory;
#[cfg(test)]
mod example;
mod manifest;
mod maven;
mod model;
mod names;
mod oci;
mod page;
mod parts;
mod process;
mod provenance;
mod pypi;
mod trust;
mod verifier;
mod verify;

pub use assemble::{assemble, take_marks};
pub use bom::NAME as BOM;
pub use compare::compare;
pub use definition::Definition;
pub use directory::{Written, check_destination, write};
pub use manifest::{
    Artifact, EnvironmentFacts, FIRST_SCHEMA, File, InputFacts, Manifest, Missing, PROGRAM, Part,
    PolicyFacts, SCHEMA, SECOND_SCHEMA, Step, Wanted, archive_kind,
};
pub use maven::publish_maven;
pub use model::{Conversion, Model};
pub use oci::{Fetched, Published, fetch_oci, oci_digest, publish_oci, read_oci};
pub use page::{Rebuild, comparison_page, rebuild_page, release_page};
pub use provenance::{
    Attested, CHECKSUMS_SIGNATURE, DIRECTORY as PROVENANCE, attest, check_change, clear as clear_signatures,
    collected, merge, release_name, sign_model, sign_models,
};
pub use pypi::publish_pypi;
pub use trust::Trust;
pub use verify::{Check, Counts, Problem, Signed, Verdict, verify, verify_with};

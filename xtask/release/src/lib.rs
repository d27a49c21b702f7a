//! Releases: a directory of artifacts with a manifest and checksums, and the verification that trusts nothing but files.

mod assemble;
mod compare;
mod definition;
mod directory;
#[cfg(test)]
mod example;
mod manifest;
mod maven;
mod model;
mod names;
mod process;
mod verifier;
mod verify;

pub use assemble::assemble;
pub use compare::compare;
pub use definition::Definition;
pub use directory::{Written, write};
pub use manifest::{
    Artifact, EnvironmentFacts, FIRST_SCHEMA, File, InputFacts, Manifest, Missing, PROGRAM, PolicyFacts,
    SCHEMA, Step, Wanted, archive_kind,
};
pub use maven::publish_maven;
pub use model::{Conversion, Model};
pub use verify::{Counts, Problem, Verdict, verify};

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
mod verify;

pub use assemble::assemble;
pub use compare::compare;
pub use definition::Definition;
pub use directory::{Written, write};
pub use manifest::{
    Artifact, EnvironmentFacts, File, InputFacts, Manifest, Missing, PolicyFacts, SCHEMA, Step, Wanted,
    archive_kind,
};
pub use maven::publish_maven;
pub use model::{Conversion, Model};
pub use verify::{Problem, missing, verify};

//! Releases: a directory of artifacts with a manifest and checksums, and the verification that trusts nothing but files.

mod compare;
mod definition;
mod directory;
mod manifest;
mod verify;

pub use compare::compare;
pub use definition::Definition;
pub use directory::{Written, write};
pub use manifest::{Artifact, File, Manifest, assemble};
pub use verify::{Problem, verify};

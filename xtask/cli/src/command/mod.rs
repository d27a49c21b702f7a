//! One file a subcommand.

pub mod artifact;
pub mod attest;
pub mod build;
pub mod ci;
pub mod completions;
pub mod diff;
pub mod doctor;
pub mod environment;
pub mod explain;
pub mod fetch;
pub mod fetch_release;
pub mod graph;
pub mod lock;
pub mod log;
pub mod man;
pub mod matrix;
pub mod model;
pub mod patch;
pub mod publish;
pub mod release;
pub mod report;
pub mod store;
pub mod vendor;
pub mod verify;

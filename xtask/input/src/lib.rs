//! Inputs: what is pinned in lock files, fetched into the store, unpacked into trees. Nothing else enters a build.

mod ahead;
mod apt;
mod archive;
mod cargo;
mod client;
mod command;
mod configuration;
mod debian;
mod download;
mod fetch;
mod git;
mod given;
mod host;
mod hub;
mod index;
mod intent;
mod line_ends;
mod lock;
mod microsoft;
mod mirror;
mod model;
mod network;
mod oci;
mod pack;
mod peer;
mod push;
mod reachable;
mod registries;
mod unpack;
mod url;
mod vendor;
mod wanted;
mod way;

pub use ahead::{to_fetch, unreachable};
pub use archive::Archive;
pub use cargo::Crate;
pub use client::Content as OciContent;
pub use download::read_headers;
pub use fetch::{FetchOptions, Unavailable, bytes, fetch, full_text};
pub use given::Given;
pub use hub::{Content, Hub, Publication, PublishRequest, Published, PublishedFile, Terms, fetch_published};
pub use intent::{Intent, check, update, write as write_repository_file};
pub use line_ends::{check_line_ends, read_text};
pub use lock::{Input, Lock, Payload, Source, Submodule};
pub use microsoft::MicrosoftSdk;
pub use model::{Model, lock_model};
pub use network::Network;
pub use oci::{
    Descriptor, MANIFEST as OCI_MANIFEST, Manifest as OciManifest, Reference as OciReference, Registry,
    SCHEME as OCI_SCHEME, read_answers,
};
pub use peer::ServerPeer;
pub use push::{Pushed, push};
pub use reachable::{Reach, reach};
pub use registries::{debian_registry, python_registry};
pub use unpack::{Format, Part, unpack, unpack_outputs, unpacked};
pub use vendor::vendor;

//! Inputs: what is pinned in lock files, fetched into the store, unpacked into trees. Nothing else enters a build.

mod cargo;
mod client;
mod configuration;
mod debian;
mod download;
mod fetch;
mod git;
mod given;
mod hub;
mod index;
mod intent;
mod line_ends;
mod lock;
mod microsoft;
mod model;
mod pack;
mod unpack;
mod vendor;
mod wanted;

pub use cargo::Crate;
pub use configuration::registries;
pub use debian::{DebianRequest, resolve_debian};
pub use fetch::{FetchOptions, Unavailable, fetch};
pub use given::Given;
pub use hub::{Hub, Published, Terms, fetch_published};
pub use intent::{Intent, check, update, write as write_repository_file};
pub use line_ends::{check_line_ends, read_text};
pub use lock::{Input, Lock, Payload, Source, Submodule};
pub use microsoft::MicrosoftSdk;
pub use model::{Model, lock_model};
pub use unpack::{Format, Part, unpack, unpack_outputs, unpacked};
pub use vendor::vendor;

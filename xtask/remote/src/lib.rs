//! Servers of the Remote Execution API: a shared cache of results and inputs, and a cluster that runs actions.
//!
//! A server is not trusted with more than it has to be: each blob is hashed, what outputs are is computed here from their
//! directories, and a result says whose it is ([`store::Peer`]). What it allows is asked for once and obeyed.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;

mod backend;
mod blobs;
mod cache;
mod compression;
mod connection;
mod execution;
mod failure;
mod limits;
mod outputs;
mod parallel;
mod place;
mod stream;

pub use backend::{Demands, Remote};
pub use cache::Cache;
pub use connection::{Connection, Identity, Options};
pub use execution::{Operations, Ran, Watch};
pub use failure::{Failure, Reason};

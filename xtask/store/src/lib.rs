//! Digests, blobs, trees and action results: everything that is kept, by its content.
//!
//! Formats follow the Remote Execution API v2: a digest is SHA-256 and size, a tree is a Merkle tree of
//! `Directory` messages, an action's outcome is an `ActionResult`.

mod action;
mod blob;
mod checkout;
mod collect;
mod digest;
mod directory;
mod known;
mod message;
mod nar;
mod output;
mod printable;
mod progress;
mod regular;
mod result;
mod store;
mod temporary;
mod tree;
mod work;

pub use action::Action;
pub use blob::{BLOB_TIME, BlobWriter, is_untouched};
pub use collect::{Collected, Examined, Reference, Usage};
pub use digest::{Digest, HashWriter};
pub use output::{OutputFile, copy_output, is_same_file, sync_directory, write_output};
pub use printable::{is_hidden, printable, printable_lines};
pub use progress::{Meter, Progress, Silent, Unit};
pub use regular::open_regular;
pub use result::ActionResult;
pub use store::{Damaged, Store};
pub use temporary::Scratch;
pub use tree::{Entry, Tree};

//! Digests, blobs, trees and action results: everything that is kept, by its content.
//!
//! Formats follow the Remote Execution API v2: a digest is SHA-256 and size, a tree is a Merkle tree of
//! `Directory` messages, an action's outcome is an `ActionResult`.

mod action;
mod blob;
mod cause;
mod checkout;
mod damage;
mod digest;
mod directory;
mod fsck;
mod gc;
mod giving;
mod hint;
mod import;
mod known;
mod lookup;
mod message;
mod name;
mod nar;
mod output;
mod owner;
mod peer;
mod portable;
mod printable;
mod progress;
mod regular;
mod rehash;
mod removal;
mod result;
mod roots;
mod shelf;
mod sparse;
mod store;
mod store_file;
mod temporary;
mod tree;
mod unknown;
mod work_lock;

pub use action::Action;
pub use blob::{BLOB_TIME, BlobWriter, is_untouched};
pub use damage::Damaged;
pub use digest::{Digest, HashWriter};
pub use fsck::Examined;
pub use gc::{Collected, Usage};
pub use hint::{Hinted, WithHint, find, hinted, hints};
pub use lookup::LARGEST_MESSAGE;
pub use message::{from_message, to_message};
pub use name::{InvalidName, check_name};
pub use output::{OutputFile, copy_output, is_same_file, remove_abandoned, sync_directory, write_output};
pub use owner::{Owner, State};
pub use peer::{DirectoryPeer, LARGEST_RESULT, Obtained, Peer, Promise, Shelf, blob_path};
pub use portable::{Accepted, Portable};
pub use printable::{is_hidden, printable, printable_lines};
pub use progress::{Done, Event, How, Meter, Progress, Silent, Unit};
pub use regular::open_regular;
pub use rehash::Rehash;
pub use removal::remove_tree;
pub use result::ActionResult;
pub use roots::Reference;
pub use store::Store;
pub use store_file::{make_directory, open_or_create};
pub use temporary::Scratch;
pub use tree::{Entry, Tree};
pub use unknown::Unknown;
pub use work_lock::WorkLock;

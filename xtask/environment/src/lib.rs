//! Environments: root file systems made of locked packages, and the backends that run actions in them.

mod assemble;
mod backend;
mod definition;
mod sandbox;

pub use assemble::{Environment, assemble};
pub use backend::{Backend, Launch};
pub use definition::Definition;
pub use sandbox::{Sandbox, namespaces};

//! Environments: root file systems made of locked packages, and the backends that run actions in them.

mod assemble;
mod backend;
mod definition;
mod doctor;
mod fix_up;
mod sandbox;

pub use assemble::{Environment, assemble};
pub use backend::{Backend, Launch};
pub use definition::Definition;
pub use doctor::{Check, checks, namespaces};
pub use sandbox::Sandbox;

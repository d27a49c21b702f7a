//! Environments: root file systems made of locked packages, and the backends that run actions in them.

mod assemble;
mod backend;
mod definition;
mod docker;
mod doctor;
mod fix_up;
mod image;
mod layers;
mod nix;
mod owner;
mod sandbox;
mod tarball;

pub use assemble::{Environment, assemble};
pub use backend::{Backend, Launch};
pub use definition::Definition;
pub use docker::Docker;
pub use doctor::{Check, checks, namespaces};
pub use image::{Image, ImageFormat};
pub use nix::Nix;
pub use sandbox::Sandbox;

//! Environments: root file systems made of locked packages, and the backends that run actions in them.

mod assemble;
mod backend;
mod definition;
mod docker;
mod doctor;
mod fix_up;
mod image;
mod isolation;
mod layers;
mod limits;
mod links;
mod nix;
mod sandbox;
mod session;
mod system_calls;
mod tarball;

pub use assemble::{Environment, assemble, assembled, promised};
pub use backend::{Backend, Ended, Exit, Launch, Source};
pub use definition::Definition;
pub use docker::Docker;
pub use doctor::{Check, checks, namespaces, windows_drive};
pub use image::{Image, ImageFormat};
pub use limits::Limits;
pub use nix::Nix;
pub use sandbox::Sandbox;

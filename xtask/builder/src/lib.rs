//! Recipes become a plan, the plan becomes actions, actions are run or found in the store.

mod aar;
pub mod drawing;
mod executor;
mod failure;
mod fingerprint;
mod history;
mod look;
mod made_from;
mod name;
mod ninja;
mod node;
mod patch;
mod plan;
mod policy;
mod portable;
mod project;
mod recipe;
mod resolve;
mod sysroot;
mod waiting;
mod wheel;

pub use executor::{Broken, Built, Options, Outcome, execute};
pub use failure::{Cause, decode as decode_log, explain_log};
pub use fingerprint::fingerprint;
pub use history::{differences, failed_log, last, seconds, tree_differences};
pub use look::{Looked, Seen, Sight, glance, look, provided};
pub use made_from::{Files, made_from};
pub use name::{InvalidLicense, License, RecipeName, Triple};
pub use node::Node;
pub use patch::{Patched, check as check_patches, refresh as refresh_patches};
pub use plan::Plan;
pub use portable::Parts;
pub use project::Project;
pub use recipe::{Cxx, Recipe, Source, Sysroot, Target};
pub use resolve::{Depth, JOBS, Resolved, Resolver, variables};
pub use waiting::waiting;

//! What commands do: each operation is a function, which prints nothing and returns what happened.
//!
//! What takes long reports through [`store::Progress`]. How actions are run is a [`environment::Backend`] that the session
//! opens when it is first needed, so that tests bring one of their own.

mod collect;
#[cfg(test)]
mod example;
mod explain;
mod forecast;
mod goals;
mod inputs;
mod log;
mod matrix;
mod model;
mod parallel;
mod rebuild;
mod release;
mod session;
#[cfg(test)]
mod tests;
mod workflow;

pub use self::model::{checkout_model, convert_locked, fetch_model, license_warning, model_inputs};
pub use self::release::{Effort, ModelOutcome, ReleaseOutcome, ReleaseRequest, make_release};
pub use collect::{collect_garbage, kept};
pub use explain::{Explanation, Verdict, explain};
pub use goals::goals;
pub use inputs::{Locked, inputs};
pub use log::{Log, last_built, last_log};
pub use matrix::{Job, Jobs};
pub use rebuild::{RebuildWatch, rebuild};
pub use session::{Opener, Session};
pub use workflow::{Service, child_pipeline, workflows};

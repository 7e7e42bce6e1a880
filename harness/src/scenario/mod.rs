//! Scenarios: what is done to a mesh and what must hold then.
//!
//! [`mod@file`] is the YAML form and [`api`] the same in Rust, [`check`] turns it into a [`plan`] and reports every problem at once, [`explain`] writes
//! the plan as text. [`keys`] has the words of the language. No input or output here: files that a scenario refers to
//! are asked for through [`check::ReadFile`].

pub mod api;
pub mod check;
pub mod explain;
pub mod expression;
pub mod file;
pub mod footprint;
pub mod keys;
pub mod kind;
mod matrix;
pub mod page;
pub mod parameters;
pub mod plan;
pub mod refutation;
#[cfg(test)]
pub(crate) mod samples;
pub mod suite;

pub use check::{ReadFile, read};
pub use keys::{ConnectionOutcome, FailureReason, KeyPart, SplitKey};
pub use plan::{Action, Check, Expectation, ObjectRef, Plan, Step};

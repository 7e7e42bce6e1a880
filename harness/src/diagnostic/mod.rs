//! Problems in files that people write, each with its place, and the reading of YAML that makes such places known.
//!
//! [`tree`] reads YAML into values that know where they stand, [`structure`] compares them with a JSON schema and
//! reports every deviation, [`problem`] renders what was found for people and for programs.

pub mod document;
pub mod location;
pub mod problem;
pub mod repair;
pub mod structure;
pub mod suggest;
pub mod tree;

pub use document::{Document, decode};
pub use location::Location;
pub use problem::{Problem, Problems, Severity};
pub use repair::{Repaired, decode_repaired};

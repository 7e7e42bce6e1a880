//! What the tests in this package share: the cases of the catalogue, and one environment for all of them.
//!
//! Judges nothing: a case is run by the engine of `meshproof`, as `meshproof run` does it.

mod catalogue;
mod environment;
mod recording;

pub use catalogue::{Case, cases_of, catalogue, topology};
pub use environment::{Environment, Error};

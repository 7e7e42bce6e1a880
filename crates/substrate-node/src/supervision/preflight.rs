//! stub
use serde::{Deserialize, Serialize};
/// p
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem { /// a
pub what: String, /// b
pub found: String, /// c
pub cure: String }
/// p
pub fn preflight() -> Vec<Problem> { Vec::new() }

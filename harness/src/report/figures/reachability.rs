//! Who reached whom.

use serde::{Deserialize, Serialize};

/// A matrix: a row for each source, a column for each destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reachability {
    /// Who asked.
    pub sources: Vec<String>,
    /// Who was to answer.
    pub destinations: Vec<String>,
    /// Rows of cells.
    pub cells: Vec<Vec<Cell>>,
}

/// One pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Answers of the destination.
    pub answers: u64,
    /// Requests to its service.
    pub requests: u64,
    /// Whether it was to be reached.
    pub expected: bool,
    /// Whether that is not so.
    pub wrong: bool,
}

//! Label and field selectors as they appear in query strings and in `metav1.LabelSelector` objects.
//!
//! Parses, prints and matches. Does not index: a caller that wants speed filters by namespace and name first.

mod field;
mod label;

pub use field::FieldSelector;
pub use label::LabelSelector;

/// A selector that could not be parsed; the API server answers it with 400 `BadRequest`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectorError {
    /// What is wrong, in the words Kubernetes uses where it has some.
    pub message: String,
}

fn error(message: impl Into<String>) -> SelectorError {
    SelectorError { message: message.into() }
}

//! Patches as the API server applies them: JSON patch, JSON merge patch, strategic merge patch, server-side apply.
//!
//! Pure functions over JSON. Nothing here defaults, validates or checks which fields a subresource may change.

mod apply;
mod compare;
mod conflict;
mod fields;
mod json;
mod managed;
mod merge_lists;
mod strategic;
mod strip;

use serde_json::Value;

pub use apply::server_side_apply;
pub use conflict::{ApplyError, Conflict};
pub use fields::FieldSet;
pub use managed::track_update;

use crate::schema;

/// The three patch formats that take a body of changes; server-side apply is [`server_side_apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json`, RFC 6902.
    Json,
    /// `application/merge-patch+json`, RFC 7396.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

impl PatchKind {
    /// The format that a `Content-Type` header (with or without parameters) names.
    pub fn from_content_type(header: &str) -> Option<PatchKind> {
        match header.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(PatchKind::Json),
            "application/merge-patch+json" => Some(PatchKind::Merge),
            "application/strategic-merge-patch+json" => Some(PatchKind::Strategic),
            _ => None,
        }
    }
}

/// Why a patch was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// Strategic merge patch of a kind whose merge keys are not known (custom resources).
    #[error(
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )]
    UnsupportedMediaType,
    /// The patch itself is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// The patch is well-formed but does not fit the object: a failed test, a path that does not exist.
    #[error("the server rejected our request due to an error in our request: {0}")]
    Rejected(String),
}

impl PatchError {
    /// HTTP status code.
    pub fn code(&self) -> u16 {
        match self {
            PatchError::UnsupportedMediaType => 415,
            PatchError::BadRequest(_) => 400,
            PatchError::Rejected(_) => 422,
        }
    }

    /// `reason` of the `metav1.Status`.
    pub fn reason(&self) -> &'static str {
        match self {
            PatchError::UnsupportedMediaType => "UnsupportedMediaType",
            PatchError::BadRequest(_) => "BadRequest",
            PatchError::Rejected(_) => "Invalid",
        }
    }
}

/// Applies `patch` to `current` and returns the patched object.
///
/// `gvk` has the form `apps/v1, Kind=Deployment` and selects the merge keys of strategic merge patch.
pub fn apply(kind: PatchKind, gvk: &str, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    match kind {
        PatchKind::Json => json::json_patch(current, patch),
        PatchKind::Merge => json::merge_patch(current, patch),
        PatchKind::Strategic => {
            let schema = schema::builtin_for(gvk).ok_or(PatchError::UnsupportedMediaType)?;
            strategic::apply(schema, current, patch)
        }
    }
}

#[cfg(test)]
mod tests;

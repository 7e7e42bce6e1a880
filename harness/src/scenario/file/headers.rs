//! The YAML form of what headers must be.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Headers of every exchange, by their names.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HeadersFile {
    /// Of the request as the server got it. Only `echo` says what it got.
    pub request: BTreeMap<String, HeaderFile>,
    /// Of the answer as the client got it.
    pub response: BTreeMap<String, HeaderFile>,
}

/// What a header must be: exactly one of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HeaderFile {
    /// It is there once, with this value.
    pub equals: Option<String>,
    /// It is there, and one of its values contains this text.
    pub contains: Option<String>,
    /// It is there, or with `false` it is not.
    pub present: Option<bool>,
}

//! Conditions on requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A condition on a request; every field that is given has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatcher {
    /// Name, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<TextMatch>,
    /// Headers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Query parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_parameters: Vec<QueryMatch>,
    /// Method of the request, in capitals.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
}

/// Compares a text; exactly one field is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TextMatch {
    /// Equal to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Starts with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Matches this expression (RE2) as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// A condition on a header.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderMatch {
    /// Name, without regard to case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Value; empty asks only whether the header is there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Whether the value is a regular expression.
    pub regex: bool,
    /// Whether the condition holds where this does not.
    pub invert_match: bool,
}

/// A condition on a query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryMatch {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Value; empty asks only whether the parameter is there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Whether the value is a regular expression.
    pub regex: bool,
}

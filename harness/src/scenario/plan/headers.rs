//! Checked expectations about headers.

use std::collections::BTreeMap;

use serde::Serialize;

/// What headers must be, by their names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Headers {
    /// Of requests as the server got them.
    pub request: BTreeMap<String, Header>,
    /// Of answers as the client got them.
    pub response: BTreeMap<String, Header>,
}

/// What one header must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Header {
    /// It is there once, with this value.
    Equals(String),
    /// It is there, and one of its values contains this.
    Contains(String),
    /// It is there.
    Present,
    /// It is not there.
    Absent,
}

impl Headers {
    /// Every header that is named.
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        let names: Vec<String> = self.request.keys().chain(self.response.keys()).cloned().collect();
        names.into_iter()
    }
}

impl Header {
    /// Whether the values of a header are as they must be.
    #[must_use]
    pub fn fits(&self, values: &[String]) -> bool {
        match self {
            Self::Equals(value) => values == [value.clone()],
            Self::Contains(part) => values.iter().any(|value| value.contains(part)),
            Self::Present => !values.is_empty(),
            Self::Absent => values.is_empty(),
        }
    }
}

impl std::fmt::Display for Header {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Equals(value) => write!(formatter, "`{value}`"),
            Self::Contains(part) => write!(formatter, "something with `{part}`"),
            Self::Present => formatter.write_str("anything"),
            Self::Absent => formatter.write_str("nothing"),
        }
    }
}

impl std::fmt::Display for Headers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = |side: &str, headers: &BTreeMap<String, Header>| -> Vec<String> {
            headers.iter().map(|(name, header)| format!("{name} of the {side} to be {header}")).collect()
        };
        let all = [words("request", &self.request), words("answer", &self.response)].concat();
        formatter.write_str(&all.join(", "))
    }
}

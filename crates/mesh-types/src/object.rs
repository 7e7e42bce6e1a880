//! A resource: its metadata and its specification.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::kind::Kind;

/// The part of Kubernetes' object metadata that the mesh uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Name, unique for a kind in a namespace.
    pub name: String,
    /// Namespace; empty in files that leave it to the client.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Counts changes of the specification.
    pub generation: Option<i64>,
    /// RFC 3339, seconds, UTC: sorts as text. The oldest of two conflicting objects wins.
    pub creation_timestamp: Option<String>,
    /// Version that the API server gave to this state of the object.
    pub resource_version: Option<String>,
}

/// A resource of the mesh with a typed specification.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(bound = "S: Deserialize<'de> + Default")]
pub struct Object<S> {
    /// Object metadata.
    #[serde(default)]
    pub metadata: Metadata,
    /// The specification; an absent one is empty.
    #[serde(default)]
    pub spec: S,
    /// What controllers say about it.
    #[serde(default)]
    pub status: Status,
}

/// The part of a status that the mesh uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// One condition of a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

/// A specification with a kind of its own.
pub trait Resource: for<'de> Deserialize<'de> + Default {
    /// Its kind.
    const KIND: Kind;
}

impl<S: Resource> Object<S> {
    /// Reads an object from JSON; fields that this type does not have are skipped.
    pub fn from_value(value: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(value)
    }

    /// `Kind/namespace/name`.
    pub fn reference(&self) -> String {
        format!("{}/{}/{}", S::KIND.name(), self.metadata.namespace, self.metadata.name)
    }
}

/// Whether a value says what would hold without it.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

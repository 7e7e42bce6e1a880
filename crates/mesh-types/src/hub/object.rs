//! A resource of the management plane: its metadata, specification and status.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kind::Kind;
use super::reference::ObjectRef;
use crate::object::Metadata;

/// A specification with a kind of its own.
pub trait Resource: Serialize + for<'de> Deserialize<'de> + Default + Clone + PartialEq + fmt::Debug {
    /// Its kind.
    const KIND: Kind;
    /// What is reported about it.
    type Status: Serialize + for<'de> Deserialize<'de> + Default + Clone + PartialEq + fmt::Debug;
}

/// A resource with typed specification and status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(bound = "R: Resource", default)]
pub struct Object<R: Resource> {
    /// Object metadata.
    pub metadata: Metadata,
    /// The specification; an absent one is empty.
    pub spec: R,
    /// The status; an absent one is empty.
    pub status: R::Status,
}

impl<R: Resource> Object<R> {
    /// A resource with a specification, and nothing else.
    pub fn new(name: &str, namespace: &str, spec: R) -> Self {
        let metadata = Metadata { name: name.to_owned(), namespace: namespace.to_owned(), ..Metadata::default() };
        Self { metadata, spec, status: R::Status::default() }
    }

    /// Reads a resource from JSON.
    ///
    /// # Errors
    /// A field has another form than its type. Unknown fields are skipped; [`super::validate`] names them.
    pub fn from_value(value: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(value)
    }

    /// Name and namespace.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(&self.metadata.name, &self.metadata.namespace)
    }

    /// The resource as it is applied: without a status, which has a way of its own.
    ///
    /// # Errors
    /// A number that JSON has not, such as infinity.
    pub fn manifest(&self) -> Result<Value, serde_json::Error> {
        let mut metadata = json!({ "name": self.metadata.name });
        if !self.metadata.namespace.is_empty() {
            metadata["namespace"] = self.metadata.namespace.clone().into();
        }
        for (field, entries) in [("labels", &self.metadata.labels), ("annotations", &self.metadata.annotations)] {
            if !entries.is_empty() {
                metadata[field] = json!(entries);
            }
        }
        Ok(json!({
            "apiVersion": R::KIND.api_version(),
            "kind": R::KIND.name(),
            "metadata": metadata,
            "spec": serde_json::to_value(&self.spec)?,
        }))
    }
}

//! References from one resource to another.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A resource of the management cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An object of a registered cluster. Sorts by cluster, namespace, name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterObjectRef {
    /// Name under which the cluster is registered.
    pub cluster_name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// A reference by name and namespace, in the order in which people say them.
    pub fn new(name: &str, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl ClusterObjectRef {
    /// A reference by name, namespace and cluster, in the order in which people say them.
    pub fn new(name: &str, namespace: &str, cluster: &str) -> Self {
        Self { cluster_name: cluster.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// `name.namespace`.
impl fmt::Display for ObjectRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.name, self.namespace)
    }
}

/// `name.namespace.cluster`.
impl fmt::Display for ClusterObjectRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.name, self.namespace, self.cluster_name)
    }
}

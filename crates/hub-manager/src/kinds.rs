//! The kinds that the manager reads and writes, as one type for Istio's, the plane's and the agent's.

use std::fmt;

use hub::output::{ObjectKey, OutputKind};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};

/// A kind of resource, in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKind {
    /// `TrafficPolicy`.
    pub name: &'static str,
    /// Group with version: `networking.meshproof.dev/v1`.
    pub group: &'static str,
    /// `v1`.
    pub version: &'static str,
    /// `trafficpolicies`.
    pub plural: &'static str,
}

impl ResourceKind {
    /// How the kind is asked for.
    pub fn api_resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// The kind in all namespaces of a cluster.
    pub fn everywhere(self, client: Client) -> Api<DynamicObject> {
        Api::all_with(client, &self.api_resource())
    }

    /// The kind in a namespace of a cluster.
    pub fn in_namespace(self, client: Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client, namespace, &self.api_resource())
    }
}

impl From<OutputKind> for ResourceKind {
    fn from(kind: OutputKind) -> Self {
        let (group, version) = kind.api_version().split_once('/').unwrap_or(("", "v1"));
        let plural = match kind {
            OutputKind::AuthorizationPolicy => "authorizationpolicies",
            OutputKind::DestinationRule => "destinationrules",
            OutputKind::Gateway => "gateways",
            OutputKind::IssuedCertificate => "issuedcertificates",
            OutputKind::ServiceEntry => "serviceentries",
            OutputKind::VirtualService => "virtualservices",
            OutputKind::WorkloadRestart => "workloadrestarts",
        };
        Self { name: kind.name(), group, version, plural }
    }
}

impl From<mesh_types::hub::Kind> for ResourceKind {
    fn from(kind: mesh_types::hub::Kind) -> Self {
        let (name, plural) = (kind.name(), kind.plural());
        Self { name, group: kind.group(), version: mesh_types::hub::Kind::VERSION, plural }
    }
}

/// Name of an object in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn new(kind: impl Into<ResourceKind>, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// As the agent names it: `Kind/namespace/name`.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.kind.name, self.namespace, self.name)
    }
}

impl From<&ObjectKey> for Key {
    fn from(key: &ObjectKey) -> Self {
        Self::new(key.kind, &key.namespace, &key.name)
    }
}

/// `Kind namespace/name`.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind.name, self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_those_of_the_definitions() {
        for kind in OutputKind::ALL {
            let own = ResourceKind::from(kind);
            let istio = mesh_types::Kind::from_name(kind.name()).map(|kind| (kind.group(), kind.plural()));
            let hub =
                mesh_types::hub::Kind::of(kind.api_version(), kind.name()).map(|kind| (kind.group(), kind.plural()));
            assert_eq!(Some((own.group, own.plural)), hub.or(istio), "{kind:?}");
        }
    }
}

//! The table of names, as Istio's agent takes it: `istio.networking.nds.v1`.

use std::collections::BTreeMap;

use prost::Name;

/// Name of the one resource of the type.
pub const RESOURCE: &str = "names";

/// The names that are resolved beside a proxy.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NameTable {
    /// By host.
    #[prost(btree_map = "string, message", tag = "1")]
    pub table: BTreeMap<String, NameInfo>,
}

/// What is known of a name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NameInfo {
    /// Its addresses.
    #[prost(string, repeated, tag = "1")]
    pub ips: Vec<String>,
    /// Where it is known from: `Kubernetes` or `External`.
    #[prost(string, tag = "2")]
    pub registry: String,
    /// Name of the Service; empty for others.
    #[prost(string, tag = "3")]
    pub shortname: String,
    /// Namespace of the Service; empty for others.
    #[prost(string, tag = "4")]
    pub namespace: String,
}

impl Name for NameTable {
    const NAME: &'static str = "NameTable";
    const PACKAGE: &'static str = "istio.networking.nds.v1";

    fn type_url() -> String {
        super::Type::Nds.url().to_owned()
    }
}

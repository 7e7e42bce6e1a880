//! The messages of Envoy's RBAC filters, with their policies in order.
//!
//! The generated messages hold policies in a hash map with a random order, and the version of a resource is the hash of
//! its bytes. These are the same on the wire, and equal policies give equal bytes.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::rbac::v3::Policy;

pub(super) const HTTP_FILTER: &str = "envoy.filters.http.rbac";
pub(super) const NETWORK_FILTER: &str = "envoy.filters.network.rbac";

/// `envoy.config.rbac.v3.RBAC`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Rules {
    #[prost(enumeration = "envoy_types::pb::envoy::config::rbac::v3::rbac::Action", tag = "1")]
    pub(super) action: i32,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(super) policies: BTreeMap<String, Policy>,
}

/// `envoy.extensions.filters.http.rbac.v3.RBAC`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Http {
    #[prost(message, optional, tag = "1")]
    pub(super) rules: Option<Rules>,
}

/// `envoy.extensions.filters.network.rbac.v3.RBAC`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Network {
    #[prost(message, optional, tag = "1")]
    pub(super) rules: Option<Rules>,
    #[prost(string, tag = "3")]
    pub(super) stat_prefix: String,
}

impl prost::Name for Http {
    const NAME: &'static str = "RBAC";
    const PACKAGE: &'static str = "envoy.extensions.filters.http.rbac.v3";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}

impl prost::Name for Network {
    const NAME: &'static str = "RBAC";
    const PACKAGE: &'static str = "envoy.extensions.filters.network.rbac.v3";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}

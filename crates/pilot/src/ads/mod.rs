//! Serves translations to proxies over delta ADS, and keeps account of what each proxy has acknowledged.
//!
//! [`name_table`] is the one message that is the agent's and not Envoy's. [`session`] is the protocol as a pure state machine; [`server`] moves its messages; [`status`] is the account.

pub mod cache;
pub mod name_table;
pub mod resources;
pub mod server;
pub mod session;
pub mod status;

use serde::Serialize;

/// A type of resources that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Clusters.
    Cds,
    /// Endpoints.
    Eds,
    /// Listeners.
    Lds,
    /// Routes.
    Rds,
    /// Certificates of gateways.
    Sds,
    /// The table of names, for the agent beside the proxy.
    Nds,
}

impl Type {
    /// All types, in the order in which new resources are pushed.
    pub const ALL: [Self; 6] = [Self::Cds, Self::Eds, Self::Lds, Self::Rds, Self::Sds, Self::Nds];

    /// The type URL on the wire.
    pub fn url(self) -> &'static str {
        match self {
            Self::Cds => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Eds => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Lds => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Rds => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Sds => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Nds => "type.googleapis.com/istio.networking.nds.v1.NameTable",
        }
    }

    /// The type with a URL.
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }

    /// Whether a proxy holds all resources of the type, and not those that it names.
    pub fn is_wildcard(self) -> bool {
        matches!(self, Self::Cds | Self::Lds | Self::Nds)
    }

    fn index(self) -> usize {
        self as usize
    }
}

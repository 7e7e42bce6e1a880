//! DestinationRule: subsets of a service, and how proxies connect to them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::IstioDuration;
use crate::kind::Kind;
use crate::object::Resource;
use crate::virtual_service::{PortSelector, one_of};

/// Specification of a DestinationRule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRule {
    /// Host of the service; may be a wildcard.
    pub host: String,
    /// Policy for every subset and port that has none of its own.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named groups of endpoints.
    #[serde(default)]
    pub subsets: Vec<Subset>,
    /// Namespaces that see it: `.`, `*` or names; none means all.
    #[serde(default)]
    pub export_to: Vec<String>,
}

/// A named group of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subset {
    /// Name, used by VirtualServices.
    pub name: String,
    /// Labels of its endpoints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Policy that replaces the rule's, section by section.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How proxies connect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicy {
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// When endpoints are taken out of use.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS of the connection.
    pub tls: Option<ClientTls>,
    /// Policies of single ports, which replace whole sections.
    #[serde(default)]
    pub port_level_settings: Vec<PortTrafficPolicy>,
}

/// Policy of one port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortTrafficPolicy {
    /// Port of the Service.
    pub port: Option<PortSelector>,
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// When endpoints are taken out of use.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS of the connection.
    pub tls: Option<ClientTls>,
}

/// How endpoints are chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = one_of(&["simple", "consistentHash"])))]
pub struct LoadBalancer {
    /// A standard algorithm.
    pub simple: Option<SimpleLoadBalancer>,
    /// How near and far endpoints are preferred.
    pub locality_lb_setting: Option<LocalityLbSetting>,
}

/// A standard algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLoadBalancer {
    /// Istio's default, least requests.
    #[default]
    Unspecified,
    /// The older name of least requests.
    LeastConn,
    /// A random endpoint.
    Random,
    /// The address that the caller asked for.
    Passthrough,
    /// One after the other.
    RoundRobin,
    /// The less busy of two random endpoints.
    LeastRequest,
}

/// How near and far endpoints are preferred.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalityLbSetting {
    /// Shares by locality of caller and endpoint.
    #[serde(default)]
    pub distribute: Vec<Distribute>,
    /// Which region takes over for which.
    #[serde(default)]
    pub failover: Vec<Failover>,
    /// Labels by which endpoints are ranked, the most important first.
    #[serde(default)]
    pub failover_priority: Vec<String>,
    /// `false` switches locality preference off.
    #[schemars(extend("nullable" = true))]
    pub enabled: Option<bool>,
}

/// Shares of localities for callers of a locality.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribute {
    /// Locality of the caller, `region/zone/subzone` with `*` at the end.
    #[serde(default)]
    pub from: String,
    /// Percentages by locality of endpoints; they add up to 100.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub to: BTreeMap<String, u32>,
}

/// Which region takes over for which.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failover {
    /// Region of the caller.
    #[serde(default)]
    pub from: String,
    /// Region that takes over.
    #[serde(default)]
    pub to: String,
}

/// Limits of connections and requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: Option<TcpSettings>,
    /// Of requests.
    pub http: Option<HttpSettings>,
}

/// Limits of connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpSettings {
    /// Most connections to a service.
    pub max_connections: Option<i32>,
    /// Longest time to connect, 10 s by default.
    pub connect_timeout: Option<IstioDuration>,
    /// Longest idle time of a TCP connection.
    #[schemars(with = "Option<String>")]
    pub idle_timeout: Option<IstioDuration>,
    /// Longest life of a connection.
    pub max_connection_duration: Option<IstioDuration>,
    /// Keep-alive probes.
    pub tcp_keepalive: Option<TcpKeepalive>,
}

/// Keep-alive probes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TcpKeepalive {
    /// Lost probes after which a connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<IstioDuration>,
    /// Time between probes.
    pub interval: Option<IstioDuration>,
}

/// Limits of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpSettings {
    /// Most requests that wait for a connection.
    pub http1_max_pending_requests: Option<i32>,
    /// Most requests at once.
    pub http2_max_requests: Option<i32>,
    /// Most requests on one connection.
    pub max_requests_per_connection: Option<i32>,
    /// Most retries at once.
    pub max_retries: Option<i32>,
    /// Most requests at once on a connection of HTTP/2.
    pub max_concurrent_streams: Option<i32>,
    /// Whether HTTP/1.1 is spoken as HTTP/2 with the service.
    #[serde(default)]
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Speak with the service what the client speaks.
    pub use_client_protocol: Option<bool>,
    /// Longest idle time of a connection.
    pub idle_timeout: Option<IstioDuration>,
}

/// Whether HTTP/1.1 is spoken as HTTP/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    /// It is not.
    #[default]
    Default,
    /// It is not.
    DoNotUpgrade,
    /// It is.
    Upgrade,
}

/// When endpoints are taken out of use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Server errors in a row; 0 switches this off.
    #[serde(rename = "consecutive5xxErrors")]
    #[schemars(extend("nullable" = true))]
    pub consecutive_5xx_errors: Option<u32>,
    /// Gateway errors in a row; 0 switches this off.
    #[schemars(extend("nullable" = true))]
    pub consecutive_gateway_errors: Option<u32>,
    /// Failures to connect in a row, where they are counted apart.
    #[schemars(extend("nullable" = true))]
    pub consecutive_local_origin_failures: Option<u32>,
    /// Count failures to connect apart from errors of the server.
    pub split_external_local_origin_errors: Option<bool>,
    /// Time between two sweeps.
    pub interval: Option<IstioDuration>,
    /// Shortest time out of use, multiplied by the number of times.
    pub base_ejection_time: Option<IstioDuration>,
    /// Largest share of endpoints out of use. Envoy's 10 ejects nothing from a service of fewer than ten.
    pub max_ejection_percent: Option<i32>,
    /// Share of healthy endpoints below which all are used.
    pub min_health_percent: Option<i32>,
}

/// TLS of a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientTls {
    /// The kind of TLS.
    #[serde(default)]
    pub mode: ClientTlsMode,
    /// File with the certificate to present, for MUTUAL, in the proxy's container.
    pub client_certificate: Option<String>,
    /// File with its key.
    pub private_key: Option<String>,
    /// File with the authorities that the server's certificate is verified by; without it, those of the proxy's system
    /// hold.
    pub ca_certificates: Option<String>,
    /// Server name to send.
    pub sni: Option<String>,
    /// Identities that the server may have.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
}

/// The kind of TLS of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// Plain text.
    #[default]
    Disable,
    /// TLS.
    Simple,
    /// Mutual TLS with given certificates.
    Mutual,
    /// Mutual TLS of the mesh.
    IstioMutual,
}

impl Resource for DestinationRule {
    const KIND: Kind = Kind::DestinationRule;
}

impl TrafficPolicy {
    /// This policy as it holds for one port: its section for the port replaces whole sections.
    pub fn for_port(&self, port: u16) -> Self {
        let mut policy = Self { port_level_settings: Vec::new(), ..self.clone() };
        let own = self
            .port_level_settings
            .iter()
            .find(|settings| settings.port.as_ref().is_some_and(|selector| selector.number == u32::from(port)));
        if let Some(own) = own {
            policy.load_balancer = own.load_balancer.clone();
            policy.connection_pool = own.connection_pool.clone();
            policy.outlier_detection = own.outlier_detection.clone();
            policy.tls = own.tls.clone();
        }
        policy
    }

    /// This policy with the sections that `over` has taken from `over`.
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            load_balancer: over.load_balancer.clone().or_else(|| self.load_balancer.clone()),
            connection_pool: over.connection_pool.clone().or_else(|| self.connection_pool.clone()),
            outlier_detection: over.outlier_detection.clone().or_else(|| self.outlier_detection.clone()),
            tls: over.tls.clone().or_else(|| self.tls.clone()),
            port_level_settings: if over.port_level_settings.is_empty() {
                self.port_level_settings.clone()
            } else {
                over.port_level_settings.clone()
            },
        }
    }
}

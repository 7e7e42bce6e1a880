//! TrafficPolicy: how requests to destinations are treated.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::matcher::{HttpMatcher, TextMatch};
use super::object::Resource;
use super::reference::ClusterObjectRef;
use super::selector::{DestinationSelector, WorkloadSelector};
use super::status::PolicyStatus;
use crate::duration::IstioDuration;

/// Specification of a TrafficPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// Callers that it concerns; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_selector: Vec<WorkloadSelector>,
    /// Destinations that it concerns; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_selector: Vec<DestinationSelector>,
    /// Requests that it concerns, by conditions one of which has to hold; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_request_matchers: Vec<HttpMatcher>,
    /// What is done.
    pub policy: Policy,
}

/// What is done with requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// Send them elsewhere, by weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_shift: Option<TrafficShift>,
    /// Delay or abort some on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_injection: Option<FaultInjection>,
    /// Longest time for a request with all its retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<IstioDuration>,
    /// When and how often a failed request is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Cross-origin policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors_policy: Option<Cors>,
    /// Send copies elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Change headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_manipulation: Option<HeaderManipulation>,
    /// When endpoints are taken out of use. It holds for every caller, so it needs an empty `sourceSelector` and no
    /// `httpRequestMatchers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS between proxies in the destination's own cluster. It holds for every caller, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<Mtls>,
}

/// Where requests go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficShift {
    /// Targets; their weights sum to 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<WeightedDestination>,
}

/// A target and its share; exactly one kind of target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("oneOf" = crate::virtual_service::one_of(&["kubeService", "virtualDestination"])))]
pub struct WeightedDestination {
    /// Share in percent.
    pub weight: u32,
    /// A Service of any cluster, which may stand for virtual machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_service: Option<KubeTarget>,
    /// A VirtualDestination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_destination: Option<VirtualTarget>,
    /// Changes for requests of this share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<TargetOptions>,
}

/// A Service, or a subset of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeTarget {
    /// Name of the Service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Namespace of the Service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Cluster of the Service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
    /// Labels of the workloads that are meant; none means all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subset: BTreeMap<String, String>,
    /// Port; needed where the Service has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A VirtualDestination, or a subset of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualTarget {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels of the workloads that are meant; none means all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subset: BTreeMap<String, String>,
}

/// Changes for requests of one share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetOptions {
    /// Change headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_manipulation: Option<HeaderManipulation>,
}

/// Faults on purpose; exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("oneOf" = crate::virtual_service::one_of(&["fixedDelay", "abort"])))]
pub struct FaultInjection {
    /// Delay before forwarding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_delay: Option<IstioDuration>,
    /// Answer instead of forwarding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
    /// Share of requests in percent; all where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentage: Option<f64>,
}

/// An answer instead of forwarding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Abort {
    /// Status of the answer.
    pub http_status: i32,
}

/// When and how often a failed request is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retries {
    /// Retries; 0 switches them off.
    pub attempts: i32,
    /// Longest time for one try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try_timeout: Option<IstioDuration>,
    /// Envoy's conditions, separated by commas; the mesh's own where nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub retry_on: String,
}

/// Cross-origin policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Cors {
    /// Origins that may call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<TextMatch>,
    /// Methods that may be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Headers that may be sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Headers that a browser may read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// How long a preflight may be cached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<IstioDuration>,
    /// Whether credentials may be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
}

/// Copies of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Mirror {
    /// Where copies go.
    pub kube_service: ClusterObjectRef,
    /// Share of requests in percent; all where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentage: Option<f64>,
    /// Port; needed where the Service has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderManipulation {
    /// Added to requests.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub append_request_headers: BTreeMap<String, String>,
    /// Removed from requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_request_headers: Vec<String>,
    /// Added to responses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub append_response_headers: BTreeMap<String, String>,
    /// Removed from responses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_response_headers: Vec<String>,
}

/// When endpoints are taken out of use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Server errors in a row; 5 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_errors: Option<u32>,
    /// Time between two sweeps; 10 s where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<IstioDuration>,
    /// Shortest time out of use; 30 s where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_ejection_time: Option<IstioDuration>,
    /// Largest share of endpoints out of use; 100 where nothing is said, without which few endpoints never fail over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ejection_percent: Option<i32>,
}

/// TLS between proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Mtls {
    /// In an Istio.
    pub istio: IstioMtls,
}

/// TLS between proxies of an Istio.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioMtls {
    /// The kind of TLS.
    pub tls_mode: TlsMode,
}

/// The kind of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// Plain text.
    Disable,
    /// TLS without a certificate of the caller.
    Simple,
    /// Mutual TLS with the certificates of the mesh.
    #[default]
    IstioMutual,
}

impl KubeTarget {
    /// The Service.
    pub fn service(&self) -> ClusterObjectRef {
        ClusterObjectRef::new(&self.name, &self.namespace, &self.cluster_name)
    }
}

impl Policy {
    /// Whether it has a field that holds for every caller and request.
    pub fn has_connection_policy(&self) -> bool {
        self.outlier_detection.is_some() || self.mtls.is_some()
    }

    /// Whether it has a field that changes what becomes of single requests.
    pub fn has_route_policy(&self) -> bool {
        let Self {
            traffic_shift,
            fault_injection,
            request_timeout,
            retries,
            cors_policy,
            mirror,
            header_manipulation,
            outlier_detection: _,
            mtls: _,
        } = self;
        traffic_shift.is_some()
            || fault_injection.is_some()
            || request_timeout.is_some()
            || retries.is_some()
            || cors_policy.is_some()
            || mirror.is_some()
            || header_manipulation.is_some()
    }
}

impl Resource for TrafficPolicy {
    const KIND: Kind = Kind::TrafficPolicy;
    type Status = PolicyStatus;
}

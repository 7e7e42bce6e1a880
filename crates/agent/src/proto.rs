//! Wire messages that have no crate: Istio's certificate service and table of names, and the standard gRPC health check.

use std::collections::BTreeMap;

/// `istio.networking.nds.v1.NameTable`: the names of the mesh.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NameTable {
    /// By host.
    #[prost(btree_map = "string, message", tag = "1")]
    pub table: BTreeMap<String, NameInfo>,
}

/// `istio.networking.nds.v1.NameTable.NameInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NameInfo {
    /// Its addresses.
    #[prost(string, repeated, tag = "1")]
    pub ips: Vec<String>,
    /// Where it is known from: `Kubernetes` or `External`.
    #[prost(string, tag = "2")]
    pub registry: String,
    /// Name of the Service.
    #[prost(string, tag = "3")]
    pub shortname: String,
    /// Namespace of the Service.
    #[prost(string, tag = "4")]
    pub namespace: String,
}

/// Type URL of the table of names in xDS.
pub const NAME_TABLE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";

/// Type URL of a report on the application's health in xDS; it has no resources.
pub const HEALTH_INFORMATION: &str = "type.googleapis.com/istio.v1.HealthInformation";

/// The part of a `DeltaDiscoveryResponse` that says what it is about.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResponseType {
    /// Type URL of its resources.
    #[prost(string, tag = "4")]
    pub type_url: String,
}

/// `istio.v1.auth.IstioCertificateRequest`; its field 4 (metadata) is not used by this agent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// Certificate signing request, PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Requested lifetime in seconds.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
}

/// `istio.v1.auth.IstioCertificateResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM certificates: leaf first, root last.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// Path of the one method of the certificate service.
pub const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckRequest {
    /// Service asked about; empty for the server as a whole.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckResponse {
    /// 1 is SERVING.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Path of `grpc.health.v1.Health/Check`.
pub const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

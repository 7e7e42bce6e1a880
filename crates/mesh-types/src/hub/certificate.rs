//! What passes between the plane and the agents of the clusters, so that members sign under one root and no key leaves its
//! cluster: the plane wants an IssuedCertificate, the agent answers with a CertificateRequest, the plane signs it, the agent
//! installs it, and a WorkloadRestart says whom to restart for it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::object::Resource;
use super::reference::ObjectRef;

/// Specification of an IssuedCertificate, in the cluster that shall sign with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IssuedCertificate {
    /// Identities of the certificate, as URIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Organisation in its subject.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub org_name: String,
    /// Days for which it is valid.
    pub ttl_days: u32,
    /// Share of the life that is left when a new one is asked for, 0 to 1.
    pub secret_rotation_grace_period_ratio: f64,
    /// Secret with key and chain that the control plane reads, in the agent's cluster.
    pub issued_certificate_secret: ObjectRef,
    /// Secret of the authority that signs, in the management cluster.
    pub signing_certificate_secret: ObjectRef,
    /// The restart that follows; none where people restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_restart: Option<ObjectRef>,
}

/// How far a certificate got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IssueState {
    /// Wanted.
    #[default]
    Pending,
    /// The agent made a key and asked for a signature.
    Requested,
    /// The control plane's Secret holds it.
    Issued,
    /// Everything that has to use it does.
    Finished,
    /// It cannot go on; the error says why.
    Failed,
}

/// Status of an IssuedCertificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IssuedCertificateStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
    /// How far it got.
    pub state: IssueState,
    /// Why it does not go on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// SHA-256 of the root that it leads to, in hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root_fingerprint: String,
    /// SHA-256 of every root that the mesh is told to trust, in hexadecimal, the own one first: while a root changes, the old one
    /// and the new one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_roots: Vec<String>,
    /// Since when every namespace with workloads has these roots, RFC 3339. Pods that are older are restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_since: Option<String>,
    /// When the certificate ends, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
}

/// Specification of a CertificateRequest, in the cluster that asks, under the name of its IssuedCertificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateRequest {
    /// PKCS #10 in PEM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate_signing_request: String,
}

/// Status of a CertificateRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateRequestStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
    /// `PENDING`, `FINISHED` or `FAILED`.
    pub state: IssueState,
    /// Why it was refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The certificate, and what leads from it to the root, in PEM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signed_certificate: String,
    /// Roots to trust, in PEM: while a root changes, the old one and the new one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signing_root_ca: String,
}

/// Specification of a WorkloadRestart, in the cluster it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadRestart {
    /// One after the other; a step begins when the one before is done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<RestartStep>,
}

/// Workloads that are restarted together, as `kubectl rollout restart` does it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartStep {
    /// Namespace; empty means every namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels of the pods; none means every pod with a proxy.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Restart only once the pods' namespace has the root of the IssuedCertificate in this ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_root_in: Option<RootConfigMap>,
}

/// Where a namespace keeps the root that its pods trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RootConfigMap {
    /// Name of the ConfigMap.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
}

/// Status of a WorkloadRestart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadRestartStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
    /// `PENDING`, `FINISHED` or `FAILED`.
    pub state: IssueState,
    /// Why it does not go on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Fingerprint of the root for which the steps were done last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root_fingerprint: String,
    /// Fingerprints of the roots that were trusted then, the own one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_roots: Vec<String>,
    /// Steps that are done for it.
    pub steps_done: u32,
}

impl Resource for IssuedCertificate {
    const KIND: Kind = Kind::IssuedCertificate;
    type Status = IssuedCertificateStatus;
}

impl Resource for CertificateRequest {
    const KIND: Kind = Kind::CertificateRequest;
    type Status = CertificateRequestStatus;
}

impl Resource for WorkloadRestart {
    const KIND: Kind = Kind::WorkloadRestart;
    type Status = WorkloadRestartStatus;
}

//! Who calls whom, counted from the access logs that proxies send: Istio's standard metrics, and a stream of requests.
//!
//! Istio's proxies tell each other about themselves ("peer metadata"); Envoy as it is does not. So a proxy's own side is what its
//! node says, and the other side is what can be derived:
//!
//! * the identity is the SPIFFE id of the certificate, which mutual TLS proved;
//! * workload, labels and cluster come from the address, where a pod of this cluster has it. Behind a gateway to another cluster
//!   they are `unknown`, and the namespace is that of the identity;
//! * plain text from elsewhere leaves everything `unknown`.
//!
//! The other cluster's agent knows the other half, by the reports of its own proxies.

mod labels;
mod metrics;
mod service;

pub use labels::{Labels, Node, Observed, Side, Workload, observe_http, observe_tcp};
pub use metrics::{Metrics, SERIES};
pub use service::{AccessLogs, Lookup};

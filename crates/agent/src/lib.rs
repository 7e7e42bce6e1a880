//! The agent beside each Envoy: bootstrap, certificates, xDS proxy, capture rules, health, orderly end.
//!
//! It knows a control plane that speaks Istio's protocols and nothing else: no Kubernetes API, no mesh configuration.

pub mod ads;
pub mod backoff;
pub mod bootstrap;
pub mod capture;
pub mod certificate;
pub mod directory_watch;
pub mod dns;
pub mod drain;
pub mod envoy;
pub mod health;
pub mod http_client;
pub mod identity;
pub mod insecure_tls;
pub mod node;
pub mod proto;
pub mod proxy;
pub mod raw_codec;
pub mod sds;
pub mod settings;
pub mod status;
pub mod stored_certificate;
pub mod upstream;
pub mod vm;

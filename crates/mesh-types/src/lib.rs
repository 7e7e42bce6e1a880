//! The resources, names and identities of the mesh as plain data, with Istio's spelling.
//!
//! This crate parses, checks and describes; it opens no file and no socket. What a resource *means* for a proxy is
//! decided in `pilot`.

pub mod authorization_policy;
pub mod crd;
pub mod destination_rule;
pub mod duration;
pub mod fields;
pub mod gateway;
pub mod host;
pub mod hub;
pub mod kind;
mod known;
pub mod names;
pub mod node;
pub mod object;
pub mod peer_authentication;
pub mod probe;
pub mod regular_expression;
pub mod service_entry;
pub mod spiffe;
pub mod telemetry;
pub mod validate;
pub mod virtual_service;
pub mod workload_entry;

pub use authorization_policy::AuthorizationPolicy;
pub use destination_rule::DestinationRule;
pub use duration::IstioDuration;
pub use fields::{UnsupportedField, unsupported_fields};
pub use gateway::Gateway;
pub use kind::Kind;
pub use object::{Metadata, Object};
pub use peer_authentication::PeerAuthentication;
pub use service_entry::ServiceEntry;
pub use spiffe::SpiffeId;
pub use validate::{FieldError, validate};
pub use virtual_service::VirtualService;
pub use workload_entry::{WorkloadEntry, WorkloadGroup};

//! The resources of the management plane as plain data, with their definitions and their validation.
//!
//! The shapes are those of the v1 API of the plane that this one succeeds (Gloo Mesh, before that Service Mesh Hub), under
//! groups of our own; `docs/adr/0009-resources-of-the-management-plane.md` says where they differ and why. What a resource
//! *means* for a cluster is decided in the crate `hub`.

pub mod access_policy;
pub mod acknowledgement;
pub mod certificate;
pub mod cluster;
pub mod crd;
pub mod destination;
pub mod kind;
pub mod matcher;
pub mod mesh;
pub mod names;
pub mod object;
pub mod reference;
pub mod selector;
pub mod status;
pub mod traffic_policy;
mod validate;
pub mod virtual_destination;
pub mod virtual_mesh;
pub mod workload;

pub use access_policy::AccessPolicy;
pub use certificate::{CertificateRequest, IssuedCertificate, WorkloadRestart};
pub use cluster::KubernetesCluster;
pub use destination::Destination;
pub use kind::Kind;
pub use mesh::Mesh;
pub use object::{Object, Resource};
pub use reference::{ClusterObjectRef, ObjectRef};
pub use traffic_policy::TrafficPolicy;
pub use validate::{validate, validate_in};
pub use virtual_destination::VirtualDestination;
pub use virtual_mesh::VirtualMesh;
pub use workload::Workload;

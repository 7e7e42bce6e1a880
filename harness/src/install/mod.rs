//! What is put onto fresh clusters, all of it through the Kubernetes API: definitions, trust, the mesh, gateways, applications.
//!
//! Knows no provider: the same manifests go to every kind of cluster.

pub mod apps;
pub mod credential;
pub(crate) mod diagnosis;
pub mod echo;
pub mod hub;
pub mod manifest;
pub mod mesh;
pub mod remote;
pub mod remote_secret;

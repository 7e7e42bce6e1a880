//! The embedded Kubernetes as one process: fabric, API servers, controllers and node agents of every cluster.
//!
//! This crate only wires the parts together: [`world`] starts them, [`cluster`] is one cluster, [`loopback`] publishes
//! LoadBalancer Services on the host. It knows nothing of meshes.

mod backend;
mod bootstrap;
pub mod cluster;
pub mod loopback;
mod node_config;
pub mod world;

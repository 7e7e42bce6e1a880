//! The embedded Kubernetes as one process: fabric, API servers, controllers and node agents of every cluster.
//!
//! This crate only wires the parts together: [`world`] starts them, [`cluster`] is one cluster, [`control`] makes
//! faults and taps for a client, [`loopback`] publishes
//! LoadBalancer Services on the host. It knows nothing of meshes.

mod backend;
mod bootstrap;
pub mod cluster;
pub mod control;
pub mod loopback;
mod node_config;
pub mod world;

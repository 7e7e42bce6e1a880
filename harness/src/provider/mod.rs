//! Where clusters come from. After provisioning, code sees [`crate::cluster::Cluster`] handles and never a provider.

pub mod client;
pub mod embedded;
pub mod envoy;
pub mod existing;
pub mod files;
pub mod fleet;
pub mod images;
pub mod kind;
pub mod leftovers;
pub mod memory;
mod patience;
pub mod programs;

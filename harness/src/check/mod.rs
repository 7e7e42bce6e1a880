//! What is looked at to reach a verdict. Each module observes or judges one promise of a mesh.

mod assertions;
mod config;
pub mod convergence;
pub mod draining;
mod failover;
mod headers;
pub mod invariants;
pub mod judge;
pub mod observation;
pub mod proxies;
mod reachability;

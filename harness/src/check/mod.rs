//! What is looked at to reach a verdict. Each module observes or judges one promise of a mesh.

mod assertions;
pub mod certificate;
mod config;
pub mod convergence;
pub mod draining;
pub mod failing;
mod failover;
mod headers;
pub mod invariants;
pub mod judge;
mod mutual_tls;
pub mod observation;
mod peers;
pub mod proxies;
mod reachability;
pub mod symptoms;
pub mod witness;

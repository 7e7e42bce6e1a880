//! What is looked at to reach a verdict. Each module observes or judges one promise of a mesh.

mod assertions;
pub mod convergence;
pub mod draining;
mod failover;
pub mod judge;
pub mod observation;
pub mod proxies;

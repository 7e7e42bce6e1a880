//! What is looked at to reach a verdict. Each module observes or judges one promise of a mesh.

pub mod convergence;
pub mod draining;
pub mod judge;
pub mod observation;
pub mod proxies;

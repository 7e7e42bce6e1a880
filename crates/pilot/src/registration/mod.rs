//! Workloads that no pod stands for, such as virtual machines, register themselves: a WorkloadEntry from the template of
//! their WorkloadGroup for as long as they are connected, and a while longer.
//!
//! [`applicant`], [`fate`] and [`health`] are pure; [`registrar`] writes to the API server; [`sweep`] removes what is left
//! behind, also by a control plane that is gone.

pub mod applicant;
pub mod fate;
pub mod health;
pub mod registrar;
pub mod sweep;

pub use applicant::Applicant;
pub use registrar::{Membership, Registrar};

/// What a proxy says of the health of its application, as a request on its xDS stream.
pub const HEALTH_INFORMATION: &str = "type.googleapis.com/istio.v1.HealthInformation";

//! The node agent: runs the pods that are bound to its node, as processes, and tells the API server about them.
//!
//! It does what Kubernetes' kubelet does, as far as processes of one machine allow. Not done, on purpose: resource
//! limits; `runAsUser` and `fsGroup` (the world has one user id); host networks and host paths (refused with the
//! reason); persistent volumes; image pulls (names stand for local programs, see [`ImageTable`]).
//!
//! `agent` watches pods and keeps a task for each (`pod`); `volumes`, `environment`, `dns` and `downward` decide what
//! containers find inside; `probes` asks them how they are; `backend` answers the API server.

mod agent;
mod backend;
mod backoff;
mod context;
mod dns;
mod downward;
mod environment;
mod images;
mod merge;
mod node;
mod pod;
mod probes;
mod volumes;

pub use agent::{NodeAgent, NodeAgentError, NodeConfig};
pub use backend::LateBackend;
pub use images::{ImageRule, ImageTable, UnknownImage};

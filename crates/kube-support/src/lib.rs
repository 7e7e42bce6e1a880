//! What every control plane of this project does with a Kubernetes cluster, written once: watches that never end, clients of
//! kubeconfigs, webhooks over HTTPS, and configurations of webhooks that trust who serves them.

pub mod bundle;
pub mod client;
pub mod error;
pub mod flag;
pub mod https;
pub mod pause;
pub mod table;
pub mod watch;

//! Cluster DNS: names of Services and pods, as Kubernetes specifies them.
//!
//! [`Zone`] is pure and answers questions; [`serve`] is the server. Names outside the cluster's domain are refused at
//! once, or passed on where resolvers are given. No DNSSEC, no zone transfer.

mod forward;
mod server;
mod zone;

pub use forward::host_resolvers;
pub use server::{DnsSockets, serve};
pub use zone::{Answer, Question, RecordData, Zone};

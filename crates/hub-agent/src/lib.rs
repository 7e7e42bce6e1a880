//! The agent of the management plane in each cluster: it does what has to stay there. It makes the keys of the mesh's authority and
//! installs what the plane signs, restarts what has to be restarted for it, counts requests from the proxies' access logs,
//! and tells the plane what the proxies have acknowledged.
//!
//! Decisions are pure functions of what is in the cluster ([`certificate`], [`restart`]); [`run`] watches, decides and writes.

pub mod acknowledged;
pub mod admin;
pub mod certificate;
pub mod pods;
pub mod program;
pub mod restart;
pub mod run;
pub mod telemetry;
pub mod trust;
pub mod view;

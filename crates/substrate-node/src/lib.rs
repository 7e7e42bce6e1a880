//! One node of an embedded Kubernetes cluster: pods as processes in namespaces of their own, the network they live
//! in, service routing, cluster DNS, and the supervision that makes all of it end with one process.
//!
//! Knows Kubernetes' words and Linux; does not know any service mesh, and stores no Kubernetes objects.

mod beneath;
pub mod dns;
pub mod fabric;
pub mod kubelet;
pub mod machine;
mod message;
pub mod runtime;
pub mod services;
pub mod supervision;

//! An Istio-compatible control plane: watches clusters, translates what it finds into Envoy's configuration, and
//! serves it to proxies.
//!
//! [`model`] collects, [`translate`] is pure.

pub mod model;
pub mod translate;

//! An Istio-compatible control plane: watches clusters, translates what it finds into Envoy's configuration, and
//! serves it to proxies.
//!
//! [`model`] collects, [`translate`] is pure, [`ads`] serves.

pub mod ads;
pub mod ca;
pub mod inject;
pub mod model;
pub mod translate;
pub mod validation;
pub mod webhook;

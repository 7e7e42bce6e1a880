//! An Istio-compatible control plane: watches clusters, translates what it finds into Envoy's configuration, and
//! serves it to proxies.
//!
//! [`model`] collects, [`translate`] is pure, [`ads`] and [`debug`] serve; [`ca`] is the certificate authority,
//! [`inject`] adds proxies to pods, [`validation`] judges resources and [`webhook`] answers the API server with both;
//! [`external`] serves clusters without a control plane of their own.
//! [`discovery`] starts everything.

pub mod ads;
pub mod ca;
pub mod crds;
pub mod debug;
pub mod discovery;
pub mod external;
pub mod inject;
pub mod model;
pub mod registration;
pub mod translate;
pub mod validation;
pub mod webhook;

//! Integration tests of the control plane: translations from fixtures, their acceptance by Envoy, the delta protocol.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests do")]

mod ads;
mod authorization;
mod authorization_live;
mod crds;
mod entries;
mod envoy;
mod expiry_live;
mod fields;
mod fixture;
mod gateway_tls;
mod gateway_tls_live;
mod live;
mod locality;
mod locality_live;
mod pod;
mod policy;
mod print;
mod registration;
mod running;
mod telemetry;
mod timeout_live;
mod translate;
mod versions;
mod weights;

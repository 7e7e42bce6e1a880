//! Integration tests of the control plane: translations from fixtures, their acceptance by Envoy, the delta protocol.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests do")]

mod ads;
mod crds;
mod envoy;
mod fields;
mod fixture;
mod live;
mod print;
mod running;
mod translate;
mod versions;
mod weights;

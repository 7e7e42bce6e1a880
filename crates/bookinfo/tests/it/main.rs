//! The applications and the probe over real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part fails the test")]

mod controlled;
mod envoy;
mod programs;
mod protocols;
mod services;
mod storm;
mod support;

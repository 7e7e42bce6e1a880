//! The manager against real API servers: one for the management cluster, one for each registered cluster.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests do")]

mod acknowledged;
mod admin;
mod cluster;
mod discovery;
mod leading;
mod ownership;
mod resilience;
mod spy;
mod trust;
mod webhook;
mod world;
mod writer;

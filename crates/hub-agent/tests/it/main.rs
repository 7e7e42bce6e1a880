//! The agent against a real API server: what the plane writes goes in, what the cluster has comes out.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests do")]

mod certificates;
mod rights;
mod telemetry;
mod world;

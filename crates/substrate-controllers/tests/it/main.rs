//! The controllers beside a real API server, in one process, with a node that only pretends to run pods.

#![expect(clippy::unwrap_used, reason = "a test helper that cannot go on ends its test")]

mod deletion;
mod services;
mod workloads;
mod world;

//! The agent as a program, against real Envoy and a control plane that lives in the test.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod capture;
mod control_plane;
mod dns;
mod docker_dns;
mod pod;
mod proxy;
mod support;
mod vm;

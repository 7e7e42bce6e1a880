//! The agent as a program, against real Envoy and a control plane that lives in the test.

mod capture;
mod control_plane;
mod pod;
mod proxy;
mod support;

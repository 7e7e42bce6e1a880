//! The API server as its clients see it: through `kube`, in process and over TLS, and through the real kubectl.

#![expect(clippy::unwrap_used, reason = "a test helper that cannot go on ends its test")]

mod access;
mod apply;
mod definitions;
mod deletion;
mod kubectl;
mod lists;
mod objects;
mod pods;
mod streams;
mod watches;
mod webhooks;
mod world;

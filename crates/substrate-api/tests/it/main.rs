//! The API server as its clients see it: through `kube`, in process and over TLS, and through the real kubectl.

mod access;
mod apply;
mod deletion;
mod definitions;
mod kubectl;
mod lists;
mod objects;
mod pods;
mod streams;
mod watches;
mod webhooks;
mod world;

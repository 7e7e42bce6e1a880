//! The node agent in a whole cluster: pods are applied through the API, and judged by what they do.

mod cluster;
mod configuration;
mod confinement;
mod lifecycle;
mod probes;

//! Runs checked plans on running clusters. Everything that happens is sent as an event; nothing is printed here.

mod artifacts;
mod context;
mod measure;
mod scenario;
mod step;
mod told;

pub use context::{Environment, Error};
pub use scenario::run_scenario;

//! Runs checked plans on running clusters. Everything that happens is sent as an event; nothing is printed here.

mod background;
mod connections;
mod context;
mod fault;
mod holders;
mod invariants;
mod judged;
mod machines;
mod managed;
mod measure;
mod objects;
mod reachability;
mod rollout;
mod runner;
mod samples;
mod scenario;
mod situation;
mod storm;
mod symptoms;
mod told;
mod watch;
mod witness;
mod workers;

pub use context::{Environment, Error};
pub(crate) use fault::heal_left;
pub(crate) use machines::start_left;
pub use scenario::{run_repetition, run_scenario};

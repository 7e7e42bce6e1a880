//! An environment from a topology: brought up in parallel wherever nothing forces an order, kept, found again, taken down.

mod authorities;
mod bring_up;
mod charts;
mod directory;
mod docker;
mod existing;
mod first_request;
mod kind;
mod layers;
mod plane;
mod take_down;
mod world;

pub use bring_up::{Error, WhenInterrupted, bring_up};
pub use directory::{Claim, Directory, state_root};
pub use docker::docker_machines;
pub use existing::{Given, MeshSource, Refused, begin, bring_up_on};
pub use kind::{OnDocker, begin as begin_on_docker, bring_up as bring_up_on_docker};
pub use take_down::take_down;
pub use world::{DockerMachines, world_config};

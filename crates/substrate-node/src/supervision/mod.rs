//! The world: one process that is PID 1 of its own PID namespace, in user and mount namespaces of its own.
//!
//! Everything that a supervisor starts lives in namespaces below it, so its death by any signal ends all of it, and
//! the kernel takes links, mounts and rules with it. The host's network namespace stays: API servers listen there.
//!
//! Nobody adopts orphans as a rule: a container's processes have a PID 1 of their own. [`reap_orphans`] takes care of
//! exceptions without taking the exit status of a child that somebody waits for.

mod lease;
mod preflight;
mod probe;
mod reaper;
mod stat;
mod world;

pub use lease::lease_ended;
pub use preflight::{Problem, preflight};
pub use reaper::reap_orphans;
pub use world::{EnterError, World, enter_world, mount_tmpfs};

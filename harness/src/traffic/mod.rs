//! Traffic: the probe client runs inside a pod or on a virtual machine, this module starts it and reads its samples. Judges nothing.

pub mod background;
pub mod chunks;
pub(crate) mod controlled;
pub(crate) mod fleet;
mod merged;
pub(crate) mod place;
pub mod probe;
pub mod request;
pub mod samples;
pub mod timeline;
pub(crate) mod workers;

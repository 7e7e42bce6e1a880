//! Traffic: the probe client runs inside a pod, this module starts it and reads its samples. Judges nothing.

pub mod background;
pub mod chunks;
pub(crate) mod controlled;
mod merged;
pub mod probe;
pub mod request;
pub mod samples;
pub mod timeline;

//! Traffic: the probe client runs inside a pod, this module starts it and reads its samples. Judges nothing.

pub mod probe;

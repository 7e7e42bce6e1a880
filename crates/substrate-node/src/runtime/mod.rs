//! Containers: processes with a private root, PID 1 of a PID namespace of their own, in the network of their pod.
//!
//! A container's process is a direct child of the supervisor. A thread that is used once enters or creates the
//! namespaces and re-executes this program in them as `container-init` (or `container-exec`); that process builds the
//! root, gives up its capabilities and becomes the container's program. No helper stays behind, and nobody but the
//! supervisor has to be alive. Every container has UTS and IPC namespaces of its own; containers of one pod share
//! only the network, the host name being equal by value.
//!
//! Not done: user ids (the world maps one id only, so `runAsUser` cannot be honoured), resource limits, seccomp.

mod child;
mod container;
mod exec;
mod helper;
mod init;
pub mod logs;
mod spec;

pub use container::Container;
pub use init::maybe_container_init;
pub(crate) use init::{CAPABILITY_NAMES, close_descriptors_on_exec, give_up_capabilities_but, set_read_only};
pub use spec::{ContainerSpec, DEFAULT_PATH, ExecSession, ExecSpec, ExitStatus, Mount, MountSource, StartError};

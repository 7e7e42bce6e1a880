//! Options about virtual machines of a topology. Comments here are what `-h` shows.

use clap::Args;

use crate::topology::vm::VmRuntime;

/// How machines are played.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct MachineArgs {
    /// What plays virtual machines, in place of what the topology says
    #[arg(long, value_enum, env = "MESHPROOF_VM_RUNTIME")]
    pub vm_runtime: Option<VmRuntime>,
}

//! What this version cannot bring up yet, in the words that every command uses.

use super::{Provider, Topology};

/// Something that a topology asks for and this version does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The field of the topology that asks for it.
    pub field: &'static str,
    /// What is lacking.
    pub message: String,
    /// What to write instead.
    pub cure: &'static str,
}

/// What stands in the way of bringing a topology up, if anything.
#[must_use]
pub fn lack(topology: &Topology) -> Option<Lack> {
    match topology.provider {
        Provider::Embedded => None,
        Provider::Existing if !topology.vms.is_empty() => Some(Lack {
            field: "vms",
            message: "virtual machines on clusters that are there are not part of this version".to_owned(),
            cure: "use `--provider embedded`, or a topology without `vms`",
        }),
        Provider::Existing if topology.primaries().count() < topology.meshed().count() => Some(Lack {
            field: "clusters",
            message: "a shared control plane on clusters that are there is not part of this version".to_owned(),
            cure: "use `--provider embedded`, or a topology without `controlPlane`",
        }),
        Provider::Existing => None,
        Provider::Kind if !topology.vms.is_empty() => Some(Lack {
            field: "vms",
            message: "virtual machines beside kind clusters are not part of this version".to_owned(),
            cure: "use `--provider embedded`, or a topology without `vms`",
        }),
        Provider::Kind => None,
    }
}

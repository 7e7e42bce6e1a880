//! What this version cannot bring up yet, in the words that every command uses.

use super::{Cluster, Discovery, Provider, Topology};

/// Whether a management plane is installed, where that is said beside the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WantedManagement {
    /// The one that the topology has.
    Hub,
    /// None, although the topology has one.
    None,
}

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
    let embedded = topology.clusters_of(Provider::Embedded).count() == topology.clusters.len();
    if !topology.vms.is_empty() && !embedded {
        return Some(Lack {
            field: "vms",
            message: "virtual machines beside clusters that are not embedded are not part of this version".to_owned(),
            cure: "use `--provider embedded`, or a topology without `vms`",
        });
    }
    let is_there = |name: &str| topology.clusters_of(Provider::Existing).any(|cluster| cluster.name == name);
    let shares = |cluster: &Cluster| {
        cluster.control_plane.as_ref().is_some_and(|primary| is_there(primary) || is_there(&cluster.name))
    };
    topology.meshed().any(shares).then(|| Lack {
        field: "clusters",
        message: "a shared control plane on clusters that are there is not part of this version".to_owned(),
        cure: "use `--provider embedded`, or a topology without `controlPlane`",
    })
}

/// Leaves the management plane of a topology away, or insists on it.
///
/// # Errors
/// Where the topology has none, or is nothing without the one that it has.
pub fn settle_management(topology: &mut Topology, wanted: Option<WantedManagement>) -> Result<(), Lack> {
    let refused = |field: &'static str, message: &str, cure: &'static str| {
        let message = format!("topology {} {message}", topology.name);
        Err(Lack { field, message, cure })
    };
    match wanted {
        Some(WantedManagement::Hub) if topology.management.is_none() => refused(
            "management",
            "does not say where its management plane runs",
            "add `management: {cluster: NAME}` to it, or leave out `--management hub`",
        ),
        Some(WantedManagement::None) if topology.discovery == Discovery::Hub => refused(
            "discovery",
            "finds the services of other clusters by its management plane (`discovery: hub`)",
            "leave out `--management none`, or name a topology with `discovery: remote-secrets`",
        ),
        Some(WantedManagement::None) if topology.trust_is_managed() => refused(
            "management",
            "has its trust from its management plane (`virtualMesh: {trust: shared}`)",
            "leave out `--management none`, or name a topology with `trust: topology`",
        ),
        Some(WantedManagement::None) => {
            topology.management = None;
            Ok(())
        }
        Some(WantedManagement::Hub) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::validate;

    fn topology(change: impl Fn(&str) -> String) -> Topology {
        let text = include_str!("../../../scenarios/topologies/management-three-clusters.yaml");
        validate::read("t.yaml", &change(text)).expect("a topology")
    }

    #[test]
    fn the_management_plane_goes_only_where_nothing_needs_it() {
        let refused =
            |mut topology: Topology, wanted| settle_management(&mut topology, Some(wanted)).expect_err("refused");
        let by_hub = refused(topology(str::to_owned), WantedManagement::None);
        assert_eq!(
            by_hub.message,
            "topology management-three-clusters finds the services of other clusters by its management plane (`discovery: hub`)"
        );
        let secrets = |text: &str| text.replace("discovery: hub", "discovery: remote-secrets");
        let mut left = topology(secrets);
        assert_eq!(settle_management(&mut left, Some(WantedManagement::Hub)), Ok(()));
        assert!(left.management.is_some());
        assert_eq!(settle_management(&mut left, Some(WantedManagement::None)), Ok(()));
        assert_eq!(left.management, None);
        assert_eq!(settle_management(&mut left, None), Ok(()));
        let none = refused(left, WantedManagement::Hub);
        assert_eq!(none.message, "topology management-three-clusters does not say where its management plane runs");
        let shared = |text: &str| secrets(text).replace("federation: permissive", "trust: shared");
        let shared = refused(topology(shared), WantedManagement::None);
        assert!(shared.message.contains("has its trust from its management plane"), "{shared:?}");
    }
}

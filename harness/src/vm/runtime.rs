//! What plays the machines of a topology: what was asked for, by what there is.

use docker_support::Engine;

use crate::topology::Topology;
use crate::topology::vm::VmRuntime;

/// What plugs links into containers, and so lets them be machines.
const AS_ROOT: &str = "run as root on the machine that runs Docker";

/// A Docker engine as machines need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Docker {
    /// Its containers can be plugged in.
    Ready,
    /// They cannot.
    Lacking {
        /// Why.
        why: String,
        /// What to do about it.
        cure: String,
    },
}

/// A machine was to be a container, and cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("virtual machine {machine} was to be a container of Docker: {why}")]
pub struct Unplayable {
    /// Which machine.
    pub machine: String,
    /// Why it cannot be.
    pub why: String,
    /// What to do about it.
    pub cure: String,
}

/// Asks the engine of this machine.
pub async fn look() -> Docker {
    let found = async {
        let engine = Engine::connect(&docker_support::socket()?).await?;
        engine.no_links().await
    };
    match found.await {
        Ok(None) => Docker::Ready,
        Ok(Some(why)) => Docker::Lacking { why, cure: AS_ROOT.to_owned() },
        // To be let use Docker is not enough for links.
        Err(error @ docker_support::Error::Permission(_)) => {
            Docker::Lacking { why: error.to_string(), cure: AS_ROOT.to_owned() }
        }
        Err(error) => Docker::Lacking { why: error.to_string(), cure: error.cure() },
    }
}

/// Settles what plays each machine. `asked` is stronger than what the topology says. Returns why some are not containers that
/// could be.
///
/// # Errors
/// [`Unplayable`] where Docker was asked for by name.
pub fn settle(
    topology: &mut Topology,
    asked: Option<VmRuntime>,
    docker: &Docker,
) -> Result<Option<String>, Unplayable> {
    let mut fallback = None;
    for vm in &mut topology.vms {
        vm.runtime = match (asked.unwrap_or(vm.runtime), docker) {
            (VmRuntime::Netns, _) => VmRuntime::Netns,
            (VmRuntime::Docker | VmRuntime::Auto, Docker::Ready) => VmRuntime::Docker,
            (VmRuntime::Docker, Docker::Lacking { why, cure }) => {
                let cure = format!("{cure}; or say `--vm-runtime netns`, which needs no Docker");
                return Err(Unplayable { machine: vm.name.clone(), why: why.clone(), cure });
            }
            (VmRuntime::Auto, Docker::Lacking { why, .. }) => {
                fallback = Some(why.clone());
                VmRuntime::Netns
            }
        };
        if vm.runtime == VmRuntime::Netns {
            vm.image = None;
        }
    }
    Ok(fallback)
}

/// Whether anybody has to ask the engine.
#[must_use]
pub fn depends_on_docker(topology: &Topology, asked: Option<VmRuntime>) -> bool {
    topology.vms.iter().any(|vm| asked.unwrap_or(vm.runtime) != VmRuntime::Netns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::validate;

    const SHIPPED: &str = include_str!("../../../scenarios/topologies/virtual-machines.yaml");

    fn lacking() -> Docker {
        Docker::Lacking { why: "nobody answers".to_owned(), cure: "start it".to_owned() }
    }

    fn settled(
        own: VmRuntime,
        asked: Option<VmRuntime>,
        docker: &Docker,
    ) -> Result<(VmRuntime, Option<String>), Unplayable> {
        let mut topology = validate::read("virtual-machines.yaml", SHIPPED).expect("no problems");
        topology.vms[0].runtime = own;
        let why = settle(&mut topology, asked, docker)?;
        Ok((topology.vms[0].runtime, why))
    }

    #[test]
    fn docker_is_taken_where_it_is_there_and_netns_where_it_is_not_or_is_asked_for() {
        use VmRuntime::{Auto, Docker as Container, Netns};
        assert_eq!(settled(Auto, None, &Docker::Ready), Ok((Container, None)));
        assert_eq!(settled(Auto, None, &lacking()), Ok((Netns, Some("nobody answers".to_owned()))));
        assert_eq!(settled(Netns, Some(Container), &Docker::Ready), Ok((Container, None)));
        assert_eq!(settled(Container, Some(Netns), &lacking()), Ok((Netns, None)));
    }

    #[test]
    fn docker_by_name_is_never_something_else() {
        let refused = settled(VmRuntime::Docker, None, &lacking()).expect_err("refused");
        assert_eq!(refused.machine, "details-vm");
        assert!(refused.cure.contains("start it") && refused.cure.contains("--vm-runtime netns"), "{}", refused.cure);
        assert!(settled(VmRuntime::Netns, Some(VmRuntime::Docker), &lacking()).is_err());
    }

    #[test]
    fn an_engine_is_asked_only_where_it_matters() {
        let topology = validate::read("virtual-machines.yaml", SHIPPED).expect("no problems");
        assert!(depends_on_docker(&topology, None));
        assert!(!depends_on_docker(&topology, Some(VmRuntime::Netns)));
    }
}

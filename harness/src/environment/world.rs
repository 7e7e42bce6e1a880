//! A topology as the embedded provider is told it. Pure.

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::{ClusterConfig, NetworkConfig, WorldConfig};

use crate::provider::images;
use crate::provider::programs::Programs;
use crate::topology::Topology;
use crate::vm;

/// Node and LoadBalancer addresses of the clusters: `172.30.<n>.0/24` for the n-th. They exist inside the world only.
fn node_subnet(position: usize) -> String {
    format!("172.30.{}.0/24", position + 1)
}

/// Where machines that are containers come from.
#[derive(Clone, Debug)]
pub struct DockerMachines {
    /// Socket of the engine.
    pub socket: Utf8PathBuf,
    /// Image of those that name none; nothing where all name one.
    pub image: Option<String>,
}

/// The configuration of the world that a topology asks for. `docker` is needed where a machine is a container.
#[must_use]
pub fn world_config(
    topology: &Topology,
    name: &str,
    run_id: &str,
    directory: &Utf8Path,
    programs: &Programs,
    docker: Option<&DockerMachines>,
    exit_on_stdin_eof: bool,
) -> WorldConfig {
    let clusters = topology.clusters.iter().enumerate().map(|(position, cluster)| ClusterConfig {
        name: cluster.name.clone(),
        network: cluster.network.clone(),
        pod_subnet: cluster.pod_subnet.to_string(),
        service_subnet: cluster.service_subnet.to_string(),
        node_subnet: node_subnet(position),
        region: Some(cluster.region.clone()),
        zone: Some(cluster.zone.clone()),
    });
    let image = docker.and_then(|docker| docker.image.as_deref());
    WorldConfig {
        name: name.to_owned(),
        run_id: run_id.to_owned(),
        state_directory: directory.to_owned(),
        networks: topology.networks.iter().map(|name| NetworkConfig { name: name.clone() }).collect(),
        clusters: clusters.collect(),
        machines: topology.vms.iter().map(|vm| vm::plan::machine(vm, image)).collect(),
        docker_socket: docker.map(|docker| docker.socket.clone()),
        images: images::table(programs),
        exit_on_stdin_eof,
    }
}

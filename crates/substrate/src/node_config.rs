//! What a node agent is told about its node. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;
use substrate_api::ApiServer;
use substrate_config::{ClusterConfig, WorldConfig};
use substrate_node::fabric::ClusterNetwork;
use substrate_node::kubelet::{ImageRule, ImageTable, NodeConfig};

use crate::cluster::Addresses;

/// The configuration of the one node of a cluster.
pub(crate) fn node_config(
    world: &WorldConfig,
    cluster: &ClusterConfig,
    api: &Arc<ApiServer>,
    network: Arc<ClusterNetwork>,
    addresses: &Addresses,
    directory: &Utf8Path,
) -> NodeConfig {
    let name = format!("{}-node", cluster.name);
    NodeConfig {
        client: api.client(&format!("system:node:{name}"), &["system:masters"]),
        network,
        images: images(world),
        node_name: name,
        node_labels: labels(cluster),
        volumes_directory: world.state_directory.join("world").join(&cluster.name).into_std_path_buf(),
        log_directory: directory.join("logs").into_std_path_buf(),
        cluster_dns: addresses.dns,
    }
}

/// The programs that stand for images.
pub(crate) fn images(world: &WorldConfig) -> ImageTable {
    ImageTable::new(world.images.iter().map(image).collect())
}

fn labels(cluster: &ClusterConfig) -> BTreeMap<String, String> {
    let topology = [("region", &cluster.region), ("zone", &cluster.zone)];
    topology
        .into_iter()
        .filter_map(|(key, value)| Some((format!("topology.kubernetes.io/{key}"), value.clone()?)))
        .collect()
}

fn image(rule: &substrate_config::ImageRule) -> ImageRule {
    let files = rule.files.iter().map(|(inside, host)| (inside.into(), host.into()));
    ImageRule {
        image: rule.image.clone(),
        files: files.collect(),
        entrypoint: rule.entrypoint.clone(),
        environment: rule.environment.clone(),
    }
}

//! The scenarios.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use substrate_node::fabric::{ClusterNetwork, ClusterNetworkConfig, Fabric, FabricConfig, NetworkConfig, PodNetwork};
use substrate_node::runtime::Container;
use substrate_node::supervision::{self, World};

use crate::{confinement, containers, datagrams, links, networks};

/// What a scenario saw.
pub(crate) type Facts = Result<Value, Box<dyn Error>>;

/// Runs the scenario of that name.
pub(crate) async fn run(name: &str, world: World) -> Facts {
    supervision::mount_tmpfs(FOLDER.as_ref())?;
    match name {
        "timing" => timing().await,
        "fabric" => networks::fabric().await,
        "services" => networks::services().await,
        "flat" => networks::flat().await,
        "synchronizer" => networks::synchronizer().await,
        "cut" => links::cut().await,
        "one-way" => links::one_way().await,
        "wire" => links::wire().await,
        "tap" => links::tap().await,
        "container" => containers::container().await,
        "confinement" => confinement::confinement().await,
        "exec" => containers::exec().await,
        "failures" => containers::failures().await,
        "datagrams" => datagrams::endpoints().await,
        "churn" => networks::churn().await,
        "names" => networks::names().await,
        "idle" => containers::idle(world).await,
        other => Err(format!("no scenario {other:?}").into()),
    }
}

pub(crate) fn two_clusters() -> Result<FabricConfig, Box<dyn Error>> {
    let cluster = |number: u8| -> Result<ClusterNetworkConfig, Box<dyn Error>> {
        Ok(ClusterNetworkConfig {
            name: format!("cluster{number}"),
            network: format!("network{number}"),
            pod_subnet: "10.244.0.0/16".parse()?,
            service_subnet: "10.96.0.0/16".parse()?,
            node_subnet: format!("172.30.{number}.0/24").parse()?,
        })
    };
    let networks = ["network1", "network2"].map(|name| NetworkConfig { name: name.to_owned() }).to_vec();
    Ok(FabricConfig { networks, clusters: vec![cluster(1)?, cluster(2)?], machines: Vec::new() })
}

pub(crate) fn cluster(fabric: &Fabric, name: &str) -> Result<Arc<ClusterNetwork>, Box<dyn Error>> {
    fabric.cluster(name).ok_or_else(|| format!("no {name}").into())
}

/// How long pods and containers take.
async fn timing() -> Facts {
    let start = Instant::now();
    let fabric = Fabric::create(&two_clusters()?).await?;
    let created = start.elapsed();
    let (one, two) = (cluster(&fabric, "cluster1")?, cluster(&fabric, "cluster2")?);
    let pods = (0..10).flat_map(|number| [(one.clone(), number), (two.clone(), number)]);
    let pods = pods.map(|(cluster, number)| async move { cluster.create_pod_network(&format!("pod-{number}")).await });
    let start = Instant::now();
    let pods = futures::future::try_join_all(pods).await?;
    let networks = start.elapsed();
    let start = Instant::now();
    let containers = pods.iter().zip(0..).map(|(pod, number)| {
        let spec = containers::spec(&format!("c{number}"), &["sleep", "1000"]);
        async move { Container::spawn(spec, pod.namespace()).await }
    });
    let containers = futures::future::try_join_all(containers).await?;
    let started = start.elapsed();
    let start = Instant::now();
    for container in &containers {
        container.signal(9)?;
        container.wait().await;
    }
    let killed = start.elapsed();
    let start = Instant::now();
    futures::future::join_all(pods.into_iter().map(PodNetwork::release)).await;
    let millis = |duration: Duration| duration.as_millis() as u64;
    Ok(json!({"fabricMs": millis(created), "podNetworksMs": millis(networks), "containersMs": millis(started),
        "killMs": millis(killed), "releaseMs": millis(start.elapsed())}))
}

/// A folder that only the world sees.
pub(crate) const FOLDER: &str = "/run";

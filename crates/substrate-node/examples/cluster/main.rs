//! A world with one whole cluster for the tests of the node agent: `cluster DIRECTORY` runs until its standard input
//! ends. `cluster serve PORT` is the program that the tests' containers run. Nothing is judged here.

mod serve;

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::json;
use substrate_api::{ApiServer, ApiServerConfig, Dialer};
use substrate_controllers::ControllerConfig;
use substrate_node::fabric::{ClusterNetwork, ClusterNetworkConfig, Fabric, FabricConfig, NetworkConfig};
use substrate_node::kubelet::{ImageRule, ImageTable, LateBackend, NodeAgent, NodeConfig};
use substrate_node::{runtime, supervision};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    runtime::maybe_container_init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", rest @ ..] => serve::run(rest),
        [directory] => supervise(Path::new(directory)),
        _ => Err("usage: cluster DIRECTORY | cluster serve PORT".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(directory: &Path) -> Result<(), Box<dyn Error>> {
    supervision::enter_world()?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "a TLS provider is there already")?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let _reaper = tokio::spawn(supervision::reap_orphans());
        let cluster = start(directory).await?;
        println!("{}", json!({"kubeconfig": directory.join("kubeconfig")}));
        supervision::lease_ended().await;
        drop(cluster);
        // The kernel ends every process of this PID namespace with this one.
        std::process::exit(0)
    })
}

/// What has to live as long as the cluster.
struct Cluster {
    _fabric: Fabric,
    _agent: Arc<NodeAgent>,
}

struct NodeDialer(Arc<ClusterNetwork>);

impl Dialer for NodeDialer {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(self.0.dial(address))
    }
}

async fn start(directory: &Path) -> Result<Cluster, Box<dyn Error>> {
    let volumes = directory.join("volumes");
    std::fs::create_dir_all(&volumes)?;
    supervision::mount_tmpfs(&volumes)?;
    let fabric = Fabric::create(&fabric_config()?).await?;
    let network = fabric.cluster("cluster").ok_or("the fabric has its cluster")?;
    let backend = Arc::new(LateBackend::default());
    let api = ApiServer::start(ApiServerConfig {
        cluster_name: "cluster".into(),
        service_subnet: "10.96.0.0/16".into(),
        subject_alt_names: Vec::new(),
        state_directory: directory.to_owned(),
        dialer: Arc::new(NodeDialer(network.clone())),
        node: backend.clone(),
    })
    .await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("https://{}", listener.local_addr()?);
    std::fs::write(directory.join("kubeconfig"), api.admin_kubeconfig(&url))?;
    let server = api.clone();
    tokio::spawn(async move { server.serve(listener, CancellationToken::new()).await });
    let controllers = ControllerConfig {
        load_balancer_pool: (Ipv4Addr::new(172, 30, 1, 100), Ipv4Addr::new(172, 30, 1, 199)),
        root_ca_pem: api.ca_certificate_pem(),
    };
    let manager = api.client("system:kube-controller-manager", &["system:masters"]);
    tokio::spawn(substrate_controllers::run(manager, controllers, CancellationToken::new()));
    let agent = NodeAgent::start(node_config(directory, &api, network)?).await?;
    backend.set(agent.clone());
    Ok(Cluster { _fabric: fabric, _agent: agent })
}

fn fabric_config() -> Result<FabricConfig, Box<dyn Error>> {
    let cluster = ClusterNetworkConfig {
        name: "cluster".into(),
        network: "network".into(),
        pod_subnet: "10.244.0.0/16".parse()?,
        service_subnet: "10.96.0.0/16".parse()?,
        node_subnet: "172.30.1.0/24".parse()?,
    };
    Ok(FabricConfig {
        networks: vec![NetworkConfig { name: "network".into() }],
        clusters: vec![cluster],
        machines: Vec::new(),
    })
}

fn node_config(
    directory: &Path,
    api: &Arc<ApiServer>,
    network: Arc<ClusterNetwork>,
) -> Result<NodeConfig, Box<dyn Error>> {
    let shell = ImageRule { image: "shell:*".into(), entrypoint: vec!["/bin/sh".into()], ..ImageRule::default() };
    let server = ImageRule {
        image: "server:*".into(),
        files: BTreeMap::from([("/usr/local/bin/server".into(), std::env::current_exe()?)]),
        entrypoint: vec!["server".into(), "serve".into()],
        environment: BTreeMap::from([("FROM_IMAGE".into(), "yes".into())]),
    };
    Ok(NodeConfig {
        client: api.client("system:node:node", &["system:masters"]),
        network,
        images: ImageTable::new(vec![shell, server]),
        node_name: "node".into(),
        node_labels: BTreeMap::from([("topology.kubernetes.io/zone".into(), "z1".into())]),
        volumes_directory: directory.join("volumes"),
        log_directory: directory.join("logs"),
        cluster_dns: Ipv4Addr::new(10, 96, 0, 10),
    })
}

//! Publishes every port of every LoadBalancer Service on the host's loopback, and says where in an annotation.
//!
//! The addresses themselves exist inside the world only; a browser or `curl` on the host needs a port of 127.0.0.1.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use substrate_node::fabric::ClusterNetwork;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Annotation with a JSON object: port of the Service to `127.0.0.1:<port>` on the host.
pub const HOST_PORTS: &str = "substrate.meshproof.dev/host-ports";

/// One published port; the forwarder ends with it.
struct Forwarder {
    host: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Which address and port of the cluster a forwarder leads to.
type Target = (Ipv4Addr, u16);

/// Runs until the watch ends, which it does only with the API server.
pub async fn publish(client: Client, network: Arc<ClusterNetwork>) {
    let mut forwarders: HashMap<Target, Forwarder> = HashMap::new();
    let mut known: BTreeMap<String, Vec<Target>> = BTreeMap::new();
    let services: Api<Service> = Api::all(client.clone());
    let mut events = Box::pin(watcher(services, watcher::Config::default()).default_backoff());
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Apply(service) | watcher::Event::InitApply(service))) => {
                update(&client, &network, &mut forwarders, &mut known, &service).await;
            }
            Ok(Some(watcher::Event::Delete(service))) => {
                for target in known.remove(&key(&service)).unwrap_or_default() {
                    forwarders.remove(&target);
                }
            }
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => {}
            Ok(None) => return,
            Err(error) => warn!(%error, "watching Services"),
        }
    }
}

async fn update(
    client: &Client,
    network: &Arc<ClusterNetwork>,
    forwarders: &mut HashMap<Target, Forwarder>,
    known: &mut BTreeMap<String, Vec<Target>>,
    service: &Service,
) {
    let targets = targets(service);
    for gone in known.insert(key(service), targets.clone()).unwrap_or_default() {
        if !targets.contains(&gone) {
            forwarders.remove(&gone);
        }
    }
    let mut ports = BTreeMap::new();
    for target in targets {
        if let Entry::Vacant(vacant) = forwarders.entry(target) {
            match forward(network.clone(), target).await {
                Ok(forwarder) => {
                    vacant.insert(forwarder);
                }
                Err(error) => warn!(%error, service = key(service), "cannot publish a port on the host"),
            }
        }
        if let Some(forwarder) = forwarders.get(&target) {
            ports.insert(target.1.to_string(), forwarder.host.to_string());
        }
    }
    let wanted = serde_json::to_string(&ports).expect("invariant: a map of strings serialises");
    let has = service.annotations().get(HOST_PORTS);
    if has == Some(&wanted) || (has.is_none() && ports.is_empty()) {
        return;
    }
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { HOST_PORTS: wanted } } }));
    let api: Api<Service> = Api::namespaced(client.clone(), &service.namespace().unwrap_or_default());
    if let Err(error) = api.patch(&service.name_any(), &PatchParams::default(), &patch).await {
        // Deleted meanwhile; a watch event says so too.
        debug!(%error, service = key(service), "cannot annotate");
    }
}

fn key(service: &Service) -> String {
    format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any())
}

fn targets(service: &Service) -> Vec<Target> {
    let Some(spec) = service.spec.as_ref().filter(|spec| spec.type_.as_deref() == Some("LoadBalancer")) else {
        return Vec::new();
    };
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let Some(address) = ingress.and_then(|ingress| ingress.first()?.ip.as_ref()?.parse().ok()) else {
        return Vec::new();
    };
    let ports = spec.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    ports.filter_map(|port| Some((address, u16::try_from(port.port).ok()?))).collect()
}

async fn forward(network: Arc<ClusterNetwork>, target: Target) -> io::Result<Forwarder> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let host = listener.local_addr()?;
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, network, target)));
    Ok(Forwarder { host, stop })
}

async fn accept(listener: TcpListener, network: Arc<ClusterNetwork>, target: Target) {
    let address = SocketAddr::new(IpAddr::V4(target.0), target.1);
    loop {
        let downstream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept on a published port");
                return;
            }
        };
        let network = network.clone();
        tokio::spawn(async move {
            if let Err(error) = relay(downstream, &network, address).await {
                debug!(%error, %address, "connection through a published port");
            }
        });
    }
}

async fn relay(mut downstream: TcpStream, network: &ClusterNetwork, address: SocketAddr) -> io::Result<()> {
    let mut upstream = network.dial(address).await?;
    tokio::io::copy_bidirectional(&mut downstream, &mut upstream).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcp_ports_of_load_balancers_with_an_address_are_published() {
        let service = |kind: &str, address: &str| -> Service {
            serde_json::from_value(json!({
                "metadata": { "name": "a", "namespace": "b" },
                "spec": { "type": kind, "ports": [{ "port": 80 }, { "port": 53, "protocol": "UDP" }] },
                "status": { "loadBalancer": { "ingress": [{ "ip": address }] } },
            }))
            .expect("a Service")
        };
        assert_eq!(targets(&service("LoadBalancer", "172.30.1.100")), vec![(Ipv4Addr::new(172, 30, 1, 100), 80)]);
        assert!(targets(&service("ClusterIP", "172.30.1.100")).is_empty());
        assert!(targets(&service("LoadBalancer", "not an address")).is_empty());
    }
}

//! Objects that every cluster has and that no controller makes: the endpoints of `default/kubernetes`, and cluster DNS.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;

/// Port of the API server on the node.
pub(crate) const API_PORT: u16 = 6443;
/// Port of DNS on the node.
pub(crate) const DNS_PORT: u16 = 53;

/// Creates them, so that both are reached through the same service rules as everything else.
pub(crate) async fn create(client: &Client, node: Ipv4Addr, cluster_dns: Ipv4Addr) -> kube::Result<()> {
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    services.create(&PostParams::default(), &dns_service(cluster_dns)).await?;
    let slice = |namespace: &str| -> Api<EndpointSlice> { Api::namespaced(client.clone(), namespace) };
    let api = endpoints("kubernetes", "kubernetes", node, &[("https", "TCP", API_PORT)]);
    let dns = endpoints("kube-dns", "kube-dns", node, &[("dns", "UDP", DNS_PORT), ("dns-tcp", "TCP", DNS_PORT)]);
    slice("default").create(&PostParams::default(), &api).await?;
    slice("kube-system").create(&PostParams::default(), &dns).await?;
    let old: Api<Endpoints> = Api::namespaced(client.clone(), "default");
    old.create(&PostParams::default(), &api_endpoints(node)).await?;
    Ok(())
}

/// The same as the slice, for clients that still read the older kind.
fn api_endpoints(node: Ipv4Addr) -> Endpoints {
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": { "name": "kubernetes", "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } },
        "subsets": [{ "addresses": [{ "ip": node }], "ports": [{ "name": "https", "protocol": "TCP", "port": API_PORT }] }],
    });
    serde_json::from_value(endpoints).expect("invariant: an Endpoints")
}

fn dns_service(address: Ipv4Addr) -> Service {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "kube-dns", "labels": { "k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS" } },
        "spec": { "clusterIP": address, "ports": [
            { "name": "dns", "port": DNS_PORT, "protocol": "UDP" },
            { "name": "dns-tcp", "port": DNS_PORT, "protocol": "TCP" },
        ] },
    });
    serde_json::from_value(service).expect("invariant: a Service")
}

fn endpoints(name: &str, service: &str, node: Ipv4Addr, ports: &[(&str, &str, u16)]) -> EndpointSlice {
    let ports: Vec<_> = ports
        .iter()
        .map(|(name, protocol, port)| json!({ "name": name, "protocol": protocol, "port": port }))
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": service } },
        "endpoints": [{ "addresses": [node], "conditions": { "ready": true } }],
        "ports": ports,
    });
    serde_json::from_value(slice).expect("invariant: an EndpointSlice")
}

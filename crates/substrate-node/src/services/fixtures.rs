//! Objects for the tests of this crate: every kind of Service.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

pub(crate) fn objects() -> (Vec<Service>, Vec<EndpointSlice>) {
    let services = [
        service(
            "web",
            "shop",
            json!({"type": "LoadBalancer", "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"],
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
            json!({"loadBalancer": {"ingress": [{"ip": "172.30.1.100"}]}}),
        ),
        service(
            "sticky",
            "shop",
            json!({"clusterIP": "10.96.0.21", "sessionAffinity": "ClientIP", "ports": [{"port": 81}]}),
            json!({}),
        ),
        service("empty", "shop", json!({"clusterIP": "10.96.0.22", "ports": [{"port": 82}]}), json!({})),
        service("db", "shop", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}), json!({})),
        service(
            "late",
            "shop",
            json!({"clusterIP": "None", "publishNotReadyAddresses": true, "ports": [{"port": 1}]}),
            json!({}),
        ),
        service(
            "outside",
            "shop",
            json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}),
            json!({}),
        ),
        service(
            "kubernetes",
            "default",
            json!({"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}),
            json!({}),
        ),
    ];
    let slices = [
        slice(
            "web-1",
            "web",
            json!([{"name": "http", "port": 8080}, {"name": "dns", "port": 5353, "protocol": "UDP"}]),
            json!([
            {"addresses": ["10.244.0.6"]}, {"addresses": ["10.244.0.5"], "conditions": {"ready": true}},
            {"addresses": ["10.244.0.9"], "conditions": {"ready": false}}]),
        ),
        slice(
            "sticky-1",
            "sticky",
            json!([{"port": 8081}]),
            json!([{"addresses": ["10.244.0.5"]}, {"addresses": ["10.244.0.6"]}]),
        ),
        slice(
            "db-1",
            "db",
            json!([{"name": "sql", "port": 5432}]),
            json!([
            {"addresses": ["10.244.0.7"], "hostname": "db-0"}, {"addresses": ["10.244.0.8"], "hostname": "db-1", "conditions": {"ready": false}}]),
        ),
        slice(
            "late-1",
            "late",
            json!([{"port": 1}]),
            json!([{"addresses": ["10.244.0.10"], "conditions": {"ready": false}}]),
        ),
    ];
    (services.into(), slices.into())
}

fn service(name: &str, namespace: &str, spec: Value, status: Value) -> Service {
    from(json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}))
}

fn slice(name: &str, service: &str, ports: Value, endpoints: Value) -> EndpointSlice {
    let metadata = json!({"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}});
    from(json!({"metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": endpoints}))
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a fixture is a valid object")
}

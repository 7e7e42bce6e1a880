//! The rules of Istio's validation of service entries and workload entries that a schema cannot express.

use std::net::IpAddr;

use super::meaning::{Errors, host, port};
use super::{address_block, refuse};
use crate::probe::Probe;
use crate::service_entry::{EntryPort, Resolution, ServiceEntry};
use crate::workload_entry::{WorkloadEntry, WorkloadGroup};

const PROTOCOLS: [&str; 11] =
    ["", "HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP", "MONGO", "MYSQL", "REDIS"];

pub(super) fn service(entry: &ServiceEntry, errors: &mut Errors) {
    if entry.hosts.is_empty() {
        refuse(errors, "spec.hosts", "a service entry needs at least one host");
    }
    for (index, name) in entry.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        if name == "*" {
            refuse(errors, path, "a service entry cannot stand for every host");
        } else {
            host(name, path, errors);
        }
    }
    for (index, address) in entry.addresses.iter().enumerate() {
        if let Some(problem) = address_block(address) {
            refuse(errors, format!("spec.addresses[{index}]"), problem);
        }
    }
    ports(&entry.ports, errors);
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{index}]");
        workload(endpoint, &path, errors);
        for name in endpoint.ports.keys().filter(|name| !entry.ports.iter().any(|port| port.name == **name)) {
            refuse(errors, format!("{path}.ports.{name}"), "the service has no port of this name");
        }
    }
    resolution(entry, errors);
}

fn ports(ports: &[EntryPort], errors: &mut Errors) {
    for (index, own) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        port(own.number, format!("{path}.number"), errors);
        if let Some(target) = own.target_port {
            port(target, format!("{path}.targetPort"), errors);
        }
        if !PROTOCOLS.contains(&own.protocol.to_uppercase().as_str()) {
            refuse(errors, format!("{path}.protocol"), format!("`{}` is not a protocol", own.protocol));
        }
        if own.name.is_empty() {
            refuse(errors, format!("{path}.name"), "must not be empty");
        }
        let earlier = &ports[..index];
        if earlier.iter().any(|known| known.name == own.name) {
            refuse(errors, format!("{path}.name"), format!("port name `{}` is used twice", own.name));
        }
        if earlier.iter().any(|known| known.number == own.number) {
            refuse(errors, format!("{path}.number"), format!("port {} is given twice", own.number));
        }
    }
}

fn resolution(entry: &ServiceEntry, errors: &mut Errors) {
    let wildcards = || entry.hosts.iter().enumerate().filter(|(_, name)| name.starts_with('*'));
    match entry.resolution {
        Resolution::None => {
            if !entry.endpoints.is_empty() {
                refuse(errors, "spec.endpoints", "resolution NONE has no endpoints: the caller has chosen one");
            }
            for (index, own) in entry.ports.iter().enumerate() {
                if own.target_port.is_some_and(|target| target != own.number) {
                    let path = format!("spec.ports[{index}].targetPort");
                    refuse(errors, path, "resolution NONE keeps the port that the caller has chosen");
                }
            }
        }
        Resolution::Static => {
            for (index, endpoint) in entry.endpoints.iter().enumerate() {
                if endpoint.address.parse::<IpAddr>().is_err() && !endpoint.address.is_empty() {
                    let problem = format!("`{}` is not an address, which resolution STATIC needs", endpoint.address);
                    refuse(errors, format!("spec.endpoints[{index}].address"), problem);
                }
            }
        }
        Resolution::Dns | Resolution::DnsRoundRobin => {
            if entry.endpoints.is_empty() && entry.workload_selector.is_none() {
                for (index, name) in wildcards() {
                    let problem = format!("`{name}` cannot be resolved; give endpoints, or a name without `*`");
                    refuse(errors, format!("spec.hosts[{index}]"), problem);
                }
            }
            if entry.resolution == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
                refuse(errors, "spec.endpoints", "resolution DNS_ROUND_ROBIN has at most one endpoint");
            }
            for (index, address) in entry.addresses.iter().enumerate() {
                if address.parse::<IpAddr>().is_err() && address_block(address).is_none() {
                    let problem = "a range of addresses cannot be combined with a resolution by names";
                    refuse(errors, format!("spec.addresses[{index}]"), problem);
                }
            }
        }
        Resolution::DynamicDns => {}
    }
}

pub(super) fn workload_entry(entry: &WorkloadEntry, errors: &mut Errors) {
    workload(entry, "spec", errors);
}

pub(super) fn group(group: &WorkloadGroup, errors: &mut Errors) {
    if !group.template.address.is_empty() {
        refuse(errors, "spec.template.address", "the members of a group have addresses of their own");
    }
    shape(&group.template, "spec.template", errors);
    if let Some(given) = &group.probe {
        probe(given, errors);
    }
}

fn probe(probe: &Probe, errors: &mut Errors) {
    if probe.checks() != 1 {
        refuse(errors, "spec.probe", "has one of httpGet, tcpSocket, exec and grpc");
    }
    let ports = [
        ("httpGet", probe.http_get.as_ref().map(|get| get.port)),
        ("tcpSocket", probe.tcp_socket.as_ref().map(|tcp| tcp.port)),
        ("grpc", probe.grpc.as_ref().map(|grpc| grpc.port)),
    ];
    for (name, number) in ports.into_iter().filter_map(|(name, number)| Some((name, number?))) {
        port(number, format!("spec.probe.{name}.port"), errors);
    }
    if probe.exec.as_ref().is_some_and(|exec| exec.command.is_empty()) {
        refuse(errors, "spec.probe.exec.command", "must not be empty");
    }
}

fn workload(entry: &WorkloadEntry, path: &str, errors: &mut Errors) {
    if entry.address.is_empty() {
        refuse(errors, format!("{path}.address"), "must not be empty");
    } else if entry.address.starts_with("unix:") {
        refuse(errors, format!("{path}.address"), "Unix sockets are not served");
    } else if entry.address.parse::<IpAddr>().is_err() {
        host(&entry.address, format!("{path}.address"), errors);
        if entry.address.starts_with('*') {
            refuse(errors, format!("{path}.address"), "cannot be resolved");
        }
    }
    shape(entry, path, errors);
}

fn shape(entry: &WorkloadEntry, path: &str, errors: &mut Errors) {
    for (name, number) in &entry.ports {
        port(*number, format!("{path}.ports.{name}"), errors);
    }
    if entry.locality.split('/').count() > 3 {
        refuse(errors, format!("{path}.locality"), "is of the form region/zone/subzone");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::validate;

    fn errors(kind: &str, spec: Value) -> Vec<String> {
        let result = validate(&json!({ "kind": kind, "spec": spec }));
        result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_entries_pass() {
        let port = json!({ "number": 9080, "name": "http", "protocol": "HTTP" });
        for spec in [
            json!({ "hosts": ["*.example.org"], "ports": [port] }),
            json!({ "hosts": ["reviews.global"], "addresses": ["240.0.0.1"], "ports": [port], "location": "MESH_INTERNAL",
                "resolution": "STATIC", "endpoints": [{ "address": "10.0.0.1", "ports": { "http": 15443 }, "locality": "a/b/c",
                "labels": { "version": "v1" }, "network": "network2", "weight": 3 }], "exportTo": ["."] }),
            json!({ "hosts": ["example.org"], "ports": [{ "number": 443, "name": "tls", "protocol": "TLS", "targetPort": 8443 }],
                "resolution": "DNS" }),
            json!({ "hosts": ["*.example.org"], "ports": [port], "resolution": "DNS", "endpoints": [{ "address": "gateway.example.org" }] }),
            json!({ "hosts": ["vm"], "ports": [port], "resolution": "STATIC", "workloadSelector": { "labels": { "app": "vm" } } }),
        ] {
            assert_eq!(errors("ServiceEntry", spec), Vec::<String>::new());
        }
        assert_eq!(errors("WorkloadEntry", json!({ "address": "vm.example.org" })), Vec::<String>::new());
        assert_eq!(errors("WorkloadGroup", json!({ "template": { "ports": { "http": 80 } } })), Vec::<String>::new());
    }

    #[test]
    fn bad_entries_name_the_place() {
        let port = |number: u32, name: &str| json!({ "number": number, "name": name, "protocol": "HTTP" });
        let entry = |more: Value| {
            let mut spec = json!({ "hosts": ["a.global"], "ports": [port(80, "http")], "resolution": "STATIC" });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            errors("ServiceEntry", spec)
        };
        for (found, path) in [
            (errors("ServiceEntry", json!({})), "spec.hosts:"),
            (entry(json!({ "hosts": [] })), "spec.hosts:"),
            (entry(json!({ "hosts": ["*"] })), "spec.hosts[0]:"),
            (entry(json!({ "addresses": ["10.0.0.0/33"] })), "spec.addresses[0]:"),
            (entry(json!({ "ports": [port(80, "a"), port(81, "a")] })), "spec.ports[1].name:"),
            (entry(json!({ "ports": [port(80, "a"), port(80, "b")] })), "spec.ports[1].number:"),
            (entry(json!({ "ports": [{ "number": 80, "name": "a", "protocol": "SMTP" }] })), "spec.ports[0].protocol:"),
            (entry(json!({ "endpoints": [{ "address": "example.org" }] })), "spec.endpoints[0].address:"),
            (entry(json!({ "endpoints": [{}] })), "spec.endpoints[0].address:"),
            (entry(json!({ "endpoints": [{ "address": "unix:///a" }] })), "spec.endpoints[0].address:"),
            (
                entry(json!({ "endpoints": [{ "address": "10.0.0.1", "ports": { "x": 1 } }] })),
                "spec.endpoints[0].ports.x:",
            ),
            (entry(json!({ "endpoints": [{ "address": "10.0.0.1" }], "workloadSelector": {} })), "spec:"),
            (entry(json!({ "resolution": "NONE", "endpoints": [{ "address": "10.0.0.1" }] })), "spec.endpoints:"),
            (entry(json!({ "resolution": "DNS", "hosts": ["*.a"] })), "spec.hosts[0]:"),
            (entry(json!({ "resolution": "DNS", "addresses": ["10.0.0.0/24"] })), "spec.addresses[0]:"),
            (
                entry(
                    json!({ "resolution": "DNS_ROUND_ROBIN", "endpoints": [{ "address": "a.b" }, { "address": "c.d" }] }),
                ),
                "spec.endpoints:",
            ),
            (errors("WorkloadEntry", json!({})), "spec.address:"),
            (errors("WorkloadEntry", json!({ "address": "10.0.0.1", "ports": { "a": 0 } })), "spec.ports.a:"),
            (errors("WorkloadEntry", json!({ "address": "10.0.0.1", "locality": "a/b/c/d" })), "spec.locality:"),
            (errors("WorkloadGroup", json!({ "template": { "address": "10.0.0.1" } })), "spec.template.address:"),
            (errors("WorkloadGroup", json!({ "template": {}, "probe": {} })), "spec.probe:"),
            (
                errors("WorkloadGroup", json!({ "template": {}, "probe": { "tcpSocket": { "port": 0 } } })),
                "spec.probe.tcpSocket.port:",
            ),
            (errors("WorkloadGroup", json!({ "template": {}, "probe": { "exec": {} } })), "spec.probe.exec.command:"),
        ] {
            assert!(!found.is_empty() && found.iter().all(|one| one.starts_with(path)), "{path} {found:?}");
        }
    }
}

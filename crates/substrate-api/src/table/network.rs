//! Services, Endpoints, EndpointSlices, Ingresses, NetworkPolicies.

use jiff::Timestamp;
use serde_json::Value;

use super::duration::age;
use super::text::{NONE, at, integer, labels, list, name, or_none, selector};
use super::{Printer, text, wide};

/// How many addresses a cell shows before it says how many more there are.
const MAX_SHOWN: usize = 3;

pub(super) const SERVICES: Printer = Printer {
    columns: &[
        text("Name"),
        text("Type"),
        text("Cluster-IP"),
        text("External-IP"),
        text("Port(s)"),
        text("Age"),
        wide("Selector"),
    ],
    cells: service,
};

fn service(service: &Value, now: Timestamp) -> Vec<Value> {
    let first = list(service, "/spec/clusterIPs").first().and_then(Value::as_str);
    let ports: Vec<String> = list(service, "/spec/ports").iter().map(service_port).collect();
    vec![
        name(service),
        at(service, "/spec/type").into(),
        or_none(first.unwrap_or(at(service, "/spec/clusterIP"))).into(),
        external_addresses(service).into(),
        or_none(ports.join(",")).into(),
        age(service, now),
        labels(service.pointer("/spec/selector")).into(),
    ]
}

fn service_port(port: &Value) -> String {
    let protocol = match at(port, "/protocol") {
        "" => "TCP",
        protocol => protocol,
    };
    match integer(port, "/nodePort") {
        0 => format!("{}/{protocol}", integer(port, "/port")),
        node_port => format!("{}:{node_port}/{protocol}", integer(port, "/port")),
    }
}

fn external_addresses(service: &Value) -> String {
    let given = || list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).map(str::to_owned);
    match at(service, "/spec/type") {
        "LoadBalancer" => {
            let mut addresses = load_balancer_addresses(service);
            addresses.extend(given());
            if addresses.is_empty() { "<pending>".to_owned() } else { addresses.join(",") }
        }
        "ExternalName" => at(service, "/spec/externalName").to_owned(),
        _ => or_none(given().collect::<Vec<_>>().join(",")),
    }
}

fn load_balancer_addresses(object: &Value) -> Vec<String> {
    let address = |ingress: &Value| match at(ingress, "/ip") {
        "" => at(ingress, "/hostname").to_owned(),
        ip => ip.to_owned(),
    };
    let mut addresses: Vec<String> = list(object, "/status/loadBalancer/ingress").iter().map(address).collect();
    addresses.retain(|address| !address.is_empty());
    addresses.sort();
    addresses.dedup();
    addresses
}

pub(super) const ENDPOINTS: Printer = Printer {
    columns: &[text("Name"), text("Endpoints"), text("Age")],
    cells: |object, now| vec![name(object), limited(addresses(object), NONE).into(), age(object, now)],
};

fn addresses(endpoints: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for subset in list(endpoints, "/subsets") {
        let ips = || list(subset, "/addresses").iter().map(|address| at(address, "/ip"));
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            found.extend(ips().map(str::to_owned));
        }
        for port in ports {
            found.extend(ips().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{}", integer(port, "/port")),
                false => format!("{ip}:{}", integer(port, "/port")),
            }));
        }
    }
    found
}

fn limited(items: Vec<String>, empty: &str) -> String {
    match items.len() {
        0 => empty.to_owned(),
        count if count > MAX_SHOWN => format!("{} + {} more...", items[..MAX_SHOWN].join(","), count - MAX_SHOWN),
        _ => items.join(","),
    }
}

pub(super) const ENDPOINT_SLICES: Printer = Printer {
    columns: &[text("Name"), text("AddressType"), text("Ports"), text("Endpoints"), text("Age")],
    cells: |object, now| {
        let port =
            |port: &Value| port.get("port").and_then(Value::as_i64).map_or("*".to_owned(), |port| port.to_string());
        let ports = list(object, "/ports").iter().map(port).collect();
        let addresses = list(object, "/endpoints").iter().flat_map(|endpoint| list(endpoint, "/addresses"));
        let addresses = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
        vec![
            name(object),
            at(object, "/addressType").into(),
            limited(ports, "<unset>").into(),
            limited(addresses, "<unset>").into(),
            age(object, now),
        ]
    },
};

pub(super) const INGRESSES: Printer = Printer {
    columns: &[text("Name"), text("Class"), text("Hosts"), text("Address"), text("Ports"), text("Age")],
    cells: |object, now| {
        let class = match at(object, "/spec/ingressClassName") {
            "" => object
                .pointer("/metadata/annotations/kubernetes.io~1ingress.class")
                .and_then(Value::as_str)
                .unwrap_or(NONE),
            class => class,
        };
        let hosts: Vec<String> = list(object, "/spec/rules")
            .iter()
            .map(|rule| at(rule, "/host").to_owned())
            .filter(|host| !host.is_empty())
            .collect();
        let ports = if list(object, "/spec/tls").is_empty() { "80" } else { "80, 443" };
        vec![
            name(object),
            class.into(),
            limited(hosts, "*").into(),
            load_balancer_addresses(object).join(",").into(),
            ports.into(),
            age(object, now),
        ]
    },
};

pub(super) const INGRESS_CLASSES: Printer = Printer {
    columns: &[text("Name"), text("Controller"), text("Parameters"), text("Age")],
    cells: |object, now| {
        let parameters =
            object.pointer("/spec/parameters").filter(|parameters| parameters.is_object()).map(|parameters| {
                let kind = at(parameters, "/kind");
                let group = at(parameters, "/apiGroup");
                let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
                format!("{qualified}/{}", at(parameters, "/name"))
            });
        let parameters = parameters.unwrap_or_else(|| NONE.to_owned());
        vec![name(object), at(object, "/spec/controller").into(), parameters.into(), age(object, now)]
    },
};

pub(super) const NETWORK_POLICIES: Printer = Printer {
    columns: &[text("Name"), text("Pod-Selector"), text("Age")],
    cells: |object, now| vec![name(object), selector(object.pointer("/spec/podSelector")).into(), age(object, now)],
};

//! The node's nftables rules, as text for `nft -f -`. Pure.
//!
//! One table. Loading it replaces the table of before in one transaction. Translation happens in `prerouting` (pods
//! and other networks) and `output` (the node itself); what still carries a virtual address afterwards has no
//! endpoint and is refused at once, so that nobody waits for a timeout.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::table::{PortEntry, ServiceEntry, ServiceTable};
use crate::fabric::Cidr;

/// What the rules have to know of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRules {
    /// The node's address, which stands for its pods on other networks.
    pub node_address: Ipv4Addr,
    /// Name of the link towards the router.
    pub uplink: String,
    /// The cluster's pods.
    pub pod_subnet: Cidr,
    /// ClusterIPs.
    pub service_subnet: Cidr,
    /// Node and LoadBalancer addresses.
    pub node_subnet: Cidr,
    /// Ranges that the cluster's own network routes: pods reach them with their own address.
    pub routed: Vec<Cidr>,
}

/// Renders the complete rules of a node.
pub fn render_rules(node: &NodeRules, table: &ServiceTable) -> String {
    let mut text = String::from("table ip substrate\ndelete table ip substrate\ntable ip substrate {\n");
    let ports: Vec<_> = numbered_ports(table).collect();
    let served = |port: &PortEntry| !port.endpoints.is_empty();
    let mut by_address = Elements::default();
    let mut by_node_port = Elements::default();
    for (number, service, port) in ports.iter().filter(|(_, _, port)| served(port)) {
        endpoint_chain(&mut text, *number, service, port);
        for address in &service.addresses {
            by_address.add(format!("{} . {address} . {}", port.protocol, port.port), *number);
        }
        if let Some(node_port) = port.node_port {
            by_node_port.add(format!("{} . {node_port}", port.protocol), *number);
        }
    }
    map(&mut text, "services", "inet_proto . ipv4_addr . inet_service : verdict", &by_address.lines);
    map(&mut text, "node-ports", "inet_proto . inet_service : verdict", &by_node_port.lines);
    set(&mut text, "endpoints", "ipv4_addr . ipv4_addr", &hairpins(table));
    translation_chains(&mut text, node);
    refusal_chains(&mut text, node);
    text.push_str("}\n");
    text
}

/// Elements of a map. When two Services claim the same address and port, the first has it: `nft` would refuse both,
/// and with them all others.
#[derive(Default)]
struct Elements {
    keys: BTreeSet<String>,
    lines: Vec<String>,
}

impl Elements {
    fn add(&mut self, key: String, chain: usize) {
        if self.keys.insert(key.clone()) {
            self.lines.push(format!("{key} : goto port-{chain}"));
        }
    }
}

fn numbered_ports(table: &ServiceTable) -> impl Iterator<Item = (usize, &ServiceEntry, &PortEntry)> {
    let ports = table.services.iter().flat_map(|service| service.ports.iter().map(move |port| (service, port)));
    ports.enumerate().map(|(number, (service, port))| (number, service, port))
}

fn endpoint_chain(text: &mut String, number: usize, service: &ServiceEntry, port: &PortEntry) {
    let count = port.endpoints.len();
    // Without a seed of ours the kernel takes a new one with every table, and clients would change endpoints.
    let (choice, seed) = if service.client_affinity { ("jhash ip saddr", " seed 1") } else { ("numgen random", "") };
    let endpoints: Vec<_> = port
        .endpoints
        .iter()
        .enumerate()
        .map(|(index, endpoint)| format!("{index} : {} . {}", endpoint.ip(), endpoint.port()))
        .collect();
    // Chains are numbered, not named: names come from users, and `nft` has its own idea of identifiers.
    let _ = writeln!(text, "  chain port-{number} {{");
    let name = format!("{}/{}", service.namespace, service.name);
    let name: String = name.chars().filter(|character| !character.is_control()).collect();
    let _ = writeln!(text, "    # {name}");
    let target = match port.endpoints.as_slice() {
        [only] => format!("{}:{}", only.ip(), only.port()),
        _ => format!("{choice} mod {count}{seed} map {{ {} }}", endpoints.join(", ")),
    };
    let _ = writeln!(text, "    meta l4proto {} dnat to {target}\n  }}", port.protocol);
}

/// Pairs (endpoint, endpoint): a pod that reaches itself through a Service must not see its own address as the sender.
fn hairpins(table: &ServiceTable) -> Vec<String> {
    let ports = table.services.iter().flat_map(|service| &service.ports);
    let mut addresses: Vec<_> = ports.flat_map(|port| &port.endpoints).map(|endpoint| *endpoint.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.iter().map(|address| format!("{address} . {address}")).collect()
}

fn translation_chains(text: &mut String, node: &NodeRules) {
    let address = node.node_address;
    for (name, hook) in [("prerouting", "prerouting priority -100"), ("output", "output priority -100")] {
        let _ = writeln!(text, "  chain nat-{name} {{\n    type nat hook {hook}; policy accept;");
        text.push_str("    meta l4proto . ip daddr . th dport vmap @services\n");
        let _ = writeln!(text, "    ip daddr {address} meta l4proto . th dport vmap @node-ports\n  }}");
    }
    text.push_str("  chain nat-postrouting {\n    type nat hook postrouting priority 100; policy accept;\n");
    let _ = writeln!(text, "    ip saddr . ip daddr @endpoints snat to {address}");
    let mut routed: Vec<_> = node.routed.iter().map(ToString::to_string).collect();
    routed.sort();
    routed.dedup();
    let _ = writeln!(
        text,
        "    oifname \"{}\" ip saddr {} ip daddr != {{ {} }} snat to {address}\n  }}",
        node.uplink,
        node.pod_subnet,
        routed.join(", ")
    );
}

fn refusal_chains(text: &mut String, node: &NodeRules) {
    for hook in ["forward", "output"] {
        let _ = writeln!(text, "  chain filter-{hook} {{\n    type filter hook {hook} priority 0; policy accept;");
        if hook == "output" {
            // The node's own addresses, some of which lie in these ranges.
            text.push_str("    oifname \"lo\" accept\n");
        }
        let virtual_addresses = format!("ip daddr {{ {}, {} }}", node.service_subnet, node.node_subnet);
        let _ = writeln!(text, "    {virtual_addresses} meta l4proto tcp reject with tcp reset");
        let _ = writeln!(text, "    {virtual_addresses} reject with icmp port-unreachable\n  }}");
    }
}

fn map(text: &mut String, name: &str, kind: &str, elements: &[String]) {
    collection(text, "map", name, kind, elements);
}

fn set(text: &mut String, name: &str, kind: &str, elements: &[String]) {
    collection(text, "set", name, kind, elements);
}

fn collection(text: &mut String, keyword: &str, name: &str, kind: &str, elements: &[String]) {
    let _ = writeln!(text, "  {keyword} {name} {{\n    type {kind}");
    if !elements.is_empty() {
        let _ = writeln!(text, "    elements = {{\n      {}\n    }}", elements.join(",\n      "));
    }
    text.push_str("  }\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::fixtures;

    fn node() -> NodeRules {
        NodeRules {
            node_address: Ipv4Addr::new(172, 30, 1, 1),
            uplink: "uplink".to_owned(),
            pod_subnet: "10.244.0.0/16".parse().unwrap(),
            service_subnet: "10.96.0.0/16".parse().unwrap(),
            node_subnet: "172.30.1.0/24".parse().unwrap(),
            routed: ["10.244.0.0/16", "172.30.1.0/24"].map(|range| range.parse().unwrap()).to_vec(),
        }
    }

    #[test]
    fn renders_services() {
        let (services, slices) = fixtures::objects();
        insta::assert_snapshot!(render_rules(&node(), &ServiceTable::build(&services, &slices)));
    }

    #[test]
    fn an_address_that_two_services_claim_goes_to_the_first() {
        let (services, slices) = fixtures::objects();
        let mut table = ServiceTable::build(&services, &slices);
        let mut double = table.services[3].clone();
        double.name = "web2".to_owned();
        table.services.push(double);
        let rules = render_rules(&node(), &table);
        assert_eq!(rules.matches("tcp . 10.96.0.20 . 80 :").count(), 1, "{rules}");
        assert_eq!(rules.matches("tcp . 30080 :").count(), 1, "{rules}");
    }

    #[test]
    fn renders_no_services() {
        insta::assert_snapshot!(render_rules(&node(), &ServiceTable::default()));
    }
}

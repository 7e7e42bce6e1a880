//! The names of one cluster. Pure.
//!
//! `<service>.<namespace>.svc.<domain>` is the ClusterIP or, for a headless Service, its endpoints;
//! `<hostname>.<service>...` is one endpoint; `_<port>._<protocol>.<service>...` is SRV; addresses have PTR;
//! `<a-b-c-d>.<namespace>.pod.<domain>` is the address that it spells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::services::slices_by_service;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// IPv4 addresses.
    A,
    /// Ports and hosts.
    Srv,
    /// The name of an address.
    Ptr,
    /// `CNAME` only.
    Cname,
    /// `ANY`.
    Any,
    /// Any other type: existing names have none of it.
    Other,
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name exists. The records, each with its owner name; empty where there is none of the type.
    Records(Vec<(String, RecordData)>),
    /// The name does not exist, and the cluster is authoritative for it.
    NoSuchName,
    /// The name is not the cluster's.
    NotOurs,
}

/// Content of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordData {
    /// An address.
    A(Ipv4Addr),
    /// A port on a host.
    Srv {
        /// The port.
        port: u16,
        /// Name of the host.
        target: String,
    },
    /// A name for an address.
    Ptr(String),
    /// Another name for the same.
    Cname(String),
}

/// All names of a cluster, lower case and without the final dot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    domain: String,
    records: BTreeMap<String, BTreeSet<RecordData>>,
    /// Names that exist because names below them do.
    parents: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl Zone {
    /// A zone without names.
    pub fn empty(domain: &str) -> Self {
        Self::build(domain, [], [])
    }

    /// Builds the zone from a cluster's objects.
    pub fn build<'a>(
        domain: &str,
        services: impl IntoIterator<Item = &'a Service>,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
    ) -> Self {
        let slices = slices_by_service(slices);
        let mut zone = Self { domain: domain.trim_end_matches('.').to_ascii_lowercase(), ..Self::default() };
        zone.add_parents(&format!("svc.{}", zone.domain));
        for service in services {
            let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else { continue };
            zone.namespaces.insert(namespace.clone());
            let slices = slices.get(&(namespace.as_str(), name.as_str())).map_or(&[][..], Vec::as_slice);
            let full_name = format!("{name}.{namespace}.svc.{}", zone.domain);
            zone.add_service(&full_name, service, slices);
        }
        zone
    }

    fn add_service(&mut self, name: &str, service: &Service, slices: &[&EndpointSlice]) {
        let Some(spec) = &service.spec else { return };
        if spec.type_.as_deref() == Some("ExternalName") {
            if let Some(target) = &spec.external_name {
                self.add(name, RecordData::Cname(target.trim_end_matches('.').to_ascii_lowercase()));
            }
            return;
        }
        if spec.cluster_ip.as_deref() == Some("None") {
            let unready = spec.publish_not_ready_addresses.unwrap_or(false);
            return self.add_headless(name, slices, unready);
        }
        let Some(address) = spec.cluster_ip.as_deref().and_then(|text| text.parse().ok()) else { return };
        self.add(name, RecordData::A(address));
        self.add(&reverse_name(address), RecordData::Ptr(name.to_owned()));
        for port in spec.ports.iter().flatten() {
            self.add_port(name, port.name.as_deref(), port.protocol.as_deref(), port.port, name);
        }
    }

    fn add_headless(&mut self, name: &str, slices: &[&EndpointSlice], unready: bool) {
        self.add_parents(name);
        for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
            for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| unready || is_ready(endpoint)) {
                let Some(address) = endpoint.addresses.first().and_then(|text| text.parse().ok()) else { continue };
                let label = endpoint.hostname.clone().unwrap_or_else(|| dashed(address));
                let host = format!("{label}.{name}");
                self.add(name, RecordData::A(address));
                self.add(&host, RecordData::A(address));
                if endpoint.hostname.is_some() {
                    self.add(&reverse_name(address), RecordData::Ptr(host.clone()));
                }
                for port in slice.ports.iter().flatten() {
                    self.add_port(name, port.name.as_deref(), port.protocol.as_deref(), port.port.unwrap_or(0), &host);
                }
            }
        }
    }

    /// Only named ports have SRV records.
    fn add_port(&mut self, service: &str, port: Option<&str>, protocol: Option<&str>, number: i32, target: &str) {
        let Some(port) = port.filter(|name| !name.is_empty()) else { return };
        let Ok(number @ 1..) = u16::try_from(number) else { return };
        let protocol = protocol.unwrap_or("TCP").to_ascii_lowercase();
        self.add(
            &format!("_{port}._{protocol}.{service}"),
            RecordData::Srv { port: number, target: target.to_owned() },
        );
    }

    fn add(&mut self, name: &str, data: RecordData) {
        let name = name.to_ascii_lowercase();
        self.add_parents(&name);
        self.records.entry(name).or_default().insert(data);
    }

    fn add_parents(&mut self, name: &str) {
        let mut rest = name;
        while self.parents.insert(rest.to_owned()) {
            match rest.split_once('.') {
                Some((_, parent)) if parent.ends_with(&self.domain) || parent.ends_with(REVERSE) => rest = parent,
                _ => break,
            }
        }
    }

    /// Answers a question. `name` may be in any case and end in a dot.
    pub fn answer(&self, name: &str, question: Question) -> Answer {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(records) = self.records.get(&name) {
            return Answer::Records(self.select(&name, records, question));
        }
        if self.parents.contains(&name) {
            return Answer::Records(Vec::new());
        }
        if let Some(address) = self.pod_address(&name) {
            let wanted = matches!(question, Question::A | Question::Any);
            return Answer::Records(wanted.then_some((name, RecordData::A(address))).into_iter().collect());
        }
        let ours = name == self.domain || name.ends_with(&format!(".{}", self.domain));
        // Addresses that nobody here has a name for have none anywhere else either.
        if ours || name.ends_with(REVERSE) { Answer::NoSuchName } else { Answer::NotOurs }
    }

    fn select(&self, name: &str, records: &BTreeSet<RecordData>, question: Question) -> Vec<(String, RecordData)> {
        let mut selected = Vec::new();
        for record in records {
            let matches = match record {
                RecordData::A(_) => matches!(question, Question::A | Question::Any),
                RecordData::Srv { .. } => matches!(question, Question::Srv | Question::Any),
                RecordData::Ptr(_) => matches!(question, Question::Ptr | Question::Any),
                RecordData::Cname(_) => true,
            };
            if matches {
                selected.push((name.to_owned(), record.clone()));
            }
            if let (RecordData::Cname(target), true) = (record, matches!(question, Question::A)) {
                let known = self.records.get(target).into_iter().flatten();
                let addresses = known.filter(|record| matches!(record, RecordData::A(_)));
                selected.extend(addresses.map(|record| (target.clone(), record.clone())));
            }
        }
        selected
    }

    /// The address in `10-244-0-5.<namespace>.pod.<domain>`, for namespaces that exist.
    fn pod_address(&self, name: &str) -> Option<Ipv4Addr> {
        let rest = name.strip_suffix(&self.domain)?.strip_suffix(".pod.")?;
        let (address, namespace) = rest.split_once('.')?;
        self.namespaces.contains(namespace).then(|| address.replace('-', ".").parse().ok())?
    }
}

const REVERSE: &str = "in-addr.arpa";

fn reverse_name(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.{REVERSE}")
}

fn dashed(address: Ipv4Addr) -> String {
    address.to_string().replace('.', "-")
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::services::fixtures;

    fn zone() -> Zone {
        let (services, slices) = fixtures::objects();
        Zone::build("cluster.local", &services, &slices)
    }

    #[test]
    fn answers_questions() {
        let zone = zone();
        let mut text = String::new();
        for (name, question) in [
            ("web.shop.svc.cluster.local", Question::A),
            ("WEB.shop.svc.Cluster.local.", Question::A),
            ("web.shop.svc.cluster.local", Question::Other),
            ("web.shop.svc.cluster.local", Question::Srv),
            ("shop.svc.cluster.local", Question::A),
            ("cluster.local", Question::A),
            ("_http._tcp.web.shop.svc.cluster.local", Question::Srv),
            ("_dns._udp.web.shop.svc.cluster.local", Question::Srv),
            ("db.shop.svc.cluster.local", Question::A),
            ("db-0.db.shop.svc.cluster.local", Question::A),
            ("db-1.db.shop.svc.cluster.local", Question::A),
            ("_sql._tcp.db.shop.svc.cluster.local", Question::Srv),
            ("late.shop.svc.cluster.local", Question::A),
            ("10-244-0-10.late.shop.svc.cluster.local", Question::A),
            ("outside.shop.svc.cluster.local", Question::A),
            ("20.0.96.10.in-addr.arpa", Question::Ptr),
            ("7.0.244.10.in-addr.arpa", Question::Ptr),
            ("9.9.9.9.in-addr.arpa", Question::Ptr),
            ("10-244-0-5.shop.pod.cluster.local", Question::A),
            ("10-244-0-5.nowhere.pod.cluster.local", Question::A),
            ("nothing.shop.svc.cluster.local", Question::A),
            ("web.shop.svc.cluster.local.shop.svc.cluster.local", Question::A),
            ("notcluster.local", Question::A),
            ("example.com", Question::A),
        ] {
            writeln!(text, "{name} {question:?} -> {:?}", zone.answer(name, question)).unwrap();
        }
        insta::assert_snapshot!(text);
    }
}

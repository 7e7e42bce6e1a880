//! Who is an endpoint of a Service, in which condition and on which ports. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as LegacyPort, EndpointSubset, Node, ObjectReference, Pod, Service, ServicePort,
};
use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::controllers::pods;
use crate::objects::is_deleting;

const ZONE: &str = "topology.kubernetes.io/zone";

/// One pod behind a Service.
pub(super) struct Member {
    pub(super) ip: String,
    pub(super) hostname: Option<String>,
    pub(super) node_name: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) target: ObjectReference,
    serving: bool,
    terminating: bool,
    publish_anyway: bool,
}

impl Member {
    pub(super) fn conditions(&self) -> EndpointConditions {
        EndpointConditions {
            ready: Some(self.is_ready()),
            serving: Some(self.serving),
            terminating: Some(self.terminating),
        }
    }

    fn is_ready(&self) -> bool {
        self.publish_anyway || (self.serving && !self.terminating)
    }
}

/// Pods that serve the Service on the same ports.
pub(super) struct Group {
    pub(super) ports: Vec<EndpointPort>,
    pub(super) members: Vec<Member>,
}

/// All members, grouped by the ports that the Service's ports come to in their containers.
pub(super) fn group(service: &Service, pods: &[Arc<Pod>], nodes: &[Arc<Node>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for pod in pods {
        let Some(member) = member(service, pod, nodes) else { continue };
        let ports = ports(service, pod);
        match groups.iter_mut().find(|group| group.ports == ports) {
            Some(group) => group.members.push(member),
            None => groups.push(Group { ports, members: vec![member] }),
        }
    }
    groups
}

fn member(service: &Service, pod: &Pod, nodes: &[Arc<Node>]) -> Option<Member> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty())?;
    if pods::is_finished(pod) {
        return None;
    }
    let spec = pod.spec.as_ref()?;
    let node = nodes.iter().find(|node| node.metadata.name == spec.node_name);
    let in_service_domain = spec.subdomain.as_deref() == Some(service.name_any().as_str());
    Some(Member {
        ip,
        hostname: spec.hostname.clone().filter(|_| in_service_domain),
        node_name: spec.node_name.clone(),
        zone: node.and_then(|node| node.labels().get(ZONE).cloned()),
        target: ObjectReference {
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        },
        serving: pods::is_ready(pod),
        terminating: is_deleting(pod),
        publish_anyway: service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true),
    })
}

/// The Service's ports as this pod has them; a named port that the pod lacks is left out.
fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(EndpointPort {
                app_protocol: port.app_protocol.clone(),
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target_port(port, pod)?),
                protocol: Some(protocol(port.protocol.as_deref()).to_owned()),
            })
        })
        .collect()
}

fn protocol(protocol: Option<&str>) -> &str {
    protocol.unwrap_or("TCP")
}

fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => return Some(port.port),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let mut declared = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let wanted = protocol(port.protocol.as_deref());
    let found = declared
        .find(|declared| declared.name.as_ref() == Some(name) && protocol(declared.protocol.as_deref()) == wanted);
    found.map(|declared| declared.container_port).or_else(|| name.parse().ok())
}

/// The same members in the form of the older Endpoints object, which leaves terminating pods out.
pub(super) fn subsets(groups: &[Group]) -> Option<Vec<EndpointSubset>> {
    let subsets: Vec<_> = groups.iter().filter_map(subset).collect();
    (!subsets.is_empty()).then_some(subsets)
}

fn subset(group: &Group) -> Option<EndpointSubset> {
    let address = |member: &Member| EndpointAddress {
        hostname: member.hostname.clone(),
        ip: member.ip.clone(),
        node_name: member.node_name.clone(),
        target_ref: Some(member.target.clone()),
    };
    let ready: Vec<_> = group.members.iter().filter(|m| m.is_ready()).map(address).collect();
    let not_ready: Vec<_> = group.members.iter().filter(|m| !m.is_ready() && !m.terminating).map(address).collect();
    if ready.is_empty() && not_ready.is_empty() {
        return None;
    }
    let ports: Vec<_> = group.ports.iter().map(legacy_port).collect();
    let filled = |addresses: Vec<EndpointAddress>| (!addresses.is_empty()).then_some(addresses);
    Some(EndpointSubset {
        addresses: filled(ready),
        not_ready_addresses: filled(not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    })
}

fn legacy_port(port: &EndpointPort) -> LegacyPort {
    LegacyPort {
        app_protocol: port.app_protocol.clone(),
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol.clone(),
    }
}

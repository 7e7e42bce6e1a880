//! The control plane of a cluster, its identity, its gateways.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Pod, Service};
use mesh_types::hub::mesh::{AgentInfo, GatewayPort, IngressGateway, Installation, Istio};
use mesh_types::hub::{Mesh, Object};
use mesh_types::names::LABEL_REGION;
use serde_json::Value;

use super::workload::Template;
use super::{ClusterObjects, Labels, Place, is_selected};

/// Label of the Deployment of the hub's agent.
const AGENT: (&str, &str) = ("app.kubernetes.io/name", "meshproof-hub-agent");
const DNS_CAPTURE: &str = "ISTIO_META_DNS_CAPTURE";

pub(super) fn of(place: &Place<'_>, objects: &ClusterObjects, templates: &[Template]) -> Option<Object<Mesh>> {
    let (deployment, container) = objects.deployments.iter().find_map(|one| Some((one, control_plane(one)?)))?;
    let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let account = deployment.spec.template.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let config = config(objects, &namespace);
    let environment = |name: &str| {
        let all = container.env.iter().flatten();
        all.filter(|one| one.name == name).find_map(|one| one.value.clone())
    };
    let trust_domain = config["trustDomain"].as_str().map(str::to_owned).or_else(|| environment("TRUST_DOMAIN"));
    let aliases = match config["trustDomainAliases"].as_array() {
        Some(listed) => listed.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => environment("TRUST_DOMAIN_ALIASES").map(|list| divided(&list)).unwrap_or_default(),
    };
    let defaults = environment("DEFAULT_PROXY_CONFIG").and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let captures = |config: &Value| config["proxyMetadata"][DNS_CAPTURE] == "true";
    let istio = Istio {
        installation: Installation {
            namespace: namespace.clone(),
            cluster: place.cluster.to_owned(),
            pod_labels: deployment.spec.selector.match_labels.clone().unwrap_or_default(),
            version: version(container),
            region: region(objects),
        },
        trust_domain: trust_domain.filter(|domain| !domain.is_empty()).unwrap_or_else(|| "cluster.local".to_owned()),
        trust_domain_aliases: aliases,
        istiod_service_account: account.unwrap_or_else(|| "default".to_owned()),
        ingress_gateways: gateways(objects, templates),
        smart_dns_proxying_enabled: captures(&config["defaultConfig"]) || defaults.as_ref().is_some_and(captures),
    };
    Some(place.object(&[&name, &namespace, place.cluster], Mesh { istio, agent_info: agent(objects) }))
}

/// The container of a control plane: it stands in a Deployment of the label that all installations give, under a name that
/// revisions change.
fn control_plane(deployment: &Deployment) -> Option<&Container> {
    let template = &deployment.spec.template;
    let labels = template.metadata.as_ref()?.labels.as_ref()?;
    if labels.get("app").map(String::as_str) != Some("istiod") {
        return None;
    }
    template.spec.as_ref()?.containers.iter().find(|container| container.name == "discovery")
}

fn config(objects: &ClusterObjects, namespace: &str) -> Value {
    let found = objects.mesh_configs.iter().find(|one| one.metadata.namespace.as_deref() == Some(namespace));
    let text = found.and_then(|map| map.data.as_ref()?.get("mesh"));
    text.and_then(|text| serde_saphyr::from_str(text).ok()).unwrap_or_default()
}

/// The parts of a list that is divided by commas.
fn divided(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The tag of the image.
fn version(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once('@').map_or(name, |(name, _)| name).split_once(':').map_or("", |(_, tag)| tag).to_owned()
}

/// The region of all nodes that have one, where it is the same.
fn region(objects: &ClusterObjects) -> String {
    let labels = objects.nodes.iter().filter_map(|node| node.metadata.labels.as_ref());
    let regions: BTreeSet<_> = labels.filter_map(|labels| labels.get(LABEL_REGION)).collect();
    match regions.into_iter().collect::<Vec<_>>().as_slice() {
        [only] => (*only).clone(),
        _ => String::new(),
    }
}

fn agent(objects: &ClusterObjects) -> Option<AgentInfo> {
    let is_agent = |labels: &Labels| labels.get(AGENT.0).map(String::as_str) == Some(AGENT.1);
    let mut all = objects.deployments.iter();
    let found = all.find(|one| one.metadata.labels.as_ref().is_some_and(is_agent))?;
    Some(AgentInfo { agent_namespace: found.metadata.namespace.clone()? })
}

fn gateways(objects: &ClusterObjects, templates: &[Template]) -> Vec<IngressGateway> {
    let gateway = |service: &Service| {
        let spec = service.spec.as_ref()?;
        let selector = spec.selector.clone()?;
        let namespace = service.metadata.namespace.clone()?;
        let behind =
            |one: &&Template| one.is_gateway && one.namespace == namespace && is_selected(&selector, &one.labels);
        templates.iter().find(behind)?;
        let by_node = spec.type_.as_deref() == Some("NodePort");
        let ports = spec.ports.iter().flatten().filter(|port| port.name.is_some());
        let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
            let number = u16::try_from(port.port).ok()?;
            let external = port.node_port.filter(|_| by_node).and_then(|port| u16::try_from(port).ok());
            let name = port.name.clone().unwrap_or_default();
            Some(GatewayPort { name, number, external_number: external.unwrap_or(number) })
        };
        Some(IngressGateway {
            name: service.metadata.name.clone()?,
            labels: service.metadata.labels.clone().unwrap_or_default(),
            external_addresses: if by_node { of_nodes(objects, &namespace, &selector) } else { of_service(service) },
            tls_ports: ports.filter_map(port).collect(),
            workload_labels: selector,
            namespace,
        })
    };
    objects.services.iter().filter_map(gateway).collect()
}

/// What the load balancer gave, else what people wrote.
fn of_service(service: &Service) -> Vec<String> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let given = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let given: Vec<_> = given.filter_map(|one| one.ip.clone().or_else(|| one.hostname.clone())).collect();
    if !given.is_empty() {
        return given;
    }
    service.spec.as_ref().and_then(|spec| spec.external_ips.clone()).unwrap_or_default()
}

/// Addresses of the nodes that the gateway's pods run on, sorted.
fn of_nodes(objects: &ClusterObjects, namespace: &str, selector: &Labels) -> Vec<String> {
    let runs = |pod: &&Pod| {
        pod.metadata.namespace.as_deref() == Some(namespace)
            && pod.metadata.labels.as_ref().is_some_and(|labels| is_selected(selector, labels))
    };
    let names: BTreeSet<_> =
        objects.pods.iter().filter(runs).filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()).collect();
    let mut addresses: Vec<_> = names.into_iter().filter_map(|name| node_address(objects, name)).collect();
    addresses.sort();
    addresses
}

fn node_address(objects: &ClusterObjects, name: &str) -> Option<String> {
    let node = objects.nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name))?;
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let of = |kind: &str| addresses.iter().find(|one| one.type_ == kind).map(|one| one.address.clone());
    of("ExternalIP").or_else(|| of("InternalIP"))
}

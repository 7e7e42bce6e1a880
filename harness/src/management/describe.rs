//! Resources in words: lists as `kubectl get` has them, and one resource with all that the plane reports about it. Pure.

use std::collections::BTreeMap;

use mesh_types::hub::status::{AppliedPolicy, Approval, Condition, PolicyStatus};
use mesh_types::hub::{
    AccessPolicy, Destination, Kind, KubernetesCluster, Mesh, Object, ObjectRef, Resource, TrafficPolicy,
    VirtualDestination, VirtualMesh, Workload,
};
use serde_json::Value;

use super::table::{Table, or_dash, word};
use super::{Error, resources};

/// Registered clusters with what was found in them.
#[must_use]
pub fn clusters(clusters: &[Object<KubernetesCluster>], meshes: &[Object<Mesh>]) -> String {
    if clusters.is_empty() {
        return "no cluster is registered; `meshproof mesh register NAME` registers one\n".to_owned();
    }
    let mut table = Table::new(&["CLUSTER", "STATE", "MESH", "VERSION", "TRUST DOMAIN", "VIRTUAL MESH", "AGENT"]);
    for cluster in clusters {
        let name = &cluster.metadata.name;
        let mesh = meshes.iter().find(|mesh| mesh.spec.istio.installation.cluster == *name);
        let of_mesh = |text: fn(&Object<Mesh>) -> String| mesh.map(text).unwrap_or_default();
        table.row([
            name.clone(),
            word(&cluster.status.state),
            of_mesh(|mesh| mesh.metadata.name.clone()),
            of_mesh(|mesh| mesh.spec.istio.installation.version.clone()),
            of_mesh(|mesh| mesh.spec.istio.trust_domain.clone()),
            of_mesh(|mesh| mesh.status.virtual_mesh.as_ref().map(|found| found.name.clone()).unwrap_or_default()),
            of_mesh(|mesh| if mesh.spec.agent_info.is_some() { "yes".to_owned() } else { "no".to_owned() }),
        ]);
    }
    table.render(0)
}

/// A resource with all that the plane reports about it.
///
/// # Errors
/// [`Error::Refused`] where it cannot be read.
pub fn resource(kind: Kind, value: Value) -> Result<String, Error> {
    match kind {
        Kind::KubernetesCluster => resources::read(value).map(|object| cluster(&object)),
        Kind::Mesh => resources::read(value).map(|object| mesh(&object)),
        Kind::Workload => resources::read(value).map(|object| workload(&object)),
        Kind::Destination => resources::read(value).map(|object| destination(&object)),
        Kind::VirtualMesh => resources::read(value).map(|object| virtual_mesh(&object)),
        Kind::VirtualDestination => resources::read(value).map(|object| virtual_destination(&object)),
        Kind::TrafficPolicy => {
            resources::read::<TrafficPolicy>(value).map(|object| policy(&object, &object.status, &object.spec))
        }
        Kind::AccessPolicy => {
            resources::read::<AccessPolicy>(value).map(|object| policy(&object, &object.status, &object.spec))
        }
        Kind::IssuedCertificate | Kind::CertificateRequest | Kind::WorkloadRestart => Ok(yaml(&value["status"])),
    }
}

/// Lines and tables, one under the other.
#[derive(Default)]
struct Page(String);

impl Page {
    fn of<R: Resource>(object: &Object<R>) -> Self {
        let mut page = Self::default();
        page.line(R::KIND.name(), &format!("{}/{}", object.metadata.namespace, object.metadata.name));
        page
    }

    fn line(&mut self, title: &str, value: &str) {
        self.0.push_str(&format!("{:15} {}\n", format!("{title}:"), or_dash(value)));
    }

    fn table(&mut self, title: &str, table: &Table) {
        if !table.is_empty() {
            self.0.push_str(&format!("{title}:\n{}", table.render(2)));
        }
    }

    fn list(&mut self, title: &str, texts: &[String]) {
        if !texts.is_empty() {
            self.0.push_str(&format!("{title}:\n"));
            texts.iter().for_each(|text| self.0.push_str(&format!("  {text}\n")));
        }
    }

    fn state(&mut self, state: &impl serde::Serialize, generation: Option<i64>, observed: i64) {
        let stale = if generation.is_some_and(|generation| generation != observed) {
            format!(" (of generation {observed}; it has {})", generation.unwrap_or_default())
        } else {
            String::new()
        };
        self.line("State", &format!("{}{stale}", word(state)));
    }

    fn approvals(&mut self, title: &str, approvals: &BTreeMap<String, Approval>) {
        let mut table = Table::new(&["NAME", "ORDER", "STATE", "MESSAGE"]);
        for (name, approval) in approvals {
            let order =
                if approval.acceptance_order == 0 { String::new() } else { approval.acceptance_order.to_string() };
            let said: Vec<&str> = approval.errors.iter().chain(&approval.warnings).map(String::as_str).collect();
            table.row([name.clone(), order, word(&approval.state), said.join("; ")]);
        }
        self.table(title, &table);
    }

    fn conditions(&mut self, conditions: &[Condition]) {
        let mut table = Table::new(&["TYPE", "STATUS", "REASON", "MESSAGE"]);
        for condition in conditions {
            let Condition { kind, status, reason, message, .. } = condition;
            table.row([kind.clone(), status.clone(), reason.clone(), message.clone()]);
        }
        self.table("Conditions", &table);
    }
}

fn cluster(object: &Object<KubernetesCluster>) -> String {
    let (spec, status) = (&object.spec, &object.status);
    let mut page = Page::of(object);
    page.line("Domain", spec.domain());
    page.line("Secret", &spec.secret_name);
    page.state(&status.state, object.metadata.generation, status.observed_generation);
    page.list("Errors", &status.errors);
    page.conditions(&status.conditions);
    page.0
}

fn mesh(object: &Object<Mesh>) -> String {
    let (istio, status) = (&object.spec.istio, &object.status);
    let mut page = Page::of(object);
    page.line("Cluster", &istio.installation.cluster);
    page.line("Namespace", &istio.installation.namespace);
    page.line("Version", &istio.installation.version);
    page.line("Region", &istio.installation.region);
    page.line("Trust domain", &istio.trust_domain);
    page.line("DNS by sidecar", if istio.smart_dns_proxying_enabled { "yes" } else { "no" });
    page.line("Agent", object.spec.agent_info.as_ref().map_or("", |agent| agent.agent_namespace.as_str()));
    page.line("Virtual mesh", &shown(status.virtual_mesh.as_ref()));
    page.state(&status.state, object.metadata.generation, status.observed_generation);
    page.list("Errors", &status.errors);
    let mut gateways = Table::new(&["GATEWAY", "ADDRESSES", "PORTS", "EAST-WEST"]);
    for gateway in &istio.ingress_gateways {
        let reference = ObjectRef::new(&gateway.name, &gateway.namespace);
        let ports = gateway.tls_ports.iter().map(|port| format!("{}={}", port.name, port.external_number));
        let chosen = if status.east_west_gateways.contains(&reference) { "yes" } else { "no" };
        let (addresses, ports) = (gateway.external_addresses.join(","), ports.collect::<Vec<_>>().join(","));
        gateways.row([reference.to_string(), addresses, ports, chosen.to_owned()]);
    }
    page.table("Gateways", &gateways);
    page.applied("Virtual meshes that name it", &status.applied_virtual_meshes);
    page.0
}

impl Page {
    fn applied(&mut self, title: &str, applied: &[AppliedPolicy]) {
        let mut table = Table::new(&["ORDER", "NAME", "GENERATION", "ACCEPTED"]);
        for one in applied {
            let accepted = if one.accepted { "yes" } else { "no" };
            let (order, generation) = (one.acceptance_order.to_string(), one.observed_generation.to_string());
            table.row([order, one.reference.to_string(), generation, accepted.to_owned()]);
        }
        self.table(title, &table);
    }
}

fn workload(object: &Object<Workload>) -> String {
    let spec = &object.spec;
    let mut page = Page::of(object);
    page.line("Cluster", &spec.controller.cluster_name);
    page.line(&spec.controller_kind, &format!("{}/{}", spec.controller.namespace, spec.controller.name));
    page.line("Account", &spec.service_account_name);
    page.line("Mesh", &spec.mesh.to_string());
    page.line("Labels", &labels(&spec.pod_labels));
    page.0
}

fn destination(object: &Object<Destination>) -> String {
    let (service, status) = (&object.spec.kube_service, &object.status);
    let mut page = Page::of(object);
    page.line("Service", &service.reference.to_string());
    page.line("Mesh", &object.spec.mesh.to_string());
    page.line("Host", &status.local_fqdn);
    let federation = status.federation.as_ref();
    page.line("Federated host", federation.map_or("", |federation| &federation.hostname));
    if let Some(federation) = federation {
        page.line("Address", &federation.address);
        page.line("Virtual mesh", &federation.virtual_mesh.to_string());
        let known =
            if federation.to_all_meshes { "every other member".to_owned() } else { refs(&federation.to_meshes) };
        page.line("Known to", &known);
    }
    page.line("Accounts", &service.service_accounts.iter().cloned().collect::<Vec<_>>().join(","));
    page.list("Errors", &status.errors);
    let mut ports = Table::new(&["PORT", "NAME", "PROTOCOL", "TARGET"]);
    for port in &service.ports {
        let target = port.target_port.map(|number| number.to_string()).unwrap_or_default();
        let protocol = if port.app_protocol.is_empty() { &port.protocol } else { &port.app_protocol };
        ports.row([port.port.to_string(), port.name.clone(), protocol.clone(), target]);
    }
    page.table("Ports", &ports);
    let mut subsets = Table::new(&["LABEL", "VALUES"]);
    for (label, values) in &service.subsets {
        subsets.row([label.clone(), values.iter().cloned().collect::<Vec<_>>().join(",")]);
    }
    page.table("Subsets", &subsets);
    let mut endpoints = Table::new(&["ENDPOINT", "LOCALITY", "LABELS"]);
    for endpoint in &service.endpoints {
        endpoints.row([endpoint.ip_address.clone(), endpoint.locality.clone(), labels(&endpoint.labels)]);
    }
    page.table("Endpoints", &endpoints);
    page.applied("Traffic policies", &status.applied_traffic_policies);
    let access: Vec<String> = status.applied_access_policies.iter().map(ToString::to_string).collect();
    page.list("Access policies", &access);
    page.0
}

fn virtual_mesh(object: &Object<VirtualMesh>) -> String {
    let (spec, status) = (&object.spec, &object.status);
    let mut page = Page::of(object);
    page.state(&status.state, object.metadata.generation, status.observed_generation);
    let trust = spec.mtls_config.as_ref().and_then(|mtls| mtls.shared.as_ref());
    page.line("Trust", if trust.is_some() { "one root" } else { "as the meshes have it" });
    let federation = match &spec.federation {
        None => "none".to_owned(),
        Some(federation) if federation.permissive.is_some() => format!("everything, as *.{}", federation.suffix()),
        Some(federation) => format!("{} selectors, as *.{}", federation.selectors.len(), federation.suffix()),
    };
    page.line("Federation", &federation);
    page.line("Federated", &status.federated_destinations.to_string());
    page.line("Access", &word(&spec.global_access_policy));
    page.list("Errors", &status.errors);
    page.approvals("Members", &status.meshes);
    page.conditions(&status.conditions);
    page.0
}

fn virtual_destination(object: &Object<VirtualDestination>) -> String {
    let status = &object.status;
    let mut page = Page::of(object);
    page.state(&status.state, object.metadata.generation, status.observed_generation);
    page.line("Host", &object.spec.hostname);
    page.line("Address", &status.address);
    page.list("Errors", &status.errors);
    page.list("Warnings", &status.warnings);
    let backends: Vec<String> = status.selected_destinations.iter().map(ToString::to_string).collect();
    page.list("Backends", &backends);
    page.approvals("Meshes", &status.meshes);
    page.conditions(&status.conditions);
    page.0
}

fn policy<R: Resource>(object: &Object<R>, status: &PolicyStatus, spec: &R) -> String {
    let mut page = Page::of(object);
    page.state(&status.state, object.metadata.generation, status.observed_generation);
    page.line("Targets", &status.targets.to_string());
    page.list("Errors", &status.errors);
    page.list("Warnings", &status.warnings);
    page.approvals("On each target", &status.destinations);
    page.conditions(&status.conditions);
    let written = serde_json::to_value(spec).map(|value| yaml(&value)).unwrap_or_default();
    page.list("As it is written", &written.lines().map(str::to_owned).collect::<Vec<_>>());
    page.0
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_default()
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn refs(references: &[ObjectRef]) -> String {
    references.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn shown(reference: Option<&ObjectRef>) -> String {
    reference.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
#[path = "describe/tests.rs"]
mod tests;

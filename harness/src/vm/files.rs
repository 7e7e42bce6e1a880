//! The content of the generated files. Pure: the same facts give the same text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use mesh_types::{Metadata, WorkloadGroup};
use serde_json::{Map, Value, json};

/// Annotation of a WorkloadGroup that changes the proxy configuration of its members.
pub const ANNOTATION_PROXY_CONFIG: &str = "proxy.istio.io/config";
/// Host name and port of the control plane.
const DISCOVERY: (&str, u16) = ("istiod.istio-system.svc", 15012);
/// Ports that stay as they are: secure shell, lest a machine gets out of reach, and those of Envoy and agent.
const EXCLUDED_PORTS: &str = "22,15090,15021";
/// Port of the agent where the mesh gives none.
const STATUS_PORT: u64 = 15020;

/// What is known of a machine to be.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Metadata of its WorkloadGroup.
    pub metadata: Metadata,
    /// Specification of its WorkloadGroup.
    pub group: WorkloadGroup,
    /// MeshConfig, as the ConfigMap `istio` has it.
    pub mesh: Value,
    /// Id of the cluster whose control plane it connects to.
    pub cluster: String,
    /// Address at which that control plane is reached.
    pub gateway: IpAddr,
    /// Address that it is known by; its own first one where none is given.
    pub address: Option<IpAddr>,
    /// Whether it becomes a WorkloadEntry by itself.
    pub automatic_registration: bool,
    /// Whether its DNS queries are answered beside it.
    pub capture_dns: bool,
    /// Services that the file `hosts` names.
    pub hosts: Vec<Host>,
    /// Roots of the mesh.
    pub roots: String,
    /// Token of its service account.
    pub token: String,
}

/// A Service of the cluster that a machine knows without asking.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its address in the cluster: what goes there is led through the proxy, which knows where it is served.
    pub address: IpAddr,
    /// Its name.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
}

/// The generated files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `cluster.env`.
    pub cluster_env: String,
    /// `mesh.yaml`.
    pub mesh: String,
    /// `root-cert.pem`.
    pub root_certificate: String,
    /// `istio-token`.
    pub token: String,
    /// `hosts`.
    pub hosts: String,
}

/// A mesh or a group whose text is not of the form it should have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct FormError {
    /// Where.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

impl Files {
    /// The files of a machine.
    ///
    /// # Errors
    /// [`FormError`].
    pub fn of(facts: &Facts) -> Result<Self, FormError> {
        let mut config = proxy_config(facts)?;
        let metadata = proxy_metadata(facts, &config);
        let cluster_env = lines(metadata.clone().into_iter().chain(overrides(facts, &config)).collect());
        config.insert("proxyMetadata".to_owned(), json!(metadata));
        if let Some(probe) = &facts.group.probe {
            config.insert("readinessProbe".to_owned(), json!(probe));
        }
        let mesh = serde_saphyr::to_string(&json!({ "defaultConfig": config }));
        Ok(Self {
            cluster_env,
            mesh: mesh.map_err(|error| FormError { place: "mesh.yaml".to_owned(), problem: error.to_string() })?,
            root_certificate: facts.roots.clone(),
            token: facts.token.clone(),
            hosts: hosts(facts),
        })
    }

    /// Name, mode and content of each.
    #[must_use]
    pub fn list(&self) -> [(&'static str, u32, &str); 5] {
        [
            ("cluster.env", 0o644, &self.cluster_env),
            ("mesh.yaml", 0o644, &self.mesh),
            ("root-cert.pem", 0o644, &self.root_certificate),
            ("istio-token", 0o600, &self.token),
            ("hosts", 0o644, &self.hosts),
        ]
    }
}

/// The control plane, and the services that are named, by each name that pods of their namespaces and of others use.
fn hosts(facts: &Facts) -> String {
    let mut text = format!("{} {}\n", facts.gateway, DISCOVERY.0);
    for Host { address, service, namespace } in &facts.hosts {
        let name = format!("{service}.{namespace}");
        let own = if *namespace == facts.metadata.namespace { format!(" {service}") } else { String::new() };
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{address} {name}.svc.cluster.local {name}.svc {name}{own}");
    }
    text
}

/// The proxy configuration of the mesh with what annotations of the group change.
fn proxy_config(facts: &Facts) -> Result<Map<String, Value>, FormError> {
    let mut config = facts.mesh.get("defaultConfig").cloned().unwrap_or_else(|| json!({}));
    let own = facts.group.metadata.as_ref().map(|metadata| &metadata.annotations);
    for annotations in [Some(&facts.metadata.annotations), own].into_iter().flatten() {
        let Some(text) = annotations.get(ANNOTATION_PROXY_CONFIG) else { continue };
        let form = |problem: String| FormError {
            place: format!(
                "WorkloadGroup {}/{}: annotation {ANNOTATION_PROXY_CONFIG}",
                facts.metadata.namespace, facts.metadata.name
            ),
            problem,
        };
        let change: Value = serde_saphyr::from_str(text).map_err(|error| form(error.to_string()))?;
        if !change.is_object() {
            return Err(form("is not a map of the fields of a ProxyConfig".to_owned()));
        }
        merge(&mut config, change);
    }
    let Value::Object(mut config) = config else {
        let place = "ConfigMap istio-system/istio: key mesh: defaultConfig".to_owned();
        return Err(FormError { place, problem: "is not a map".to_owned() });
    };
    config.entry("discoveryAddress").or_insert_with(|| format!("{}:{}", DISCOVERY.0, DISCOVERY.1).into());
    Ok(config)
}

fn merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            change.into_iter().for_each(|(key, value)| merge(target.entry(key).or_insert(Value::Null), value));
        }
        (target, change) => *target = change,
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Labels of the machine: those of the template win.
fn labels(facts: &Facts) -> BTreeMap<String, String> {
    let own = facts.group.metadata.clone().unwrap_or_default().labels;
    own.into_iter().chain(facts.group.template.labels.clone()).collect()
}

/// Name and revision of the service that the labels stand for.
fn canonical(labels: &BTreeMap<String, String>, group: &str) -> (String, String) {
    let first = |names: [&str; 3], otherwise: &str| {
        names.iter().find_map(|name| labels.get(*name)).map_or(otherwise, String::as_str).to_owned()
    };
    (
        first(["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"], group),
        first(["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"], "latest"),
    )
}

fn service_account(facts: &Facts) -> String {
    super::configure::service_account(&facts.group).to_owned()
}

/// What the proxy says about itself.
fn proxy_metadata(facts: &Facts, config: &Map<String, Value>) -> BTreeMap<String, String> {
    let given = config.get("proxyMetadata").and_then(Value::as_object);
    let mut found: BTreeMap<String, String> =
        given.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect();
    let mut labels = labels(facts);
    let (service, revision) = canonical(&labels, &facts.metadata.name);
    labels.insert("service.istio.io/canonical-name".to_owned(), service.clone());
    labels.insert("service.istio.io/canonical-revision".to_owned(), revision.clone());
    let template = &facts.group.template;
    let of_mesh = |value: Option<&Value>| value.map(text).unwrap_or_default();
    let mut set = |key: &str, value: String| found.insert(key.to_owned(), value);
    set("CANONICAL_SERVICE", service);
    set("CANONICAL_REVISION", revision);
    set("POD_NAMESPACE", facts.metadata.namespace.clone());
    set("SERVICE_ACCOUNT", service_account(facts));
    set("TRUST_DOMAIN", of_mesh(facts.mesh.get("trustDomain")));
    set("ISTIO_META_CLUSTER_ID", facts.cluster.clone());
    set("ISTIO_META_MESH_ID", of_mesh(config.get("meshId")));
    set("ISTIO_META_NETWORK", template.network.clone());
    set("ISTIO_META_WORKLOAD_NAME", facts.metadata.name.clone());
    set("ISTIO_METAJSON_LABELS", json!(labels).to_string());
    if !template.ports.is_empty() {
        let ports = template.ports.iter().map(|(name, port)| json!({ "name": name, "containerPort": port }));
        set("ISTIO_META_POD_PORTS", Value::from_iter(ports).to_string());
    }
    if facts.capture_dns {
        set("ISTIO_META_DNS_CAPTURE", "true".to_owned());
    }
    if facts.automatic_registration {
        set("ISTIO_META_AUTO_REGISTER_GROUP", facts.metadata.name.clone());
    }
    found
}

/// What is captured, and who it is.
fn overrides(facts: &Facts, config: &Map<String, Value>) -> BTreeMap<String, String> {
    let template = &facts.group.template;
    let ports: Vec<String> = template.ports.values().map(ToString::to_string).collect();
    let status = config.get("statusPort").and_then(Value::as_u64).filter(|port| *port != 0).unwrap_or(STATUS_PORT);
    let excluded = match status {
        15090 | 15021 => EXCLUDED_PORTS.to_owned(),
        other => format!("{EXCLUDED_PORTS},{other}"),
    };
    let Metadata { name, namespace, .. } = &facts.metadata;
    let mut found = BTreeMap::from([
        ("ISTIO_INBOUND_PORTS".to_owned(), if ports.is_empty() { "*".to_owned() } else { ports.join(",") }),
        ("ISTIO_LOCAL_EXCLUDE_PORTS".to_owned(), excluded),
        ("ISTIO_NAMESPACE".to_owned(), namespace.clone()),
        ("ISTIO_SERVICE".to_owned(), format!("{name}.{namespace}")),
        ("ISTIO_SERVICE_CIDR".to_owned(), "*".to_owned()),
        ("SERVICE_ACCOUNT".to_owned(), service_account(facts)),
    ]);
    if let Some(address) = facts.address {
        found.insert("ISTIO_SVC_IP".to_owned(), address.to_string());
    }
    found
}

/// `NAME='VALUE'`, sorted, as a shell reads them.
fn lines(variables: BTreeMap<String, String>) -> String {
    let line = |(name, value): (String, String)| format!("{name}='{}'\n", value.replace('\'', r#"'"'"'"#));
    variables.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(group: Value, mesh: Value) -> Facts {
        Facts {
            metadata: Metadata {
                name: "details-vm".to_owned(),
                namespace: "bookinfo".to_owned(),
                ..Metadata::default()
            },
            group: serde_json::from_value(group).unwrap(),
            mesh,
            cluster: "cluster1".to_owned(),
            gateway: "172.30.1.100".parse().unwrap(),
            address: None,
            automatic_registration: true,
            capture_dns: true,
            hosts: Vec::new(),
            roots: "ROOT\n".to_owned(),
            token: "TOKEN".to_owned(),
        }
    }

    fn mesh() -> Value {
        json!({"trustDomain": "cluster1.example", "defaultConfig": {"meshId": "mesh1", "drainDuration": "1s",
            "proxyMetadata": {"OWN": "it's"}}})
    }

    fn whole() -> Facts {
        facts(
            json!({
                "metadata": {"labels": {"app": "details"}},
                "template": {"ports": {"http": 9080, "admin": 8080}, "labels": {"version": "vm"}, "network": "vms",
                    "serviceAccount": "bookinfo-details"},
                "probe": {"periodSeconds": 1, "httpGet": {"path": "/health", "port": 9080}},
            }),
            mesh(),
        )
    }

    #[test]
    fn files_of_a_machine() {
        let files = Files::of(&whole()).unwrap();
        let text: String =
            files.list().map(|(name, mode, content)| format!("## {name} {mode:o}\n{content}\n")).concat();
        insta::assert_snapshot!(text);
    }

    /// Istio's own example: what it writes for a group with nothing but a service account.
    #[test]
    fn files_of_a_bare_group_are_those_of_istio() {
        let mut bare = facts(json!({"template": {"serviceAccount": "vm-serviceaccount"}}), json!({}));
        bare.metadata = Metadata { name: "foo".to_owned(), namespace: "bar".to_owned(), ..Metadata::default() };
        bare.cluster = "Kubernetes".to_owned();
        bare.address = Some("10.10.10.10".parse().unwrap());
        bare.automatic_registration = false;
        let files = Files::of(&bare).unwrap();
        let expected = [
            "CANONICAL_REVISION='latest'",
            "CANONICAL_SERVICE='foo'",
            "ISTIO_INBOUND_PORTS='*'",
            "ISTIO_LOCAL_EXCLUDE_PORTS='22,15090,15021,15020'",
            "ISTIO_METAJSON_LABELS='{\"service.istio.io/canonical-name\":\"foo\",\"service.istio.io/canonical-revision\":\"latest\"}'",
            "ISTIO_META_CLUSTER_ID='Kubernetes'",
            "ISTIO_META_DNS_CAPTURE='true'",
            "ISTIO_META_MESH_ID=''",
            "ISTIO_META_NETWORK=''",
            "ISTIO_META_WORKLOAD_NAME='foo'",
            "ISTIO_NAMESPACE='bar'",
            "ISTIO_SERVICE='foo.bar'",
            "ISTIO_SERVICE_CIDR='*'",
            "ISTIO_SVC_IP='10.10.10.10'",
            "POD_NAMESPACE='bar'",
            "SERVICE_ACCOUNT='vm-serviceaccount'",
            "TRUST_DOMAIN=''",
        ];
        assert_eq!(files.cluster_env.lines().collect::<Vec<_>>(), expected);
        assert_eq!(files.hosts, "172.30.1.100 istiod.istio-system.svc\n");
    }

    #[test]
    fn hosts_name_services_as_pods_of_the_namespace_do() {
        let host = |service: &str, namespace: &str| Host {
            address: "10.96.0.7".parse().unwrap(),
            service: service.to_owned(),
            namespace: namespace.to_owned(),
        };
        let files =
            Files::of(&Facts { hosts: vec![host("reviews", "bookinfo"), host("echo", "echo")], ..whole() }).unwrap();
        let expected = [
            "172.30.1.100 istiod.istio-system.svc",
            "10.96.0.7 reviews.bookinfo.svc.cluster.local reviews.bookinfo.svc reviews.bookinfo reviews",
            "10.96.0.7 echo.echo.svc.cluster.local echo.echo.svc echo.echo",
        ];
        assert_eq!(files.hosts.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn annotations_change_the_proxy_configuration() {
        let mut changed = whole();
        let annotation = "statusPort: 15999\nproxyMetadata:\n  MORE: x\n".to_owned();
        changed.metadata.annotations.insert(ANNOTATION_PROXY_CONFIG.to_owned(), annotation);
        let files = Files::of(&changed).unwrap();
        assert!(
            files.cluster_env.contains("ISTIO_LOCAL_EXCLUDE_PORTS='22,15090,15021,15999'"),
            "{}",
            files.cluster_env
        );
        assert!(files.cluster_env.contains("MORE='x'") && files.cluster_env.contains("OWN='it'\"'\"'s'"));
        let document: Value = serde_saphyr::from_str(&files.mesh).unwrap();
        assert_eq!(document["defaultConfig"]["statusPort"], 15999);
        assert_eq!(document["defaultConfig"]["proxyMetadata"]["OWN"], "it's");
    }

    #[test]
    fn what_is_not_of_its_form_is_named() {
        let mut broken = whole();
        broken.metadata.annotations.insert(ANNOTATION_PROXY_CONFIG.to_owned(), "just words".to_owned());
        let error = Files::of(&broken).unwrap_err().to_string();
        assert!(error.starts_with("WorkloadGroup bookinfo/details-vm: annotation proxy.istio.io/config"), "{error}");
        let error = Files::of(&facts(json!({"template": {}}), json!({"defaultConfig": []}))).unwrap_err().to_string();
        assert!(error.starts_with("ConfigMap istio-system/istio"), "{error}");
    }
}

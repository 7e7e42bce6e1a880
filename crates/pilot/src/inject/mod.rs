//! Sidecar and gateway injection: a pod template goes in, the template with its proxy comes out. Pure.
//!
//! The webhook and the file form use the same function, so they cannot differ.

mod annotations;
mod decision;
mod manifest;
mod merge;
mod probes;
mod template;
mod workload;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use decision::Skip;
pub use manifest::{ManifestError, inject_manifest};
pub use workload::Workload;

use annotations::Annotations;

/// Name of the proxy's container.
pub const PROXY_CONTAINER: &str = "istio-proxy";
/// Name of the init container that sets capture up.
pub const INIT_CONTAINER: &str = "istio-init";

/// What injection takes from the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    /// Id of the cluster.
    pub cluster_id: String,
    /// Network of the cluster, where there is more than one.
    pub network: Option<String>,
    /// Id of the mesh.
    pub mesh_id: String,
    /// SPIFFE trust domain.
    pub trust_domain: String,
    /// Image with `pilot-agent` and Envoy.
    pub proxy_image: String,
    /// When that image is pulled; Kubernetes' default where absent.
    pub image_pull_policy: Option<String>,
    /// `host:port` of istiod for xDS and certificates.
    pub discovery_address: String,
    /// Revision of the control plane.
    pub revision: String,
    /// Envoy's log level.
    pub proxy_log_level: String,
    /// What every proxy starts from, as Istio's `meshConfig.defaultConfig`: a `ProxyConfig` object. The annotation
    /// `proxy.istio.io/config` of a pod goes before it, field by field.
    pub default_proxy_config: Map<String, Value>,
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self {
            cluster_id: "Kubernetes".to_owned(),
            network: None,
            mesh_id: "cluster.local".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            proxy_image: "meshproof/proxy:dev".to_owned(),
            image_pull_policy: None,
            discovery_address: "istiod.istio-system.svc:15012".to_owned(),
            revision: "default".to_owned(),
            proxy_log_level: "warning".to_owned(),
            default_proxy_config: Map::new(),
        }
    }
}

impl MeshSettings {
    /// The settings for pods of another cluster, as the path of its webhook says: `cluster/<name>/net/<network>`. A slash in a
    /// name is written `--slash--`; what is not known is passed over, as in Istio.
    #[must_use]
    pub fn elsewhere(&self, environment: &str) -> Self {
        let mut settings = self.clone();
        let mut parts = environment.split('/').map(|part| part.replace("--slash--", "/"));
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            match key.as_str() {
                "cluster" => settings.cluster_id = value,
                "net" => settings.network = Some(value),
                _ => {}
            }
        }
        settings
    }
}

/// Where the pod will live.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceContext<'a> {
    /// Name of the namespace.
    pub name: &'a str,
    /// Its labels; `None` where somebody has already chosen the pod: the webhook's selectors, or whoever gave the file.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// A pod template with its proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// `metadata` and `spec`; anything else of the input is kept.
    pub pod: Value,
    /// Annotations that Istio knows and that have no effect here.
    pub warnings: Vec<String>,
}

/// What injection comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The pod gets a proxy.
    Injected(Box<Injected>),
    /// It does not, for a reason.
    Skipped(Skip),
}

/// A pod that should get a proxy and cannot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// No pod template.
    #[error("{0}")]
    Shape(&'static str),
    /// An annotation has a value that cannot be used.
    #[error("annotation {name}: {problem}")]
    Annotation {
        /// The annotation.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A probe that cannot be rewritten.
    #[error("container {container}: {probe}: {problem}")]
    Probe {
        /// The container.
        container: String,
        /// `readinessProbe`, …
        probe: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// Adds a proxy to a pod template (or pod), where it should have one.
///
/// # Errors
/// [`InjectError`].
pub fn inject(
    pod: &Value,
    namespace: NamespaceContext<'_>,
    workload: &Workload,
    settings: &MeshSettings,
) -> Result<Outcome, InjectError> {
    if !pod.get("spec").is_some_and(Value::is_object) {
        return Err(InjectError::Shape("there is no pod template: spec is missing"));
    }
    if let Some(skip) = decision::skip(pod, namespace, settings) {
        return Ok(Outcome::Skipped(skip));
    }
    let annotations = Annotations::read(pod, &settings.default_proxy_config)?;
    let labelled = pod.pointer("/metadata/labels").and_then(|labels| labels.get(template::NETWORK)?.as_str());
    let network = labelled.or(settings.network.as_deref());
    let context =
        template::Context { settings, namespace: namespace.name, workload, annotations: &annotations, network };
    let mut injected = pod.clone();
    let warnings = annotations.unsupported();
    metadata(&mut injected, &context);
    containers(&mut injected, &context)?;
    Ok(Outcome::Injected(Box::new(Injected { pod: injected, warnings })))
}

fn object<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let slot = value.as_object_mut().expect("invariant: checked to be an object").entry(field).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = json!({});
    }
    slot.as_object_mut().expect("invariant: just made one")
}

fn array<'a>(spec: &'a mut Map<String, Value>, field: &str) -> &'a mut Vec<Value> {
    let slot = spec.entry(field).or_insert(Value::Null);
    if !slot.is_array() {
        *slot = json!([]);
    }
    slot.as_array_mut().expect("invariant: just made one")
}

fn metadata(pod: &mut Value, context: &template::Context<'_>) {
    let existing = pod.pointer("/metadata/labels").cloned().unwrap_or_default();
    let first_container = pod.pointer("/spec/containers/0/name").and_then(Value::as_str).map(ToOwned::to_owned);
    object(pod, "metadata");
    let metadata = pod.get_mut("metadata").expect("invariant: just made");
    let labels = object(metadata, "labels");
    for (key, value) in context.labels(&existing) {
        labels.entry(key).or_insert(value.into());
    }
    let annotations = object(metadata, "annotations");
    for (key, value) in context.annotations(first_container.as_deref()) {
        annotations.insert(key, value.into());
    }
}

fn containers(pod: &mut Value, context: &template::Context<'_>) -> Result<(), InjectError> {
    let spec = pod.get_mut("spec").and_then(Value::as_object_mut).expect("invariant: checked by inject");
    let given = take(array(spec, "containers"), PROXY_CONTAINER);
    let probes = if context.annotations.rewrite_probes && context.annotations.sidecar() {
        probes::rewrite(array(spec, "containers"))?
    } else {
        None
    };
    let proxy = context.proxy(array(spec, "containers"), probes.as_deref());
    let proxy = given.map_or(proxy.clone(), |given| merge::container(proxy, &given));
    if context.annotations.hold {
        array(spec, "containers").insert(0, proxy);
    } else {
        array(spec, "containers").push(proxy);
    }
    if context.annotations.sidecar() {
        // Last, so that other init containers still reach the network directly.
        array(spec, "initContainers").push(context.init());
    }
    let volumes = array(spec, "volumes");
    for volume in context.volumes() {
        if !volumes.iter().any(|present| present["name"] == volume["name"]) {
            volumes.push(volume);
        }
    }
    Ok(())
}

fn take(containers: &mut Vec<Value>, name: &str) -> Option<Value> {
    let position = containers.iter().position(|container| container["name"] == name)?;
    Some(containers.remove(position))
}

#[cfg(test)]
mod tests;

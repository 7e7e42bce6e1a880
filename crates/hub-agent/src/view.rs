//! From Kubernetes' objects to what decisions are made of, and back. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use mesh_certificates::pem;
use mesh_certificates::request::SigningRequest;
use mesh_types::hub::names;
use mesh_types::hub::{Object, ObjectRef, Resource};
use serde_json::{Value, json};

use crate::certificate::{AuthoritySecret, Files, Installation, PendingKey, contents, time};
use crate::restart;
use crate::telemetry::Workload;
use crate::trust::ProxyPod;

/// The ConfigMap in which Istio hands the roots to every namespace.
pub const ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";
const ROOT_KEY: &str = "root-cert.pem";
/// Name of the container of a proxy.
const PROXY: &str = "istio-proxy";
const PRIVATE_KEY: &str = "private-key";
const REQUEST: &str = "certificate-signing-request";

/// Reads a resource of the hub; nothing where it has another form.
pub fn resource<R: Resource>(object: &DynamicObject) -> Option<Object<R>> {
    let value = serde_json::to_value(object).ok()?;
    let read = Object::<R>::from_value(value);
    read.inspect_err(|error| tracing::warn!(name = object.name_any(), %error, "a resource cannot be read")).ok()
}

/// The Secret that a control plane signs with.
pub fn authority(secret: &Secret) -> AuthoritySecret {
    let text = |key: &str| data(secret, key);
    let annotation = |name: &str| secret.annotations().get(name).cloned().unwrap_or_default();
    AuthoritySecret {
        ours: secret.labels().contains_key(names::LABEL_ISSUED),
        adopt: annotation(names::ANNOTATION_ADOPT) == "true",
        options: annotation(names::ANNOTATION_OPTIONS),
        previous: annotation(names::ANNOTATION_PREVIOUS)
            .split(',')
            .filter(|root| !root.is_empty())
            .map(str::to_owned)
            .collect(),
        files: Files {
            certificate: text("ca-cert.pem"),
            key: text("ca-key.pem"),
            chain: text("cert-chain.pem"),
            roots: text("root-cert.pem"),
        },
        resource_version: secret.resource_version().unwrap_or_default(),
        secret_type: secret.type_.clone().unwrap_or_else(|| "Opaque".to_owned()),
    }
}

/// When that Secret was written last.
pub fn installed(secret: &Secret) -> Option<SystemTime> {
    time(secret.annotations().get(names::ANNOTATION_INSTALLED)?)
}

/// The Secret of an installation.
pub fn authority_secret(place: &ObjectRef, certificate: &str, installation: &Installation, now: &str) -> Value {
    let data: BTreeMap<&str, ByteString> =
        contents(&installation.files).into_iter().map(|(name, text)| (name, bytes(text))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": installation.secret_type,
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "resourceVersion": installation.replaces,
            "labels": { names::LABEL_ISSUED: certificate },
            "annotations": {
                names::ANNOTATION_OPTIONS: installation.options,
                names::ANNOTATION_PREVIOUS: installation.previous.join(","),
                names::ANNOTATION_INSTALLED: now,
            },
        },
        "data": data,
    })
}

/// The key that waits in a Secret; nothing where the Secret is another.
pub fn pending_key(secret: &Secret) -> Option<PendingKey> {
    (secret.type_.as_deref() == Some(names::TYPE_KEY)).then(|| PendingKey {
        key: data(secret, PRIVATE_KEY),
        request: data(secret, REQUEST),
        options: secret.annotations().get(names::ANNOTATION_OPTIONS).cloned().unwrap_or_default(),
    })
}

/// The Secret in which the key of an authority waits, beside the place where the authority is installed.
pub fn key_secret(place: &ObjectRef, certificate: &str, made: &SigningRequest, options: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": names::TYPE_KEY,
        "metadata": {
            "name": key_name(place),
            "namespace": place.namespace,
            "labels": { names::LABEL_ISSUED: certificate },
            "annotations": { names::ANNOTATION_OPTIONS: options },
        },
        "data": { PRIVATE_KEY: bytes(&made.key_pem), REQUEST: bytes(&made.csr_pem) },
    })
}

/// Name of the Secret in which the key waits of an authority that is installed in a place. It follows from the place alone, so that
/// an agent may be given rights to it by name.
pub fn key_name(place: &ObjectRef) -> String {
    names::join(&["key", &place.name])
}

/// On a request: where the authority is to be installed, `namespace/name`.
pub fn place_text(place: &ObjectRef) -> String {
    format!("{}/{}", place.namespace, place.name)
}

/// Reads that of a request.
pub fn place(request: &DynamicObject) -> Option<ObjectRef> {
    let (namespace, name) = request.annotations().get(names::ANNOTATION_PLACE)?.split_once('/')?;
    Some(ObjectRef::new(name, namespace))
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn data(secret: &Secret, key: &str) -> String {
    let found = secret.data.as_ref().and_then(|data| data.get(key));
    found.map(|ByteString(bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

/// The roots in a ConfigMap, PEM.
pub fn published_pem(map: &ConfigMap) -> Option<&str> {
    map.data.as_ref()?.get(ROOT_KEY).map(String::as_str)
}

/// The roots in a ConfigMap, as fingerprints.
pub fn published(map: &ConfigMap) -> Vec<String> {
    let read = pem::certificates(published_pem(map).unwrap_or_default());
    read.unwrap_or_default().iter().map(pem::fingerprint).collect()
}

/// A pod that runs or will run; nothing of one that ends or has ended.
pub fn pod(pod: &Pod) -> Option<restart::Pod> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() || ["Succeeded", "Failed"].contains(&phase) {
        return None;
    }
    let created = pod.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let containers =
        pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    Some(restart::Pod {
        pod: ProxyPod {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            created: SystemTime::UNIX_EPOCH + Duration::from_secs(created.try_into().unwrap_or_default()),
            restarted_for: pod.annotations().get(names::ANNOTATION_TRUST).cloned(),
        },
        labels: pod.labels().clone(),
        proxy: containers.into_iter().any(|container| container.name == PROXY),
    })
}

/// `Pending`, `Running`, `Succeeded`, `Failed`.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether a pod is one of Istio's control plane.
pub fn is_control_plane(pod: &Pod) -> bool {
    pod.labels().get("app").map(String::as_str) == Some("istiod") && pod.metadata.deletion_timestamp.is_none()
}

/// `<namespace>/<pod>`.
pub fn title(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// Address of a pod; nothing where it shares that of its node.
pub fn address(pod: &Pod) -> Option<String> {
    let own = pod.spec.as_ref().is_none_or(|spec| spec.host_network != Some(true));
    pod.status.as_ref().filter(|_| own)?.pod_ip.clone()
}

/// The workload of a pod, named as Istio does: by the Deployment where there is one.
pub fn workload(pod: &Pod) -> Workload {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    let name = owner.map_or_else(|| pod.name_any(), |owner| owner.name.clone());
    let hash = pod.labels().get("pod-template-hash").map(|hash| format!("-{hash}"));
    let name = hash.as_deref().and_then(|hash| name.strip_suffix(hash)).map_or(name.clone(), str::to_owned);
    Workload { name, namespace: pod.namespace().unwrap_or_default(), labels: pod.labels().clone() }
}

/// The patch that restarts a workload, as `kubectl rollout restart` writes it.
pub fn restart_patch(trust: &str, now: &str) -> Value {
    json!({ "spec": { "template": { "metadata": { "annotations": {
        "kubectl.kubernetes.io/restartedAt": now,
        names::ANNOTATION_TRUST: trust,
    } } } } })
}

//! Says where a Service's pods are: EndpointSlices, and the older Endpoints object beside them. Pure.
//!
//! `members` decides who is an endpoint and on which ports; this file decides what to write for it. A Service
//! without a selector is left to whoever writes its endpoints.

mod members;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::objects::{self, Key, controller_reference, is_deleting, labels_contain, merge_patch};
use crate::plan::{Action, Kind, Plan};
use crate::world::Caches;
use members::{Group, Member};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Kubernetes' own limit of endpoints in one slice.
const SLICE_SIZE: usize = 100;

/// What the controller looks at.
pub(crate) struct Inputs {
    pub(crate) key: Key,
    pub(crate) service: Option<Arc<Service>>,
    /// Pods that the selector matches.
    pub(crate) pods: Vec<Arc<Pod>>,
    pub(crate) nodes: Vec<Arc<Node>>,
    /// Slices of this Service that this controller manages.
    pub(crate) slices: Vec<Arc<EndpointSlice>>,
    pub(crate) endpoints: Option<Arc<Endpoints>>,
}

/// The Service that a slice of this controller belongs to.
pub(crate) fn service_of_slice(slice: &EndpointSlice) -> Option<String> {
    let labels = slice.metadata.labels.as_ref()?;
    (labels.get(MANAGED_BY).map(String::as_str) == Some(MANAGER)).then(|| labels.get(SERVICE_NAME).cloned())?
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Inputs {
    let service = caches.services.get(key);
    let selector = service.as_ref().and_then(|service| service.spec.as_ref()?.selector.clone()).unwrap_or_default();
    let mut pods = caches.pods.in_namespace(&key.namespace);
    pods.retain(|pod| labels_contain(pod.metadata.labels.as_ref(), &selector));
    let mut slices = caches.endpoint_slices.in_namespace(&key.namespace);
    slices.retain(|slice| service_of_slice(slice).as_deref() == Some(key.name.as_str()));
    Inputs { key: key.clone(), service, pods, nodes: caches.nodes.all(), slices, endpoints: caches.endpoints.get(key) }
}

pub(crate) fn reconcile(inputs: &Inputs) -> Plan {
    let Some(service) = inputs.service.as_deref().filter(|service| !is_deleting(*service)) else {
        return Plan::of(remove_everything(inputs));
    };
    let spec = service.spec.clone().unwrap_or_default();
    let selects = spec.selector.as_ref().is_some_and(|selector| !selector.is_empty());
    if !selects || spec.type_.as_deref() == Some("ExternalName") {
        return Plan::default();
    }
    let groups = members::group(service, &inputs.pods, &inputs.nodes);
    let mut actions = slices(service, &groups, &inputs.slices);
    actions.extend(legacy(service, &groups, inputs.endpoints.as_deref()));
    Plan::of(actions)
}

fn remove_everything(inputs: &Inputs) -> Vec<Action> {
    let mut actions: Vec<_> = inputs.slices.iter().map(|slice| delete_slice(slice)).collect();
    if let Some(endpoints) = &inputs.endpoints
        && endpoints.labels().contains_key("endpoints.kubernetes.io/managed-by")
    {
        let uid = endpoints.uid().unwrap_or_default();
        actions.push(Action::Delete { kind: Kind::Endpoints, key: inputs.key.clone(), uid, propagation: None });
    }
    actions
}

fn delete_slice(slice: &EndpointSlice) -> Action {
    let uid = slice.uid().unwrap_or_default();
    Action::Delete { kind: Kind::EndpointSlice, key: Key::of(slice), uid, propagation: None }
}

/// Matches the wanted slices with the existing ones by their ports; what is left over goes.
fn slices(service: &Service, groups: &[Group], existing: &[Arc<EndpointSlice>]) -> Vec<Action> {
    let mut unused: Vec<&EndpointSlice> =
        existing.iter().map(|slice| &**slice).filter(|slice| !is_deleting(*slice)).collect();
    let mut actions = Vec::new();
    for wanted in wanted_slices(service, groups) {
        let ports = wanted.ports.clone().unwrap_or_default();
        match unused.iter().position(|slice| slice.ports.clone().unwrap_or_default() == ports) {
            Some(index) => actions.extend(update_slice(unused.remove(index), &wanted)),
            None => actions.push(Action::Create {
                kind: Kind::EndpointSlice,
                namespace: service.namespace().unwrap_or_default(),
                object: objects::json(&wanted),
            }),
        }
    }
    actions.extend(unused.into_iter().map(delete_slice));
    actions
}

fn update_slice(existing: &EndpointSlice, wanted: &EndpointSlice) -> Option<Action> {
    let mut updated = existing.clone();
    updated.endpoints.clone_from(&wanted.endpoints);
    updated.metadata.labels.clone_from(&wanted.metadata.labels);
    let patch = merge_patch(&objects::json(existing), &objects::json(&updated))?;
    Some(Action::Patch { kind: Kind::EndpointSlice, key: Key::of(existing), patch })
}

fn wanted_slices(service: &Service, groups: &[Group]) -> Vec<EndpointSlice> {
    let slice = |group: Option<&Group>, members: &[Member]| EndpointSlice {
        address_type: "IPv4".into(),
        endpoints: Some(members.iter().map(endpoint).collect()),
        metadata: slice_metadata(service),
        ports: Some(group.map(|group| group.ports.clone()).unwrap_or_default()),
    };
    if groups.is_empty() {
        // A reader that waits for the slices of a Service must see that there are none, not wait for ever.
        return vec![slice(None, &[])];
    }
    let chunks = groups.iter().flat_map(|group| group.members.chunks(SLICE_SIZE).map(move |members| (group, members)));
    chunks.map(|(group, members)| slice(Some(group), members)).collect()
}

fn slice_metadata(service: &Service) -> ObjectMeta {
    let mut labels = service_labels(service);
    labels.insert(SERVICE_NAME.into(), service.name_any());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    ObjectMeta {
        generate_name: Some(format!("{}-", service.name_any())),
        namespace: service.namespace(),
        labels: Some(labels),
        owner_references: Some(vec![controller_reference(service)]),
        ..ObjectMeta::default()
    }
}

fn service_labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels
}

fn endpoint(member: &Member) -> Endpoint {
    Endpoint {
        addresses: vec![member.ip.clone()],
        conditions: Some(member.conditions()),
        hostname: member.hostname.clone(),
        node_name: member.node_name.clone(),
        target_ref: Some(member.target.clone()),
        zone: member.zone.clone(),
        ..Endpoint::default()
    }
}

fn legacy(service: &Service, groups: &[Group], existing: Option<&Endpoints>) -> Option<Action> {
    let subsets = members::subsets(groups);
    let mut labels = service_labels(service);
    labels.insert("endpoints.kubernetes.io/managed-by".into(), "endpoint-controller".into());
    let key = Key::of(service);
    let Some(existing) = existing else {
        let metadata = ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        };
        let object = objects::json(&Endpoints { metadata, subsets });
        return Some(Action::Create { kind: Kind::Endpoints, namespace: key.namespace, object });
    };
    let mut updated = existing.clone();
    updated.subsets = subsets;
    updated.metadata.labels = Some(labels);
    let patch = merge_patch(&objects::json(existing), &objects::json(&updated))?;
    Some(Action::Patch { kind: Kind::Endpoints, key, patch })
}

//! Which controllers a change concerns: for every cached kind, from a change to the keys that become due. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;

use crate::cache::{Cache, Change};
use crate::controllers::{Controller, endpoints, load_balancer, scheduler};
use crate::objects::{Key, controller_of, labels_contain, selector_matches};
use crate::world::{Cached, Caches};

/// A set of keys per controller.
#[derive(Debug, Default)]
pub(crate) struct Triggers(BTreeSet<(Controller, Key)>);

impl Triggers {
    fn add(&mut self, controller: Controller, key: Key) {
        self.0.insert((controller, key));
    }

    pub(crate) fn into_keys(self) -> impl Iterator<Item = (Controller, Key)> {
        self.0.into_iter()
    }
}

impl Cached for Pod {
    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.pods
    }

    fn triggers(caches: &Caches, change: &Change<Self>, triggers: &mut Triggers) {
        if let Some(pod) = &change.after
            && scheduler::awaits_a_node(pod)
        {
            triggers.add(Controller::Scheduler, Key::of(&**pod));
        }
        for pod in change.states() {
            owner_of_pod(caches, change, pod, triggers);
        }
        let Some(pod) = change.latest() else { return };
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        for service in caches.services.in_namespace(&namespace) {
            let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { continue };
            if change.states().any(|pod| labels_contain(pod.metadata.labels.as_ref(), selector)) {
                triggers.add(Controller::Endpoints, Key::of(&*service));
            }
        }
    }
}

fn owner_of_pod(caches: &Caches, change: &Change<Pod>, pod: &Pod, triggers: &mut Triggers) {
    let key = Key::of(pod);
    let Some(owner) = controller_of(&pod.metadata) else {
        for set in caches.replica_sets.in_namespace(&key.namespace) {
            if selector_matches(Some(&set.spec.selector), pod.metadata.labels.as_ref()) {
                triggers.add(Controller::ReplicaSet, Key::of(&*set));
            }
        }
        for set in caches.stateful_sets.in_namespace(&key.namespace) {
            if selector_matches(Some(&set.spec.selector), pod.metadata.labels.as_ref()) {
                triggers.add(Controller::StatefulSet, Key::of(&*set));
            }
        }
        for set in caches.daemon_sets.in_namespace(&key.namespace) {
            if selector_matches(Some(&set.spec.selector), pod.metadata.labels.as_ref()) {
                triggers.add(Controller::DaemonSet, Key::of(&*set));
            }
        }
        return;
    };
    let owner_key = key.sibling(owner.name.clone());
    match owner.kind.as_str() {
        "ReplicaSet" => {
            // A `Recreate` Deployment waits for its old pods to be really gone, which no ReplicaSet status tells.
            if change.after.is_none()
                && let Some(set) = caches.replica_sets.get(&owner_key)
            {
                owner_of_replica_set(&set, triggers);
            }
            triggers.add(Controller::ReplicaSet, owner_key);
        }
        "Job" => triggers.add(Controller::Job, owner_key),
        "StatefulSet" => triggers.add(Controller::StatefulSet, owner_key),
        "DaemonSet" => triggers.add(Controller::DaemonSet, owner_key),
        _ => {}
    }
}

fn owner_of_replica_set(set: &ReplicaSet, triggers: &mut Triggers) {
    if let Some(owner) = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment") {
        triggers.add(Controller::Deployment, Key::of(set).sibling(owner.name.clone()));
    }
}

impl Cached for Node {
    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.nodes
    }

    fn triggers(caches: &Caches, _: &Change<Self>, triggers: &mut Triggers) {
        for pod in caches.pods.all().iter().filter(|pod| scheduler::awaits_a_node(pod)) {
            triggers.add(Controller::Scheduler, Key::of(&**pod));
        }
        for set in caches.daemon_sets.all() {
            triggers.add(Controller::DaemonSet, Key::of(&*set));
        }
    }
}

impl Cached for ReplicaSet {
    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.replica_sets
    }

    fn triggers(caches: &Caches, change: &Change<Self>, triggers: &mut Triggers) {
        for set in change.states() {
            triggers.add(Controller::ReplicaSet, Key::of(&**set));
            owner_of_replica_set(set, triggers);
            if controller_of(&set.metadata).is_some() {
                continue;
            }
            for deployment in caches.deployments.in_namespace(&Key::of(&**set).namespace) {
                if selector_matches(Some(&deployment.spec.selector), set.metadata.labels.as_ref()) {
                    triggers.add(Controller::Deployment, Key::of(&*deployment));
                }
            }
        }
    }
}

impl Cached for Service {
    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.services
    }

    fn triggers(caches: &Caches, change: &Change<Self>, triggers: &mut Triggers) {
        let Some(service) = change.latest() else { return };
        triggers.add(Controller::Endpoints, Key::of(&**service));
        triggers.add(Controller::LoadBalancer, Key::of(&**service));
        // A Service that goes, or that gives its address back, may make room for one that waits.
        if change.before.as_ref().is_some_and(|before| !load_balancer::addresses(before).is_empty()) {
            for waiting in caches.services.all().iter().filter(|service| load_balancer::awaits_an_address(service)) {
                triggers.add(Controller::LoadBalancer, Key::of(&**waiting));
            }
        }
    }
}

impl Cached for EndpointSlice {
    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.endpoint_slices
    }

    fn triggers(_: &Caches, change: &Change<Self>, triggers: &mut Triggers) {
        for slice in change.states() {
            if let Some(service) = endpoints::service_of_slice(slice) {
                triggers.add(Controller::Endpoints, Key::of(&**slice).sibling(service));
            }
        }
    }
}

impl Cached for ServiceAccount {
    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.service_accounts
    }

    fn triggers(_: &Caches, change: &Change<Self>, triggers: &mut Triggers) {
        namespace_of(change, triggers);
    }
}

impl Cached for ConfigMap {
    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.config_maps
    }

    fn triggers(_: &Caches, change: &Change<Self>, triggers: &mut Triggers) {
        namespace_of(change, triggers);
    }
}

fn namespace_of<K: Resource>(change: &Change<K>, triggers: &mut Triggers) {
    if let Some(namespace) = change.latest().and_then(|object| object.meta().namespace.clone()) {
        triggers.add(Controller::NamespaceDefaults, Key::cluster(namespace));
    }
}

macro_rules! cached_by_own_key {
    ($($type:ty, $field:ident, $controller:ident;)*) => {$(
        impl Cached for $type {
            fn cache(caches: &Caches) -> &Cache<Self> {
                &caches.$field
            }

            fn triggers(_: &Caches, change: &Change<Self>, triggers: &mut Triggers) {
                if let Some(object) = change.latest() {
                    triggers.add(Controller::$controller, Key::of(&**object));
                }
            }
        }
    )*};
}

cached_by_own_key! {
    Deployment, deployments, Deployment;
    StatefulSet, stateful_sets, StatefulSet;
    DaemonSet, daemon_sets, DaemonSet;
    Job, jobs, Job;
    Endpoints, endpoints, Endpoints;
    Namespace, namespaces, NamespaceDefaults;
}

//! Deployments, StatefulSets and DaemonSets as a restart sees them. Pure.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use mesh_types::hub::names;

use super::Controller;

/// A kind of controller that can be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// Deployment.
    Deployment,
    /// StatefulSet.
    StatefulSet,
    /// DaemonSet.
    DaemonSet,
}

impl WorkloadKind {
    /// Its name in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// How far the pods of a controller are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Whether its present form was seen by Kubernetes' controllers.
    pub observed: bool,
    /// Pods that there shall be.
    pub wanted: i32,
    /// Pods of the present form.
    pub updated: i32,
    /// Pods of the present form that take traffic, at least so many.
    pub available: i32,
    /// Pods of any form.
    pub all: i32,
    /// Why it does not go on by itself.
    pub stopped: Option<&'static str>,
}

impl Rollout {
    /// What is missing; nothing where all pods are of the present form and take traffic, and older ones are gone.
    pub fn missing(&self) -> Option<String> {
        if !self.observed {
            return Some("its change was not taken up yet".to_owned());
        }
        let (wanted, updated, available) = (self.wanted, self.updated, self.available);
        if updated < wanted || available < wanted {
            let stopped = self.stopped.map(|reason| format!(" ({reason})")).unwrap_or_default();
            return Some(format!("{updated} of {wanted} pods are new, {available} available{stopped}"));
        }
        (self.all > updated).then(|| format!("{} old pods are left", self.all - updated))
    }
}

/// A Deployment.
pub fn deployment(object: &Deployment) -> Controller {
    let spec = object.spec.clone();
    let status = object.status.clone().unwrap_or_default();
    let rollout = Rollout {
        observed: status.observed_generation >= object.metadata.generation,
        wanted: spec.replicas.unwrap_or(1),
        updated: status.updated_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
        all: status.replicas.unwrap_or_default(),
        stopped: spec.paused.unwrap_or_default().then_some("it is paused"),
    };
    controller(WorkloadKind::Deployment, &object.metadata, &spec.selector, &spec.template, rollout)
}

/// A StatefulSet.
pub fn stateful_set(object: &StatefulSet) -> Controller {
    let spec = object.spec.clone();
    let status = object.status.clone().unwrap_or_default();
    let on_delete = spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete");
    let updated = if status.update_revision == status.current_revision && status.update_revision.is_some() {
        status.replicas
    } else {
        status.updated_replicas.unwrap_or_default()
    };
    let rollout = Rollout {
        observed: status.observed_generation >= object.metadata.generation,
        wanted: spec.replicas.unwrap_or(1),
        updated,
        available: status.available_replicas.or(status.ready_replicas).unwrap_or_default(),
        all: status.replicas,
        stopped: on_delete.then_some("its update strategy is OnDelete"),
    };
    controller(WorkloadKind::StatefulSet, &object.metadata, &spec.selector, &spec.template, rollout)
}

/// A DaemonSet.
pub fn daemon_set(object: &DaemonSet) -> Controller {
    let spec = object.spec.clone();
    let status = object.status.clone().unwrap_or_default();
    let on_delete = spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete");
    let rollout = Rollout {
        observed: status.observed_generation >= object.metadata.generation,
        wanted: status.desired_number_scheduled,
        updated: status.updated_number_scheduled.unwrap_or_default(),
        available: status.number_available.unwrap_or_default(),
        all: status.current_number_scheduled,
        stopped: on_delete.then_some("its update strategy is OnDelete"),
    };
    controller(WorkloadKind::DaemonSet, &object.metadata, &spec.selector, &spec.template, rollout)
}

fn controller(
    kind: WorkloadKind,
    metadata: &ObjectMeta,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    rollout: Rollout,
) -> Controller {
    let pods = template.metadata.clone().unwrap_or_default();
    let annotations = pods.annotations.unwrap_or_default();
    Controller {
        kind,
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        selector: selector.match_labels.clone().unwrap_or_default(),
        restarted_for: annotations.get(names::ANNOTATION_TRUST).cloned(),
        rollout,
    }
}

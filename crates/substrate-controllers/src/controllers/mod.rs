//! The controllers: for each, a pure function from what is known of the cluster to a plan.

pub(crate) mod daemon_set;
pub(crate) mod deployment;
pub(crate) mod endpoints;
pub(crate) mod job;
pub(crate) mod load_balancer;
pub(crate) mod namespace_defaults;
pub(crate) mod pod_events;
pub(crate) mod pods;
pub(crate) mod replica_set;
pub(crate) mod scheduler;
pub(crate) mod stateful_set;
pub(crate) mod template;

use jiff::Timestamp;

use crate::objects::Key;
use crate::plan::{Plan, Refusal};
use crate::world::World;

/// The controllers that work on keys. Garbage collection and the deletion of namespaces look at every kind
/// there is and therefore work differently; see [`crate::gc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Controller {
    Scheduler,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    Endpoints,
    LoadBalancer,
    NamespaceDefaults,
}

impl Controller {
    pub(crate) const ALL: [Self; 9] = [
        Self::Scheduler,
        Self::Deployment,
        Self::ReplicaSet,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Job,
        Self::Endpoints,
        Self::LoadBalancer,
        Self::NamespaceDefaults,
    ];

    /// What it is called as the source of events; the names are Kubernetes'.
    pub(crate) fn component(self) -> &'static str {
        match self {
            Self::Scheduler => "default-scheduler",
            Self::Deployment => "deployment-controller",
            Self::ReplicaSet => "replicaset-controller",
            Self::StatefulSet => "statefulset-controller",
            Self::DaemonSet => "daemonset-controller",
            Self::Job => "job-controller",
            Self::Endpoints => "endpoint-slice-controller",
            Self::LoadBalancer => "service-controller",
            Self::NamespaceDefaults => "root-ca-certificate-publisher",
        }
    }

    /// How many keys are worked on at the same time. Addresses are given out one after the other, because two
    /// Services that look at the same picture would choose the same one.
    pub(crate) fn concurrency(self) -> usize {
        if self == Self::LoadBalancer { 1 } else { 16 }
    }

    /// Gathers what the controller looks at and asks it for its plan.
    pub(crate) fn reconcile(self, world: &World, key: &Key, now: Timestamp) -> Plan {
        let caches = &world.caches;
        match self {
            Self::Scheduler => scheduler::gather(caches, key).map(|inputs| scheduler::reconcile(&inputs, now)),
            Self::Deployment => deployment::gather(caches, key).map(|inputs| deployment::reconcile(&inputs, now)),
            Self::ReplicaSet => replica_set::gather(caches, key).map(|inputs| replica_set::reconcile(&inputs, now)),
            Self::StatefulSet => stateful_set::gather(caches, key).map(|inputs| stateful_set::reconcile(&inputs, now)),
            Self::DaemonSet => daemon_set::gather(caches, key).map(|inputs| daemon_set::reconcile(&inputs, now)),
            Self::Job => job::gather(caches, key).map(|inputs| job::reconcile(&inputs, now)),
            Self::Endpoints => Some(endpoints::reconcile(&endpoints::gather(caches, key))),
            Self::LoadBalancer => load_balancer::gather(caches, key)
                .map(|inputs| load_balancer::reconcile(&inputs, world.config.load_balancer_pool)),
            Self::NamespaceDefaults => namespace_defaults::gather(caches, key)
                .map(|inputs| namespace_defaults::reconcile(&inputs, &world.config.root_ca_pem)),
        }
        .unwrap_or_default()
    }

    /// What to tell or to note when writes of a plan were refused.
    pub(crate) fn refused(self, world: &World, key: &Key, refusals: &[Refusal], now: Timestamp) -> Plan {
        match self {
            Self::ReplicaSet => {
                replica_set::gather(&world.caches, key).map(|inputs| replica_set::refused(&inputs, refusals, now))
            }
            Self::Deployment => {
                deployment::gather(&world.caches, key).map(|inputs| deployment::refused(&inputs, refusals))
            }
            Self::StatefulSet => {
                stateful_set::gather(&world.caches, key).map(|inputs| pods::refused(&*inputs.set, refusals))
            }
            Self::DaemonSet => {
                daemon_set::gather(&world.caches, key).map(|inputs| pods::refused(&*inputs.set, refusals))
            }
            Self::Job => job::gather(&world.caches, key).map(|inputs| pods::refused(&*inputs.job, refusals)),
            _ => None,
        }
        .unwrap_or_default()
    }
}

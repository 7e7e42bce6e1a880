//! How a registered cluster is, as its KubernetesCluster and the admin API tell it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mesh_types::hub::Kind;
use mesh_types::hub::cluster::KubernetesClusterStatus;
use mesh_types::hub::status::{Condition, State};
use serde::Serialize;
use tokio::sync::watch;

use super::session::Registration;
use crate::kinds::Key;
use crate::metrics::Metrics;
use crate::status::StatusWriter;

/// How a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// There is no kubeconfig that could be used, for the reason.
    Unregistered(String),
    /// Its API server does not answer, for the reason.
    Unreachable(String),
    /// It answers, and is being read for the first time.
    Reading,
    /// It answers.
    Answers {
        /// Kinds that cannot be read, and why.
        blind: BTreeMap<String, String>,
        /// The mesh that was found in it.
        mesh: Option<String>,
    },
}

impl Health {
    /// Why it is not well; empty where it is.
    pub fn reason(&self) -> String {
        match self {
            Self::Unregistered(reason) | Self::Unreachable(reason) => reason.clone(),
            Self::Reading | Self::Answers { .. } => String::new(),
        }
    }
}

/// A cluster as the admin API tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo {
    /// `ACTIVE` while its API server answers.
    pub state: State,
    /// Why it is not, and what cannot be read in it.
    pub errors: Vec<String>,
    /// The mesh that was found in it.
    pub mesh: Option<String>,
    /// When its token ends, RFC 3339; none for one that is no token of a ServiceAccount.
    pub token_expires: Option<String>,
    /// What the agent's stream says; empty while it runs.
    pub agent: String,
}

/// All registered clusters.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    clusters: Arc<Mutex<BTreeMap<String, ClusterInfo>>>,
}

impl Directory {
    /// All of them as they are now.
    pub fn all(&self) -> BTreeMap<String, ClusterInfo> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known of one; says whether that is another than before.
    pub fn change(&self, cluster: &str, change: impl FnOnce(&mut ClusterInfo)) -> bool {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let info = clusters.entry(cluster.to_owned()).or_default();
        let before = info.clone();
        change(info);
        *info != before
    }

    /// Forgets one.
    pub fn forget(&self, cluster: &str) {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
    }
}

/// Where a session tells how its cluster is.
pub struct Reports {
    /// The cluster.
    pub cluster: String,
    /// Namespace of the hub.
    pub namespace: String,
    /// The registration as it is at the moment.
    pub registration: watch::Receiver<Registration>,
    /// All clusters.
    pub directory: Directory,
    /// Who writes statuses.
    pub statuses: StatusWriter,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// What was told last.
    pub last: Mutex<Option<(Health, i64)>>,
}

impl Reports {
    /// Tells what was told last, about the registration as it is now.
    pub fn repeat(&self) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((health, _)) = last {
            self.health(health);
        }
    }

    /// Tells how the cluster is.
    pub fn health(&self, health: Health) {
        let generation = self.registration.borrow().generation;
        let now = Some((health, generation));
        let before = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        let Some((health, _)) = now.filter(|now| before.as_ref() != Some(now)) else { return };
        let status = status(&self.namespace, generation, &health);
        let mesh = match &health {
            Health::Answers { mesh, .. } => mesh.clone(),
            _ => None,
        };
        let (state, errors) = (status.state, status.errors.clone());
        self.directory.change(&self.cluster, |info| {
            (info.state, info.errors) = (state, errors);
            info.mesh = mesh.or(info.mesh.take());
        });
        self.metrics.connected(&self.cluster, matches!(health, Health::Reading | Health::Answers { .. }));
        if health == Health::Reading {
            // More is to be said in a moment; a status that holds for a moment only would be written for nothing.
            return;
        }
        match serde_json::to_value(&status) {
            Ok(value) => self.statuses.want(Key::new(Kind::KubernetesCluster, &self.namespace, &self.cluster), value),
            Err(error) => tracing::error!(%error, "a status is no JSON"),
        }
    }
}

/// The status of a registration. Its texts do not differ from one look to the next.
pub fn status(namespace: &str, generation: i64, health: &Health) -> KubernetesClusterStatus {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: None,
    };
    let (state, errors, conditions) = match health {
        Health::Unregistered(reason) => {
            (State::Failed, vec![reason.clone()], vec![condition("Connected", "False", "NoKubeconfig", reason)])
        }
        Health::Unreachable(reason) => {
            let error = format!("the API server does not answer: {reason}");
            (State::Failed, vec![error.clone()], vec![condition("Connected", "False", "Unreachable", &error)])
        }
        Health::Reading => (State::Active, Vec::new(), vec![condition("Connected", "True", "Answers", "")]),
        Health::Answers { blind, mesh } => {
            let errors: Vec<_> =
                blind.iter().map(|(kind, reason)| format!("objects of kind {kind} cannot be read: {reason}")).collect();
            let read = match errors.first() {
                Some(error) => condition("Read", "False", "Refused", error),
                None => condition("Read", "True", "Read", ""),
            };
            let discovered = match mesh {
                Some(mesh) => condition("Discovered", "True", "Mesh", mesh),
                None => condition("Discovered", "False", "NoControlPlane", "no control plane of a mesh is found in it"),
            };
            let state = if errors.is_empty() { State::Active } else { State::Failed };
            (state, errors, vec![condition("Connected", "True", "Answers", ""), read, discovered])
        }
    };
    KubernetesClusterStatus {
        observed_generation: generation,
        state,
        errors,
        namespace: namespace.to_owned(),
        conditions,
    }
}

//! What the node agent knows about a pod it runs: plain data, kept by the pod's tasks, read by the status.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

/// The observed state of a pod.
#[derive(Clone, Debug)]
pub(in crate::kubelet) struct Observed {
    /// When the agent first saw the pod.
    pub(in crate::kubelet) start_time: Timestamp,
    /// Its address, once it has one.
    pub(in crate::kubelet) ip: Option<Ipv4Addr>,
    /// Init containers in the order of the spec.
    pub(in crate::kubelet) init: Vec<Record>,
    /// Containers in the order of the spec.
    pub(in crate::kubelet) main: Vec<Record>,
    /// Why the whole pod has failed, if not by its containers.
    pub(in crate::kubelet) failure: Option<Failure>,
}

/// A reason and a message for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubelet) struct Failure {
    pub(in crate::kubelet) reason: String,
    pub(in crate::kubelet) message: String,
}

impl Failure {
    pub(in crate::kubelet) fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

/// The observed state of one container.
#[derive(Clone, Debug)]
pub(in crate::kubelet) struct Record {
    pub(in crate::kubelet) name: String,
    pub(in crate::kubelet) image: String,
    pub(in crate::kubelet) container_id: Option<String>,
    pub(in crate::kubelet) state: State,
    pub(in crate::kubelet) last: Option<Ended>,
    pub(in crate::kubelet) restarts: i32,
    pub(in crate::kubelet) started: bool,
    pub(in crate::kubelet) ready: bool,
    /// An init container with `restartPolicy: Always`, which runs beside the others.
    pub(in crate::kubelet) is_sidecar: bool,
}

/// The three states of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubelet) enum State {
    /// Not running, for a reason.
    Waiting(Failure),
    /// Running since then.
    Running(Timestamp),
    /// Ended.
    Ended(Ended),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubelet) struct Ended {
    pub(in crate::kubelet) code: i32,
    pub(in crate::kubelet) signal: Option<i32>,
    pub(in crate::kubelet) reason: String,
    pub(in crate::kubelet) message: Option<String>,
    pub(in crate::kubelet) started_at: Timestamp,
    pub(in crate::kubelet) finished_at: Timestamp,
    pub(in crate::kubelet) container_id: Option<String>,
}

impl Observed {
    /// A pod of which nothing runs yet.
    pub(in crate::kubelet) fn new(pod: &Pod, now: Timestamp) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let has_init = spec.init_containers.as_ref().is_some_and(|init| !init.is_empty());
        let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
        Self {
            start_time: now,
            ip: None,
            init: spec.init_containers.iter().flatten().map(|c| Record::new(c, "PodInitializing")).collect(),
            main: spec.containers.iter().map(|c| Record::new(c, reason)).collect(),
            failure: None,
        }
    }

    /// All containers, init containers first.
    pub(in crate::kubelet) fn records(&self) -> impl Iterator<Item = &Record> {
        self.init.iter().chain(&self.main)
    }

    /// The container of this name.
    pub(in crate::kubelet) fn record_mut(&mut self, name: &str) -> Option<&mut Record> {
        self.init.iter_mut().chain(&mut self.main).find(|record| record.name == name)
    }

    /// Whether init containers have all done their part.
    pub(in crate::kubelet) fn is_initialized(&self) -> bool {
        self.init.iter().all(Record::has_initialized)
    }
}

impl Record {
    fn new(container: &Container, reason: &str) -> Self {
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            container_id: None,
            state: State::Waiting(Failure::new(reason, "")),
            last: None,
            restarts: 0,
            started: false,
            ready: false,
            is_sidecar: is_sidecar(container),
        }
    }

    pub(in crate::kubelet) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    pub(in crate::kubelet) fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    fn has_initialized(&self) -> bool {
        if self.is_sidecar { self.started } else { self.ended().is_some_and(|ended| ended.code == 0) }
    }
}

/// Whether an init container runs beside the others.
pub(in crate::kubelet) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

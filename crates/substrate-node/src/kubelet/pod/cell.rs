//! What the tasks of one pod share: its object, what is observed of it, its network, its running containers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as PodContainer, ObjectReference, Pod};
use substrate_events::reference_to;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::observed::{Observed, Record};
use crate::fabric::PodNetwork;
use crate::kubelet::context::NodeContext;
use crate::kubelet::volumes::Volumes;
use crate::runtime::Container;

/// See the module.
pub(in crate::kubelet) struct PodCell {
    pub(in crate::kubelet) context: Arc<NodeContext>,
    pub(in crate::kubelet) namespace: String,
    pub(in crate::kubelet) name: String,
    pub(in crate::kubelet) uid: String,
    /// The newest state of the object.
    pub(super) object: watch::Sender<Arc<Pod>>,
    /// Fires when the object no longer exists.
    pub(in crate::kubelet) gone: CancellationToken,
    observed: Mutex<Observed>,
    pub(super) changed: Notify,
    instances: Mutex<BTreeMap<String, Container>>,
    pub(super) network: Mutex<Option<Arc<PodNetwork>>>,
    pub(super) volumes: tokio::sync::Mutex<Option<Volumes>>,
}

impl PodCell {
    pub(in crate::kubelet) fn new(context: Arc<NodeContext>, pod: Arc<Pod>) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
            observed: Mutex::new(Observed::new(&pod, Timestamp::now())),
            object: watch::Sender::new(pod),
            gone: CancellationToken::new(),
            changed: Notify::new(),
            instances: Mutex::default(),
            network: Mutex::default(),
            volumes: tokio::sync::Mutex::default(),
            context,
        }
    }

    /// The newest state of the object.
    pub(in crate::kubelet) fn pod(&self) -> Arc<Pod> {
        self.object.borrow().clone()
    }

    /// Takes note of a state of the object, unless a newer one is known.
    pub(in crate::kubelet) fn update_object(&self, pod: Arc<Pod>) {
        let version =
            |pod: &Pod| pod.metadata.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
        self.object.send_if_modified(|known| {
            let is_newer = version(&pod) > version(known) || version(&pod).is_none();
            if is_newer {
                *known = pod;
            }
            is_newer
        });
    }

    /// A copy of what is observed.
    pub(in crate::kubelet) fn observed(&self) -> Observed {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is observed, without telling the API server yet.
    pub(super) fn note(&self, change: impl FnOnce(&mut Observed)) {
        change(&mut self.observed.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Changes what is observed, and has the status written.
    pub(super) fn update(&self, change: impl FnOnce(&mut Observed)) {
        self.note(change);
        self.changed.notify_one();
    }

    /// Changes the record of one container, and has the status written.
    pub(super) fn update_container(&self, name: &str, change: impl FnOnce(&mut Record)) {
        self.update(|observed| {
            if let Some(record) = observed.record_mut(name) {
                change(record);
            }
        });
    }

    /// The container of this name that runs at present, or ran last.
    pub(in crate::kubelet) fn instance(&self, container: &str) -> Option<Container> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).get(container).cloned()
    }

    pub(super) fn set_instance(&self, container: &str, instance: Container) {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).insert(container.to_owned(), instance);
    }

    /// The pod's network, while it has one.
    pub(in crate::kubelet) fn network(&self) -> Option<Arc<PodNetwork>> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log of a container after so many restarts.
    pub(in crate::kubelet) fn log_file(&self, container: &str, restarts: i32) -> PathBuf {
        let pod = format!("{}_{}_{}", self.namespace, self.name, self.uid);
        self.context.log_directory.join(pod).join(container).join(format!("{restarts}.log"))
    }

    /// The directory of the pod's volumes and other files.
    pub(super) fn directory(&self) -> PathBuf {
        self.context.volumes_directory.join(&self.uid)
    }

    /// Name of the pod in messages, as Kubernetes writes it.
    pub(super) fn full_name(&self) -> String {
        format!("{}_{}({})", self.name, self.namespace, self.uid)
    }

    /// Records an event about the pod.
    pub(super) fn warn(&self, reason: &str, message: impl Into<String>) {
        self.context.recorder.warning(reference_to(&*self.pod()), reason, message);
    }

    /// The reference for events about one container.
    pub(super) fn container_reference(&self, container: &PodContainer) -> ObjectReference {
        let pod = self.pod();
        let mut inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let list = if inits.any(|init| init.name == container.name) { "initContainers" } else { "containers" };
        ObjectReference { field_path: Some(format!("spec.{list}{{{}}}", container.name)), ..reference_to(&*pod) }
    }
}

//! The node agent as a whole: watches the pods that are bound to its node and keeps one task for each.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use substrate_api::{NodeError, PodRef};
use substrate_events::EventRecorder;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::context::{ConfigKind, ConfigRef, NodeContext};
use super::images::ImageTable;
use super::node::{self, NodeFacts};
use super::pod::{self, PodCell};
use crate::fabric::ClusterNetwork;

/// How many changes of configuration a pod may lag behind before it just looks at everything again.
const CONFIG_CHANGES: usize = 256;

/// What a node agent is started with.
pub struct NodeConfig {
    /// A client that may do what a node does: read pods and configuration, write statuses, request tokens.
    pub client: Client,
    /// The network of the node's cluster.
    pub network: Arc<ClusterNetwork>,
    /// What images stand for.
    pub images: ImageTable,
    /// Name of the Node object.
    pub node_name: String,
    /// Labels of the Node object besides the usual ones, such as `topology.kubernetes.io/region`.
    pub node_labels: BTreeMap<String, String>,
    /// Directory for volumes; should be in memory, since Secrets are written there.
    pub volumes_directory: PathBuf,
    /// Directory for logs of containers.
    pub log_directory: PathBuf,
    /// Address of the cluster's name server.
    pub cluster_dns: Ipv4Addr,
}

/// Why a node agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeAgentError {
    /// The node could not be made known to the API server.
    #[error("the node \"{node}\" could not be registered")]
    Register {
        /// Name of the node.
        node: String,
        /// What the API server, or the way to it, had to say.
        #[source]
        source: Box<kube::Error>,
    },
}

/// See the module. Dropping it ends its watches; pods that run go on until the supervisor ends.
pub struct NodeAgent {
    pods: Arc<Mutex<BTreeMap<String, Arc<PodCell>>>>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl NodeAgent {
    /// Registers the node and begins to run its pods.
    ///
    /// # Errors
    /// See [`NodeAgentError`].
    pub async fn start(config: NodeConfig) -> Result<Arc<Self>, NodeAgentError> {
        let facts = NodeFacts {
            name: config.node_name.clone(),
            labels: config.node_labels.clone(),
            address: config.network.node_address(),
            machine: node::machine(),
            kernel: node::kernel(),
        };
        let registered = node::register(&config.client, &facts)
            .await
            .map_err(|source| NodeAgentError::Register { node: config.node_name.clone(), source: Box::new(source) })?;
        let client = config.client.clone();
        let context = Arc::new(context(config, &facts));
        let pods = Arc::new(Mutex::new(BTreeMap::new()));
        let (services_known, known) = watch::channel(false);
        let tasks = vec![
            spawn(node::keep_lease(client, registered)),
            spawn(watch_services(context.clone(), services_known)),
            spawn(watch_config::<ConfigMap>(context.clone(), ConfigKind::ConfigMap)),
            spawn(watch_config::<Secret>(context.clone(), ConfigKind::Secret)),
            spawn(watch_pods(context, pods.clone(), known)),
        ];
        Ok(Arc::new(Self { pods, _tasks: tasks }))
    }

    /// The pod of this name and uid.
    pub(super) fn find(&self, pod: &PodRef) -> Result<Arc<PodCell>, NodeError> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = pods.get(&pod.uid).cloned();
        cell.ok_or_else(|| {
            NodeError::NotFound(format!("pod {}/{} does not run on this node (yet)", pod.namespace, pod.name))
        })
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

fn context(config: NodeConfig, facts: &NodeFacts) -> NodeContext {
    let recorder =
        EventRecorder::start(config.client.clone(), "kubelet", Some(&config.node_name), CancellationToken::new());
    NodeContext {
        client: config.client,
        network: config.network,
        images: config.images,
        recorder,
        node_name: config.node_name,
        cluster_dns: config.cluster_dns,
        volumes_directory: config.volumes_directory,
        log_directory: config.log_directory,
        host_resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        machine: facts.machine,
        services: RwLock::default(),
        config_changes: broadcast::Sender::new(CONFIG_CHANGES),
    }
}

async fn watch_services(context: Arc<NodeContext>, known: watch::Sender<bool>) {
    let key = |service: &Service| (service.namespace().unwrap_or_default(), service.name_any());
    let events =
        watch_objects(Api::<Service>::all(context.client.clone()), watcher::Config::default()).default_backoff();
    let mut events = events.boxed();
    let mut listed = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(service)) => drop(listed.insert(key(&service), Arc::new(service))),
            Ok(Event::InitDone) => {
                *context.services.write().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut listed);
                known.send_replace(true);
            }
            Ok(Event::Apply(service)) => {
                let mut services = context.services.write().unwrap_or_else(PoisonError::into_inner);
                services.insert(key(&service), Arc::new(service));
            }
            Ok(Event::Delete(service)) => {
                context.services.write().unwrap_or_else(PoisonError::into_inner).remove(&key(&service));
            }
            Err(error) => tracing::debug!(%error, "the watch of services is being restarted"),
        }
    }
}

/// Tells pods which object of configuration has changed; what it contains, they read themselves.
async fn watch_config<K>(context: Arc<NodeContext>, kind: ConfigKind)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + DeserializeOwned + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(context.client.clone());
    let mut events = watch_objects(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
                // Nobody may be listening, which is fine.
                let _listeners = context.config_changes.send(ConfigRef { kind, namespace, name });
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::debug!(?kind, %error, "a watch of configuration is being restarted"),
        }
    }
}

type Pods = Arc<Mutex<BTreeMap<String, Arc<PodCell>>>>;

async fn watch_pods(context: Arc<NodeContext>, pods: Pods, mut services_known: watch::Receiver<bool>) {
    // Containers are told about Services when they start, so these have to be known first.
    if services_known.wait_for(|known| *known).await.is_err() {
        return;
    }
    let here = watcher::Config::default().fields(&format!("spec.nodeName={}", context.node_name));
    let mut events = watch_objects(Api::<Pod>::all(context.client.clone()), here).default_backoff().boxed();
    let mut listed: Vec<String> = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod)) => apply(&context, &pods, pod),
            Ok(Event::Delete(pod)) => forget(&pods, |uid| Some(uid) == pod.metadata.uid.as_deref()),
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.extend(pod.metadata.uid.clone());
                apply(&context, &pods, pod);
            }
            Ok(Event::InitDone) => forget(&pods, |uid| !listed.iter().any(|listed| listed == uid)),
            Err(error) => tracing::debug!(%error, "the watch of pods is being restarted"),
        }
    }
}

fn apply(context: &Arc<NodeContext>, pods: &Pods, pod: Pod) {
    let Some(uid) = pod.metadata.uid.clone() else { return };
    let pod = Arc::new(pod);
    let mut known = pods.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cell) = known.get(&uid) {
        cell.update_object(pod);
        return;
    }
    let cell = Arc::new(PodCell::new(context.clone(), pod));
    known.insert(uid.clone(), cell.clone());
    let pods = pods.clone();
    tokio::spawn(async move {
        pod::run(cell).await;
        pods.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
    });
}

/// Tells pods whose objects no longer exist.
fn forget(pods: &Pods, is_gone: impl Fn(&str) -> bool) {
    for (uid, cell) in pods.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if is_gone(uid) {
            cell.gone.cancel();
        }
    }
}

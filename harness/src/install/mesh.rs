//! The mesh on one cluster: definitions, trust, control plane, gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::runtime::wait::{await_condition, conditions};
use mesh_types::names;
use serde_json::{Value, json};

use super::diagnosis;
use super::manifest::{self, Placeholders};
use super::remote_secret::ISTIO_SYSTEM;
use crate::cluster::{Cluster, Error as ClusterError};
use crate::topology::{self, Discovery, GatewayKind, Intermediate, RootOfTrust, Topology};
use crate::trust::Root;

/// How long a Deployment may take to become available.
pub const ROLLOUT: Duration = Duration::from_secs(60);

macro_rules! manifest {
    ($path:literal) => {
        (concat!("manifests/", $path), include_str!(concat!("../../../manifests/", $path)))
    };
}

/// Definitions of the mesh's kinds, generated from `mesh-types`.
pub(super) const DEFINITIONS: &[(&str, &str)] = &[
    manifest!("crds/authorizationpolicies.yaml"),
    manifest!("crds/destinationrules.yaml"),
    manifest!("crds/gateways.yaml"),
    manifest!("crds/peerauthentications.yaml"),
    manifest!("crds/serviceentries.yaml"),
    manifest!("crds/virtualservices.yaml"),
    manifest!("crds/workloadentries.yaml"),
    manifest!("crds/workloadgroups.yaml"),
];
/// The control plane, in the order in which its parts need each other.
const CONTROL_PLANE: &[(&str, &str)] = &[
    manifest!("istio/10-rbac.yaml"),
    manifest!("istio/11-reader.yaml"),
    manifest!("istio/20-istiod.yaml"),
    manifest!("istio/30-webhooks.yaml"),
];
const INGRESS: &[(&str, &str)] = &[manifest!("istio/40-ingressgateway.yaml")];
const EAST_WEST: &[(&str, &str)] = &[manifest!("istio/41-eastwestgateway.yaml")];
/// How machines and clusters without a control plane of their own reach that of this one.
const EXPOSE_CONTROL_PLANE: &[(&str, &str)] = &[manifest!("istio/51-expose-istiod.yaml")];
/// What control planes that read each other reach each other's services by. A hub writes Gateways of its own.
const EXPOSE: &[(&str, &str)] = &[manifest!("istio/50-expose-services.yaml")];

/// The mesh or an application could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest of ours is broken.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The cluster refused.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The webhooks do not answer although the control plane is ready.
    #[error("{cluster}: {source}")]
    Silent {
        /// Cluster.
        cluster: String,
        /// What was awaited and seen.
        #[source]
        source: eventually::TimedOut,
    },
    /// The cluster could not be asked about the webhooks.
    #[error("{cluster}: cannot watch the webhooks")]
    Watch {
        /// Cluster.
        cluster: String,
        /// Cause.
        #[source]
        source: Box<kube::runtime::wait::Error>,
    },
    /// The webhooks were not set up by the control plane.
    #[error("{cluster}: the control plane has not signed its webhooks after {} s", ROLLOUT.as_secs())]
    Webhooks {
        /// Cluster.
        cluster: String,
    },
    /// Certificates could not be made.
    #[error("cannot generate the mesh's certificates")]
    Trust(#[from] rcgen::Error),
    /// The gateway of a primary has no address, so its remotes cannot reach the control plane.
    #[error("{cluster}: Service {service} has no address after {} s", ROLLOUT.as_secs())]
    NoAddress {
        /// Cluster.
        cluster: String,
        /// Namespace and name.
        service: String,
    },
    /// A Deployment did not become available.
    #[error("{cluster}: Deployment {name} is not available after {} s: {last}", waited.as_secs())]
    Rollout {
        /// Cluster.
        cluster: String,
        /// Namespace and name.
        name: String,
        /// For how long it was waited for; less than [`ROLLOUT`] where there was no hope left.
        waited: Duration,
        /// What its pods said last.
        last: String,
    },
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Rollout { .. } | Self::Webhooks { .. } | Self::Silent { .. } => Some(
                "the logs of its containers say more: in the folder `logs` of the reports, or by `meshproof logs`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Waits until a Deployment is completely rolled out, or its pods can no longer be expected to become ready.
///
/// # Errors
/// [`Error::Rollout`] with what the pods last said.
pub async fn rolled_out(cluster: &Cluster, namespace: &str, name: &str) -> Result<(), Error> {
    let began = tokio::time::Instant::now();
    let api: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let done = await_condition(api, name, conditions::is_deployment_completed());
    let last = tokio::select! {
        done = tokio::time::timeout(ROLLOUT, done) => match done {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => crate::cluster::chain(&error),
            Err(_elapsed) => diagnosis::why_not_ready(cluster, namespace, name).await,
        },
        () = diagnosis::hopeless(cluster, namespace, name) => diagnosis::why_not_ready(cluster, namespace, name).await,
    };
    let name = format!("{namespace}/{name}");
    Err(Error::Rollout { cluster: cluster.name().to_owned(), name, waited: began.elapsed(), last })
}

/// The namespace of the control plane on a cluster of that network, and the cluster's own authority, where it is given one: what must
/// exist before anything else.
#[must_use]
pub fn authority_objects(network: &str, authority: Option<&BTreeMap<String, String>>) -> Vec<Value> {
    [namespace(network, None)].into_iter().chain(authority.map(cacerts)).collect()
}

/// The kinds and the control plane of the embedded mesh, in the order in which they are applied.
///
/// # Errors
/// [`Error::Manifest`] where a manifest of ours is broken.
pub fn control_plane_objects(placeholders: &Placeholders) -> Result<Vec<Value>, Error> {
    rendered(DEFINITIONS.iter().chain(CONTROL_PLANE), placeholders)
}

/// The gateways of the embedded mesh, and what they let through.
///
/// # Errors
/// [`Error::Manifest`] where a manifest of ours is broken.
pub fn gateway_objects(cluster: &str, topology: &Topology, placeholders: &Placeholders) -> Result<Vec<Value>, Error> {
    let gateways = topology.mesh.gateways.iter().flat_map(|gateway| gateway_manifests(*gateway));
    rendered(gateways.chain(&exposed(cluster, topology)), placeholders)
}

/// What the gateways of a mesh let through that somebody else's charts installed.
///
/// # Errors
/// [`Error::Manifest`] where a manifest of ours is broken.
pub fn exposed_objects(cluster: &str, topology: &Topology, placeholders: &Placeholders) -> Result<Vec<Value>, Error> {
    rendered(&exposed(cluster, topology), placeholders)
}

pub(super) fn rendered<'all>(
    manifests: impl IntoIterator<Item = &'all (&'static str, &'static str)>,
    placeholders: &Placeholders,
) -> Result<Vec<Value>, Error> {
    let mut objects = Vec::new();
    for (file, text) in manifests {
        objects.extend(manifest::render(file, text, placeholders)?);
    }
    Ok(objects)
}

fn gateway_manifests(gateway: GatewayKind) -> &'static [(&'static str, &'static str)] {
    match gateway {
        GatewayKind::Ingress => INGRESS,
        GatewayKind::Eastwest => EAST_WEST,
    }
}

/// What the east-west gateway of a cluster with a control plane lets through besides.
fn exposed(cluster: &str, topology: &Topology) -> Vec<(&'static str, &'static str)> {
    let is_primary = topology.primaries().any(|primary| primary.name == cluster);
    if !is_primary || !topology.mesh.gateways.contains(&GatewayKind::Eastwest) {
        return Vec::new();
    }
    let services = if topology.discovery == Discovery::Hub { &[] } else { EXPOSE };
    [EXPOSE_CONTROL_PLANE, services].concat()
}

/// Waits until the mesh that is there is complete: the control plane and the gateways that a topology has.
///
/// # Errors
/// [`Error::Rollout`] for the first that is not available.
pub async fn present(cluster: &Cluster, topology: &Topology) -> Result<(), Error> {
    rolled_out(cluster, ISTIO_SYSTEM, "istiod").await?;
    let gateways = topology.mesh.gateways.iter();
    let waits = gateways.map(|gateway| rolled_out(cluster, ISTIO_SYSTEM, gateway.deployment()));
    futures::future::try_join_all(waits).await.map(drop)
}

/// Applies the control plane and waits until it can inject, validate and serve.
///
/// # Errors
/// [`Error`].
pub async fn install_control_plane(cluster: &Cluster, objects: &[Value]) -> Result<(), Error> {
    cluster.apply_all(objects).await?;
    tokio::try_join!(rolled_out(cluster, ISTIO_SYSTEM, "istiod"), webhooks_signed(cluster))?;
    webhooks_answer(cluster).await
}

/// Waits until both webhooks are reached, by objects that are not stored. That istiod's pod is ready is known before the
/// node's rules lead to it, and an object that is applied in between would be refused for good.
async fn webhooks_answer(cluster: &Cluster) -> Result<(), Error> {
    let validated = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": { "name": "meshproof-admission", "namespace": ISTIO_SYSTEM }, "spec": {},
    });
    tokio::try_join!(answers(cluster, &validated), injects(cluster)).map(drop)
}

/// Waits until the webhook for injection is reached.
pub(super) async fn injects(cluster: &Cluster) -> Result<(), Error> {
    let injected = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "meshproof-admission", "namespace": ISTIO_SYSTEM, "labels": { "sidecar.istio.io/inject": "true" },
        },
        "spec": { "containers": [{ "name": "none", "image": "none" }] },
    });
    answers(cluster, &injected).await
}

async fn answers(cluster: &Cluster, object: &Value) -> Result<(), Error> {
    let what = format!("the webhooks of {} to answer", cluster.name());
    eventually::poll(what, ROLLOUT, Duration::from_millis(20), async || {
        cluster.would_apply(object).await.map_err(|error| crate::cluster::chain(&error))
    })
    .await
    .map_err(|source| Error::Silent { cluster: cluster.name().to_owned(), source })
}

/// Applies gateways and waits until they are ready. Returns how many.
///
/// # Errors
/// [`Error`].
pub async fn install_gateways(cluster: &Cluster, topology: &Topology, objects: &[Value]) -> Result<usize, Error> {
    cluster.apply_all(objects).await?;
    let gateways = &topology.mesh.gateways;
    let waits = gateways.iter().map(|gateway| rolled_out(cluster, ISTIO_SYSTEM, gateway.deployment()));
    futures::future::try_join_all(waits).await?;
    Ok(gateways.len())
}

/// Pods that ask for a proxy are refused until the injector's certificate is known to the API server.
pub(super) async fn webhooks_signed(cluster: &Cluster) -> Result<(), Error> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    let signed = |configuration: Option<&MutatingWebhookConfiguration>| {
        let webhooks = configuration.and_then(|configuration| configuration.webhooks.as_ref());
        webhooks.is_some_and(|webhooks| webhooks.iter().all(|webhook| webhook.client_config.ca_bundle.is_some()))
    };
    let done = await_condition(api, "istio-sidecar-injector", signed);
    let cluster = cluster.name().to_owned();
    match tokio::time::timeout(ROLLOUT, done).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(source)) => Err(Error::Watch { cluster, source: Box::new(source) }),
        Err(_elapsed) => Err(Error::Webhooks { cluster }),
    }
}

/// The certificate authority of every cluster, as the topology wants trust to be: data of the secret `cacerts` by cluster. None
/// where the management plane brings them.
///
/// # Errors
/// [`Error::Trust`].
pub fn authorities(topology: &Topology) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    let shared = Root::generate(&topology.mesh.id)?;
    let mut authorities = BTreeMap::new();
    for cluster in topology.primaries().filter(|_| !topology.trust_is_managed()) {
        let own;
        let root = match topology.trust.root {
            RootOfTrust::Shared => &shared,
            RootOfTrust::PerCluster => {
                own = Root::generate(&cluster.name)?;
                &own
            }
        };
        let data = match topology.trust.intermediate {
            Intermediate::PerCluster => root.intermediate(&cluster.name)?,
            Intermediate::None => root.without_intermediate(),
        };
        authorities.insert(cluster.name.clone(), data);
    }
    Ok(authorities)
}

/// The namespace of the mesh, which says what network its cluster is on and, where another one's control plane serves it, which.
pub(super) fn namespace(network: &str, primary: Option<&str>) -> Value {
    let mut namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": ISTIO_SYSTEM,
            "labels": { "topology.istio.io/network": network },
        },
    });
    if let Some(primary) = primary {
        namespace["metadata"]["annotations"] = json!({ names::ANNOTATION_CONTROL_PLANE_CLUSTERS: primary });
    }
    namespace
}

fn cacerts(authority: &BTreeMap<String, String>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": "cacerts", "namespace": ISTIO_SYSTEM },
        "stringData": authority,
    })
}

/// Values that the mesh's manifests leave open.
#[must_use]
pub fn placeholders(cluster: &Cluster, topology: &Topology) -> Placeholders {
    let known = topology.cluster(cluster.name()).expect("invariant: the clusters of an environment are its topology's");
    placeholders_of(known, topology)
}

/// The same for a cluster that is only planned.
#[must_use]
pub fn placeholders_of(cluster: &topology::Cluster, topology: &Topology) -> Placeholders {
    let own = topology.trust_domain(&cluster.name);
    // Control planes that read each other's clusters take each other's workloads for their own. Below a management plane each
    // mesh keeps its name, so that policies can tell who calls.
    let others: Vec<&str> = topology.trust_domains().into_iter().filter(|domain| *domain != own).collect();
    let joined = topology.discovery == Discovery::Hub;
    Placeholders::from([
        ("CLUSTER_NAME", cluster.name.clone()),
        ("NETWORK", cluster.network.clone()),
        ("MESH_ID", topology.mesh.id.clone()),
        ("TRUST_DOMAIN", own.to_owned()),
        ("TRUST_DOMAIN_ALIASES", if joined { String::new() } else { others.join(",") }),
        ("ANY_TRUST_DOMAIN", (joined && !others.is_empty()).to_string()),
        ("PROXY_METADATA", proxy_metadata(topology).to_string()),
        ("INJECTION_PATH", injection_path(cluster)),
    ])
}

/// A control plane that serves several clusters is told by the path which of them a pod is of.
fn injection_path(cluster: &topology::Cluster) -> String {
    match &cluster.control_plane {
        Some(_) => format!("/inject/cluster/{}/net/{}", cluster.name, cluster.network),
        None => "/inject".to_owned(),
    }
}

/// Hosts that a hub makes up are resolved beside the applications: no cluster's DNS knows them.
fn proxy_metadata(topology: &Topology) -> Value {
    if topology.discovery == Discovery::Hub { json!({ "ISTIO_META_DNS_CAPTURE": "true" }) } else { json!({}) }
}

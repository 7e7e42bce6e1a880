//! The mesh on one cluster: definitions, trust, control plane, gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::runtime::wait::{await_condition, conditions};
use serde_json::{Value, json};

use super::manifest::{self, Placeholders};
use super::remote_secret::ISTIO_SYSTEM;
use crate::cluster::{Cluster, Error as ClusterError};
use crate::topology::{Intermediate, RootOfTrust, Topology};
use crate::trust::Root;

/// How long a Deployment may take to become available.
pub const ROLLOUT: Duration = Duration::from_secs(60);

/// The mesh or an application could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest of ours is broken.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The cluster refused.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Certificates could not be made.
    #[error("cannot generate the mesh's certificates")]
    Trust(#[from] rcgen::Error),
    /// A Deployment did not become available.
    #[error("{cluster}: Deployment {name} is not available after {} s: {last}", ROLLOUT.as_secs())]
    Rollout {
        /// Cluster.
        cluster: String,
        /// Namespace and name.
        name: String,
        /// What its pods said last.
        last: String,
    },
}

/// Waits until a Deployment is completely rolled out.
///
/// # Errors
/// [`Error::Rollout`] with what the pods last said.
pub async fn rolled_out(cluster: &Cluster, namespace: &str, name: &str) -> Result<(), Error> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let done = await_condition(api, name, conditions::is_deployment_completed());
    match tokio::time::timeout(ROLLOUT, done).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(rollout(cluster, namespace, name, crate::cluster::chain(&error))),
        Err(_elapsed) => {
            let last = super::diagnosis::why_not_ready(cluster, namespace, name).await;
            Err(rollout(cluster, namespace, name, last))
        }
    }
}

fn rollout(cluster: &Cluster, namespace: &str, name: &str, last: String) -> Error {
    Error::Rollout { cluster: cluster.name().to_owned(), name: format!("{namespace}/{name}"), last }
}

/// The namespace of the control plane and the cluster's own authority: what must exist before anything else.
///
/// # Errors
/// [`Error`].
pub async fn prepare(cluster: &Cluster, authority: &BTreeMap<String, String>) -> Result<(), Error> {
    cluster.apply(&namespace(cluster)).await?;
    cluster.apply(&cacerts(authority)).await?;
    Ok(())
}

/// The certificate authority of every cluster, as the topology wants trust to be: data of the secret `cacerts` by cluster.
///
/// # Errors
/// [`Error::Trust`].
pub fn authorities(topology: &Topology) -> Result<BTreeMap<String, BTreeMap<String, String>>, Error> {
    let shared = Root::generate(&topology.mesh.id)?;
    let mut authorities = BTreeMap::new();
    for cluster in &topology.clusters {
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

fn namespace(cluster: &Cluster) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": ISTIO_SYSTEM,
            "labels": { "topology.istio.io/network": cluster.network() },
        },
    })
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
pub fn placeholders(cluster: &Cluster, mesh_id: &str, trust_domain: &str) -> Placeholders {
    Placeholders::from([
        ("CLUSTER_NAME", cluster.name().to_owned()),
        ("NETWORK", cluster.network().to_owned()),
        ("MESH_ID", mesh_id.to_owned()),
        ("TRUST_DOMAIN", trust_domain.to_owned()),
    ])
}

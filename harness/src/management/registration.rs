//! Registers a cluster with the management plane: looks first, then makes the agent and the manager's account there, and tells
//! the management cluster. Doing it again changes nothing but the token, which is a new one.

use std::time::Duration;

use base64::Engine as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use mesh_types::hub::{Kind, names};
use serde_json::{Value, json};

use super::resources::{self, text};
use super::target::Target;
use super::{Error, table};
use crate::cluster::Cluster;
use crate::install::{credential, hub, mesh};
use crate::topology::validate::dns_label;

/// How long the manager may take to reach a cluster that was registered.
pub const REACH: Duration = Duration::from_secs(60);
/// How often one looks whether it has.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Registers `target` under a name. Returns once the agent is ready and the objects are there; whether the manager reaches the
/// cluster is another question, see [`reached`].
///
/// # Errors
/// As [`announce`], and where the agent does not become ready.
pub async fn register(management: &Cluster, target: &Target, name: &str) -> Result<(), Error> {
    announce(management, target, name).await?;
    Ok(mesh::rolled_out(&target.cluster, names::NAMESPACE, names::AGENT).await?)
}

/// Makes everything that a registration consists of, and waits for nothing.
///
/// # Errors
/// [`Error::Refused`] where something stands in the way, before anything was changed; otherwise what did not work.
pub async fn announce(management: &Cluster, target: &Target, name: &str) -> Result<(), Error> {
    let mesh_namespace = look(management, target, name).await?;
    let cluster = &target.cluster;
    for object in hub::registered(name, &mesh_namespace)? {
        if is_to_be_applied(cluster, &object, name).await? {
            cluster.apply(&object).await?;
        }
    }
    renew(management, target, name).await
}

/// Tells the management cluster of a cluster where the manager's account is there, with a new token.
///
/// # Errors
/// Where the cluster issues none, or the management cluster does not take it.
pub async fn renew(management: &Cluster, target: &Target, name: &str) -> Result<(), Error> {
    let account = names::REMOTE_ACCOUNT;
    let cluster = &target.cluster;
    let token = credential::token(cluster, names::NAMESPACE, account, names::TOKEN_SECONDS).await?;
    let kubeconfig = credential::kubeconfig(name, &target.endpoint, &token);
    management.apply(&secret(name, &kubeconfig)).await?;
    management.apply(&registration(name, &identity(cluster).await?)).await?;
    Ok(())
}

/// Waits until the manager has reached a registered cluster and found its mesh.
///
/// # Errors
/// [`Error::Late`] with what the KubernetesCluster said last.
pub async fn reached(management: &Cluster, name: &str, deadline: Duration) -> Result<String, Error> {
    let what = format!("the management plane to reach cluster {name} and to find its mesh");
    let look = async || {
        let cluster =
            management.get(&resources::registered(name)).await.map_err(|error| crate::cluster::chain(&error))?;
        let Some(cluster) = cluster else { return Err(format!("KubernetesCluster {name} is gone")) };
        let status = &cluster.data["status"];
        if text(status, "/state") != "ACTIVE" {
            let state = table::or_dash(&text(status, "/state"));
            return Err(format!("its state is {state} {}", table::sentence(&status["errors"])));
        }
        let meshes = resources::list(management, Kind::Mesh).await.map_err(|error| crate::cluster::chain(&error))?;
        let here = |mesh: &&Value| text(mesh, "/spec/istio/installation/cluster") == name;
        let found = meshes.iter().find(here).ok_or("its API server answers; no mesh was found yet")?;
        Ok(text(found, "/metadata/name"))
    };
    eventually::poll(what, deadline, LOOK, look).await.map_err(|source| Error::Late {
        source,
        cure: "look at `meshproof mesh check`; where the address is not reached from the management cluster, register again \
               with --api-server-address"
            .to_owned(),
    })
}

/// Looks for all that can be known before something is changed. Returns the namespace of the cluster's control plane.
async fn look(management: &Cluster, target: &Target, name: &str) -> Result<String, Error> {
    dns_label(name).map_err(|help| Error::refused(format!("`{name}` is no valid name of a cluster"), help))?;
    let (clusters, identity, own) = futures::future::try_join3(
        resources::list(management, Kind::KubernetesCluster),
        identity(&target.cluster),
        identity(management),
    )
    .await?;
    not_taken(&clusters, name, &identity)?;
    let server = &target.endpoint.server;
    if credential::is_loopback(server) && identity != own {
        return Err(Error::refused(
            format!("the API server of {name} is known as {server}, which the management cluster cannot reach"),
            "say by --api-server-address which address the management cluster reaches it at",
        ));
    }
    let mesh_namespace = mesh_namespace(&target.cluster, name).await?;
    Ok(mesh_namespace)
}

/// One name for a cluster, and one cluster for a name.
fn not_taken(clusters: &[Value], name: &str, identity: &str) -> Result<(), Error> {
    for cluster in clusters {
        let other = text(cluster, "/metadata/name");
        let known = cluster["metadata"]["annotations"][names::ANNOTATION_IDENTITY].as_str().unwrap_or_default();
        if other == name && !known.is_empty() && known != identity {
            return Err(Error::refused(
                format!("another cluster is registered as {name}"),
                format!("choose another name, or take the other one away by `meshproof mesh deregister {name}`"),
            ));
        }
        if other != name && known == identity {
            return Err(Error::refused(
                format!("this cluster is registered already, as {other}"),
                format!("use that name, or take it away first by `meshproof mesh deregister {other}`"),
            ));
        }
    }
    Ok(())
}

/// What tells a cluster from every other, whatever it is called.
pub(super) async fn identity(cluster: &Cluster) -> Result<String, Error> {
    let api: Api<Namespace> = Api::all(cluster.client());
    let found = api.get("kube-system").await;
    let found = found.map_err(|source| cluster.api_error("read namespace kube-system".to_owned(), source))?;
    Ok(found.uid().unwrap_or_default())
}

/// The namespace of the control plane; without one there is nothing to manage.
async fn mesh_namespace(cluster: &Cluster, name: &str) -> Result<String, Error> {
    let api: Api<Deployment> = Api::all(cluster.client());
    let listed = api.list(&ListParams::default().labels("app=istiod")).await;
    let listed = listed.map_err(|source| cluster.api_error("look for a control plane".to_owned(), source))?;
    let mut namespaces: Vec<String> = listed.items.iter().filter_map(kube::ResourceExt::namespace).collect();
    namespaces.sort();
    namespaces.into_iter().next().ok_or_else(|| {
        Error::refused(
            format!("{name} has no mesh: no Deployment there has the label app=istiod"),
            "install Istio, or what behaves like it, before the cluster is registered",
        )
    })
}

/// Whether an object of the registration is to be applied: not where somebody else has the namespace or a definition already,
/// as in a cluster that is the management cluster, too.
async fn is_to_be_applied(cluster: &Cluster, object: &Value, name: &str) -> Result<bool, Error> {
    let Some(there) = cluster.get(object).await? else { return Ok(true) };
    if there.labels().get(names::LABEL_REGISTRATION).is_some_and(|label| label == name) {
        return Ok(true);
    }
    let kind = text(object, "/kind");
    if kind == "Namespace" || kind == "CustomResourceDefinition" {
        return Ok(false);
    }
    let (namespace, object) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    Err(Error::refused(
        format!("{} has a {kind} {namespace}/{object} that this registration did not make", cluster.name()),
        "remove it, if nobody needs it; it is of another registration or of another program",
    ))
}

fn secret(name: &str, kubeconfig: &Value) -> Value {
    let encoded = base64::engine::general_purpose::STANDARD.encode(kubeconfig.to_string());
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": names::KUBECONFIG_SECRET_TYPE,
        "metadata": {
            "name": name, "namespace": names::NAMESPACE,
            "labels": { names::LABEL_REGISTRATION: name },
        },
        "data": { names::KUBECONFIG_KEY: encoded },
    })
}

/// Names the Secret of a registration.
pub(super) fn secret_name(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": names::NAMESPACE } })
}

fn registration(name: &str, identity: &str) -> Value {
    let mut object = resources::registered(name);
    object["metadata"]["annotations"] = json!({ names::ANNOTATION_IDENTITY: identity });
    object["metadata"]["labels"] = json!({ names::LABEL_REGISTRATION: name });
    object["spec"] = json!({ "secretName": name });
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_one_name_and_a_name_one_cluster() {
        let clusters = [registration("east", "1"), registration("west", "2")];
        assert!(not_taken(&clusters, "north", "3").is_ok());
        assert!(not_taken(&clusters, "east", "1").is_ok(), "again");
        let taken = not_taken(&clusters, "east", "3").expect_err("another cluster");
        assert_eq!(taken.to_string(), "another cluster is registered as east");
        let known = not_taken(&clusters, "north", "2").expect_err("another name");
        assert_eq!(known.to_string(), "this cluster is registered already, as west");
    }

    #[test]
    fn the_secret_has_the_form_that_the_manager_reads() {
        let secret = secret("east", &json!({ "kind": "Config" }));
        assert_eq!(
            (&secret["type"], &secret["metadata"]["name"]),
            (&json!("meshproof.dev/kubeconfig"), &json!("east"))
        );
        let data = secret["data"]["kubeconfig"].as_str().expect("there");
        let text = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        assert_eq!(text, br#"{"kind":"Config"}"#);
    }
}

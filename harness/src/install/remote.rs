//! The mesh on a cluster that shares the control plane of another: what Istio calls the remote of a primary. The control plane
//! is reached through the gateway of its own cluster, under the name that it has everywhere.

use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use kube::runtime::wait::await_condition;
use serde_json::Value;

use super::manifest::Placeholders;
use super::mesh::{self, Error, ROLLOUT};
use super::remote_secret::{self, ISTIO_SYSTEM};
use crate::cluster::Cluster;
use crate::topology::GatewayKind;

macro_rules! manifest {
    ($path:literal) => {
        (concat!("manifests/", $path), include_str!(concat!("../../../manifests/", $path)))
    };
}

const ACCESS: &[(&str, &str)] = &[manifest!("istio/11-reader.yaml"), manifest!("istio/12-external.yaml")];
const CONTROL_PLANE: &[(&str, &str)] = &[manifest!("istio/21-istiod-elsewhere.yaml")];
const WEBHOOKS: (&str, &str) = manifest!("istio/30-webhooks.yaml");

/// Installs what a remote has of the mesh, lets the control plane of `primary` read it, and waits until that injects.
///
/// # Errors
/// [`Error`].
pub async fn install(remote: &Cluster, primary: &Cluster, placeholders: &Placeholders) -> Result<(), Error> {
    let address = gateway_address(primary).await?;
    remote.apply_all(&objects(remote.network(), primary.name(), placeholders, &address)?).await?;
    primary.apply(&remote_secret::create(remote).await?).await?;
    mesh::webhooks_signed(remote).await?;
    mesh::injects(remote).await
}

/// Everything that a remote of `primary` on a network has of the mesh, in the order in which it is applied.
///
/// # Errors
/// [`Error::Manifest`] where a manifest of ours is broken.
pub fn objects(
    network: &str,
    primary: &str,
    placeholders: &Placeholders,
    control_plane: &str,
) -> Result<Vec<Value>, Error> {
    let mut placeholders = placeholders.clone();
    placeholders.insert("CONTROL_PLANE_ADDRESS", control_plane.to_owned());
    let mut objects = vec![mesh::namespace(network, Some(primary))];
    for manifests in [mesh::DEFINITIONS, ACCESS, CONTROL_PLANE] {
        objects.extend(mesh::rendered(manifests, &placeholders)?);
    }
    // Configuration is judged where it is read.
    let webhooks = mesh::rendered([&WEBHOOKS], &placeholders)?;
    objects.extend(webhooks.into_iter().filter(|object| object["kind"] == "MutatingWebhookConfiguration"));
    Ok(objects)
}

/// Makes the namespace of the mesh on a remote of `primary`.
///
/// # Errors
/// [`Error`].
pub async fn namespace(remote: &Cluster, primary: &Cluster) -> Result<(), Error> {
    remote.apply(&mesh::namespace(remote.network(), Some(primary.name()))).await?;
    Ok(())
}

/// Lets the control plane of `primary` read a remote, whose reader account is there.
///
/// # Errors
/// [`Error`].
pub async fn admit(remote: &Cluster, primary: &Cluster) -> Result<(), Error> {
    primary.apply(&remote_secret::create(remote).await?).await?;
    Ok(())
}

/// Where the east-west gateway of a cluster is reached from others.
///
/// # Errors
/// [`Error::NoAddress`].
pub async fn gateway_address(cluster: &Cluster) -> Result<String, Error> {
    let name = GatewayKind::Eastwest.deployment();
    let services: Api<Service> = Api::namespaced(cluster.client(), ISTIO_SYSTEM);
    let address = |service: &Service| {
        let status = service.status.as_ref()?.load_balancer.as_ref()?;
        status.ingress.as_ref()?.first()?.ip.clone()
    };
    let has_one = |service: Option<&Service>| service.and_then(address).is_some();
    match tokio::time::timeout(ROLLOUT, await_condition(services, name, has_one)).await {
        Ok(Ok(service)) => service.as_ref().and_then(address).ok_or_else(|| none(cluster, name)),
        Ok(Err(source)) => Err(Error::Watch { cluster: cluster.name().to_owned(), source: Box::new(source) }),
        Err(_elapsed) => Err(none(cluster, name)),
    }
}

fn none(cluster: &Cluster, name: &str) -> Error {
    Error::NoAddress { cluster: cluster.name().to_owned(), service: format!("{ISTIO_SYSTEM}/{name}") }
}

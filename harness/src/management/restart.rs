//! Restarts everything of a mesh that has to use a new authority, in order: control plane, gateways, workloads. As `kubectl
//! rollout restart` does it, with the rights of whoever asks.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use mesh_types::hub::{ClusterObjectRef, Kind, Mesh, Object, Workload};
use serde_json::{Value, json};

use super::registration::LOOK;
use super::{Error, resources};
use crate::cluster::{Cluster, FIELD_MANAGER, chain};

/// Something whose pods are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Controller {
    kind: String,
    namespace: String,
    name: String,
}

/// Restarts a mesh on its cluster and waits until that is done. Returns how many controllers were restarted.
///
/// # Errors
/// [`Error::Late`] with the first that does not come back; [`Error::Cluster`] where one may not be changed.
pub async fn restart(
    management: &Cluster,
    cluster: &Cluster,
    mesh: &Object<Mesh>,
    deadline: Duration,
) -> Result<usize, Error> {
    let workloads = resources::typed::<Workload>(management).await?;
    let mut steps = Vec::new();
    for (namespace, labels) in infrastructure(mesh) {
        steps.push(with_labels(cluster, &namespace, &labels).await?);
    }
    steps.push(of_mesh(mesh, &workloads));
    let mut count = 0;
    for step in steps {
        let now = Timestamp::now().to_string();
        let each = step.iter().map(|controller| begin(cluster, controller, &now));
        futures::future::try_join_all(each).await?;
        let each = step.iter().map(|controller| done(cluster, controller, deadline));
        futures::future::try_join_all(each).await?;
        count += step.len();
    }
    Ok(count)
}

/// Namespace and labels of the control plane, then of each gateway.
fn infrastructure(mesh: &Object<Mesh>) -> Vec<(String, String)> {
    let istio = &mesh.spec.istio;
    let text = |labels: &std::collections::BTreeMap<String, String>| {
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    };
    let control_plane = (istio.installation.namespace.clone(), text(&istio.installation.pod_labels));
    let gateways = istio.ingress_gateways.iter();
    let gateways = gateways.map(|gateway| (gateway.namespace.clone(), text(&gateway.workload_labels)));
    std::iter::once(control_plane).chain(gateways).filter(|(_, labels)| !labels.is_empty()).collect()
}

/// The controllers of a mesh's workloads. Machines restart themselves.
fn of_mesh(mesh: &Object<Mesh>, workloads: &[Object<Workload>]) -> Vec<Controller> {
    let of_mesh = workloads.iter().filter(|workload| workload.spec.mesh == mesh.reference());
    let with_pods = of_mesh.filter(|workload| workload.spec.controller_kind != "WorkloadEntry");
    let controller = |workload: &Object<Workload>| {
        let ClusterObjectRef { namespace, name, .. } = workload.spec.controller.clone();
        Controller { kind: workload.spec.controller_kind.clone(), namespace, name }
    };
    with_pods.map(controller).collect()
}

async fn with_labels(cluster: &Cluster, namespace: &str, labels: &str) -> Result<Vec<Controller>, Error> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let listed = api.list(&ListParams::default().labels(labels)).await;
    let listed = listed.map_err(|source| cluster.api_error(format!("list Deployments with {labels}"), source))?;
    let controller = |deployment: &Deployment| Controller {
        kind: "Deployment".to_owned(),
        namespace: namespace.to_owned(),
        name: deployment.name_any(),
    };
    Ok(listed.items.iter().map(controller).collect())
}

fn api(cluster: &Cluster, controller: &Controller) -> Api<DynamicObject> {
    let plural = format!("{}s", controller.kind.to_lowercase());
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", &controller.kind), &plural);
    Api::namespaced_with(cluster.client(), &controller.namespace, &resource)
}

async fn begin(cluster: &Cluster, controller: &Controller, now: &str) -> Result<(), Error> {
    let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
    let change = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let changed = api(cluster, controller).patch(&controller.name, &parameters, &Patch::Merge(&change)).await;
    changed.map_err(|source| cluster.api_error(format!("restart {} {}", controller.kind, controller.name), source))?;
    Ok(())
}

async fn done(cluster: &Cluster, controller: &Controller, deadline: Duration) -> Result<(), Error> {
    let Controller { kind, namespace, name } = controller;
    let what = format!("{kind} {namespace}/{name} of {} to be restarted", cluster.name());
    let look = async || {
        let object = api(cluster, controller).get(name).await.map_err(|error| chain(&error))?;
        is_done(&serde_json::to_value(object).unwrap_or_default())
    };
    let cure = "`meshproof logs` and the events of its namespace say why its pods do not become ready".to_owned();
    eventually::poll(what, deadline, LOOK, look).await.map_err(|source| Error::Late { source, cure })
}

/// Whether a controller has carried out its last change, as `kubectl rollout status` asks.
fn is_done(object: &Value) -> Result<(), String> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Err("its controller has not seen the change".to_owned());
    }
    let (wanted, fields) = match object["kind"].as_str() {
        Some("DaemonSet") => ("/status/desiredNumberScheduled", ["updatedNumberScheduled", "numberAvailable"]),
        Some("StatefulSet") => ("/spec/replicas", ["updatedReplicas", "readyReplicas"]),
        _ => ("/spec/replicas", ["updatedReplicas", "availableReplicas"]),
    };
    let wanted = number(wanted);
    if object["kind"] == "Deployment" && number("/status/replicas") > wanted {
        return Err(format!("{} pods are still there, for {wanted}", number("/status/replicas")));
    }
    match fields.into_iter().find(|field| number(&format!("/status/{field}")) < wanted) {
        Some(field) => Err(format!("{field} is {} of {wanted}", number(&format!("/status/{field}")))),
        None => Ok(()),
    }
}

/// The mesh that `wanted` names, or that of the cluster `wanted`.
///
/// # Errors
/// As [`resources::find`].
pub async fn mesh_of(management: &Cluster, wanted: &str) -> Result<Object<Mesh>, Error> {
    let meshes = resources::typed::<Mesh>(management).await?;
    let of_cluster = meshes.into_iter().find(|mesh| mesh.spec.istio.installation.cluster == wanted);
    match of_cluster {
        Some(mesh) => Ok(mesh),
        None => resources::read(resources::find(management, Kind::Mesh, wanted).await?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_types::hub::mesh::{IngressGateway, Installation, Istio};

    fn mesh() -> Object<Mesh> {
        let labels = |app: &str| [("app".to_owned(), app.to_owned())].into();
        let installation =
            Installation { namespace: "istio-system".to_owned(), pod_labels: labels("istiod"), ..Default::default() };
        let gateway =
            IngressGateway { namespace: "edge".to_owned(), workload_labels: labels("gateway"), ..Default::default() };
        let istio = Istio { installation, ingress_gateways: vec![gateway], ..Default::default() };
        Object::new("mesh-of-east", "meshproof-hub", Mesh { istio, agent_info: None })
    }

    #[test]
    fn the_control_plane_comes_first_and_the_workloads_last() {
        let places = infrastructure(&mesh());
        let expected = [("istio-system", "app=istiod"), ("edge", "app=gateway")];
        assert_eq!(places, expected.map(|(namespace, labels)| (namespace.to_owned(), labels.to_owned())));
        let workload = |name: &str, kind: &str, mesh: &Object<Mesh>| {
            let controller = ClusterObjectRef::new(name, "bookinfo", "east");
            let (controller_kind, mesh) = (kind.to_owned(), mesh.reference());
            Object::new(name, "meshproof-hub", Workload { controller, controller_kind, mesh, ..Workload::default() })
        };
        let other = Object::new("mesh-of-west", "meshproof-hub", Mesh::default());
        let workloads = [
            workload("reviews-v1", "Deployment", &mesh()),
            workload("details-vm", "WorkloadEntry", &mesh()),
            workload("reviews-v3", "Deployment", &other),
        ];
        let names: Vec<String> = of_mesh(&mesh(), &workloads).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["reviews-v1"]);
    }

    #[test]
    fn a_restart_is_done_when_no_old_pod_is_left() {
        let deployment = |replicas: i64, updated: i64, available: i64| {
            json!({
                "kind": "Deployment", "metadata": { "generation": 2 }, "spec": { "replicas": 1 },
                "status": {
                    "observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated,
                    "availableReplicas": available,
                },
            })
        };
        assert_eq!(is_done(&deployment(1, 1, 1)), Ok(()));
        assert_eq!(is_done(&deployment(2, 1, 1)), Err("2 pods are still there, for 1".to_owned()));
        assert_eq!(is_done(&deployment(1, 0, 1)), Err("updatedReplicas is 0 of 1".to_owned()));
        let set = json!({
            "kind": "DaemonSet", "metadata": { "generation": 1 },
            "status": { "observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1 },
        });
        assert_eq!(is_done(&set), Err("numberAvailable is 1 of 2".to_owned()));
    }
}

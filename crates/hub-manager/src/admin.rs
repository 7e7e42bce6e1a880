//! What the manager knows, over HTTP for people and tests, on its pod's loopback. Reads only, and tells no secret: kubeconfigs and
//! keys are in Secrets, of which nothing here knows more than the name.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hub::state::State as HubState;
use hub::world::Checked;
use mesh_types::hub::{Object, Resource};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clusters::report::Directory;
use crate::event::{Events, ask};
use crate::metrics::Metrics;
use crate::telemetry;

/// What is looked at.
#[derive(Clone)]
pub struct View {
    /// The core.
    pub events: Events,
    /// What is told about clusters.
    pub directory: Directory,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What is looked at while this manager leads, and whether it is ready.
#[derive(Clone)]
pub struct Sources {
    /// Nothing while another leads.
    pub view: watch::Receiver<Option<View>>,
    /// Whether everything was read and is served.
    pub ready: watch::Receiver<bool>,
    /// The telemetry of all clusters.
    pub telemetry: telemetry::Sources,
}

/// The routes of the admin port.
pub fn router(sources: Sources) -> Router {
    let leading = middleware::from_fn_with_state(sources.clone(), only_leading);
    let telemetry = telemetry::router(sources.telemetry.clone()).route_layer(leading);
    Router::new()
        .route("/live", get(async || "live\n"))
        .route("/metrics", get(metrics))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/clusters", get(clusters))
        .route("/v1/meshes", get(meshes))
        .with_state(sources.clone())
        .merge(telemetry)
        .merge(readiness(sources.ready))
}

/// The routes of the probe's port.
pub fn readiness(ready: watch::Receiver<bool>) -> Router {
    Router::new().route("/ready", get(is_ready)).with_state(ready)
}

async fn is_ready(State(ready): State<watch::Receiver<bool>>) -> (StatusCode, &'static str) {
    if *ready.borrow() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not everything has been read yet\n")
    }
}

/// Why there is no answer.
struct Unavailable(&'static str);

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, self.0).into_response()
    }
}

fn view(sources: &Sources) -> Result<View, Unavailable> {
    let view = sources.view.borrow().clone();
    view.ok_or(Unavailable("this manager does not lead; ask the holder of the Lease\n"))
}

/// Only who leads knows the agents.
async fn only_leading(State(sources): State<Sources>, request: Request, next: Next) -> Result<Response, Unavailable> {
    view(&sources)?;
    Ok(next.run(request).await)
}

async fn metrics(State(sources): State<Sources>) -> Result<Response, Unavailable> {
    let text = view(&sources)?.metrics.print();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

async fn clusters(State(sources): State<Sources>) -> Result<Response, Unavailable> {
    Ok(Json(view(&sources)?.directory.all()).into_response())
}

async fn meshes(State(sources): State<Sources>) -> Result<Response, Unavailable> {
    answer(&view(&sources)?, meshes_of).await
}

async fn snapshot(State(sources): State<Sources>) -> Result<Response, Unavailable> {
    let view = view(&sources)?;
    let clusters = json!(view.directory.all());
    answer(&view, move |state| {
        let mut snapshot = snapshot_of(state);
        snapshot["clusters"] = clusters;
        snapshot
    })
    .await
}

async fn answer(
    view: &View,
    question: impl FnOnce(&HubState) -> Value + Send + 'static,
) -> Result<Response, Unavailable> {
    let answer = ask(&view.events, question).await;
    answer.map(|value| Json(value).into_response()).ok_or(Unavailable("the manager is stopping\n"))
}

fn shown<R: Resource>(object: &Object<R>) -> Value {
    let mut value = object.manifest().unwrap_or_default();
    value["metadata"]["generation"] = json!(object.metadata.generation);
    value
}

fn all<'a, R: Resource + 'a>(objects: impl IntoIterator<Item = &'a Object<R>>) -> Value {
    objects.into_iter().map(shown).collect()
}

fn checked<R: Resource>(objects: &BTreeMap<mesh_types::hub::ObjectRef, Checked<R>>) -> Value {
    all(objects.values().map(|checked| &checked.object))
}

/// Everything that the core knows: inputs, what shall be in each cluster, and what could not be written.
pub fn snapshot_of(state: &HubState) -> Value {
    let inputs = &state.world().inputs;
    let foreign = inputs.foreign.iter().flat_map(|(key, clusters)| {
        clusters
            .iter()
            .map(move |(cluster, hosts)| json!({ "object": key.to_string(), "cluster": cluster, "hosts": hosts }))
    });
    let mut outputs: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (_, emitted) in state.emitted() {
        for cluster in emitted.clusters.iter() {
            let manifest = serde_json::from_str(&emitted.object.manifest).unwrap_or_default();
            outputs.entry(cluster).or_default().push(manifest);
        }
    }
    json!({
        "inputs": {
            "KubernetesCluster": all(inputs.clusters.values()),
            "Mesh": all(inputs.meshes.values()),
            "Workload": all(inputs.workloads.values()),
            "Destination": all(inputs.destinations.values()),
            "VirtualMesh": checked(&inputs.virtual_meshes),
            "TrafficPolicy": checked(&inputs.traffic_policies),
            "VirtualDestination": checked(&inputs.virtual_destinations),
            "AccessPolicy": checked(&inputs.access_policies),
            "Foreign": foreign.collect::<Vec<_>>(),
        },
        "outputs": outputs,
        "failures": state.all_failures().collect::<Vec<_>>(),
    })
}

/// Every mesh, with its virtual mesh and what is in it.
fn meshes_of(state: &HubState) -> Value {
    let world = state.world();
    let mesh = |(reference, mesh): (&mesh_types::hub::ObjectRef, &Object<mesh_types::hub::Mesh>)| {
        let destinations = world.inputs.destinations.values().filter(|one| one.spec.mesh == *reference).count();
        let workloads = world.inputs.workloads.values().filter(|one| one.spec.mesh == *reference).count();
        json!({ "name": reference.name, "cluster": mesh.spec.istio.installation.cluster, "version": mesh.spec.istio.installation.version,
            "trustDomain": mesh.spec.istio.trust_domain, "virtualMesh": world.memberships.of_mesh.get(reference),
            "destinations": destinations, "workloads": workloads })
    };
    world.inputs.meshes.iter().map(mesh).collect()
}

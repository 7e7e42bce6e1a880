//! Reads fixtures, and shows what follows from them.

use hub::state::{Change, Effects, Input, State, Subject};
use hub::status::Status;
use hub::world::Settings;
use mesh_types::hub::{ClusterObjectRef, Kind, Object, ObjectRef};
use serde_json::Value;

/// Two clusters with bookinfo.
pub(crate) const TWO_CLUSTERS: &str = include_str!("fixtures/two-clusters.yaml");
/// The two as one.
pub(crate) const VIRTUAL_MESH: &str = include_str!("fixtures/virtual-mesh.yaml");
/// 75, 15 and 10 percent.
pub(crate) const SHIFT: &str = include_str!("fixtures/shift.yaml");
/// `reviews.global`.
pub(crate) const FAILOVER: &str = include_str!("fixtures/failover.yaml");

/// Reads resources.
pub(crate) fn read(text: &str) -> Vec<Change> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().map(input).map(Change::put).collect()
}

fn input(value: Value) -> Input {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let kind = Kind::of(&text("apiVersion"), &text("kind")).unwrap_or_else(|| panic!("no kind of the plane: {value}"));
    match kind {
        Kind::KubernetesCluster => Input::Cluster(Object::from_value(value).unwrap()),
        Kind::Mesh => Input::Mesh(Object::from_value(value).unwrap()),
        Kind::Workload => Input::Workload(Object::from_value(value).unwrap()),
        Kind::Destination => Input::Destination(Object::from_value(value).unwrap()),
        Kind::VirtualMesh => Input::VirtualMesh(Object::from_value(value).unwrap()),
        Kind::TrafficPolicy => Input::TrafficPolicy(Object::from_value(value).unwrap()),
        Kind::VirtualDestination => Input::VirtualDestination(Object::from_value(value).unwrap()),
        Kind::AccessPolicy => Input::AccessPolicy(Object::from_value(value).unwrap()),
        other => panic!("{} is no input", other.name()),
    }
}

/// A state with these resources.
pub(crate) fn state(texts: &[&str]) -> State {
    let mut state = State::new(Settings::default());
    put(&mut state, texts);
    state
}

/// Adds resources.
pub(crate) fn put(state: &mut State, texts: &[&str]) -> Effects {
    state.apply(texts.iter().flat_map(|text| read(text)))
}

/// The objects of a cluster, as YAML, without those for trust.
pub(crate) fn shown(state: &State, cluster: &str) -> String {
    let mut objects: Vec<_> = state.desired(cluster).map(|(_, object)| object).collect();
    objects.retain(|object| !object.key.kind.api_version().starts_with("certificates."));
    objects.sort_by(|left, right| left.key.cmp(&right.key));
    let show = |manifest: &str| {
        let value: Value = serde_json::from_str(manifest).unwrap();
        mesh_types::validate(&value).unwrap_or_else(|errors| panic!("{errors:?}\n{value:#}"));
        serde_saphyr::to_string(&value).unwrap()
    };
    objects.iter().map(|object| show(&object.manifest)).collect::<Vec<_>>().join("---\n")
}

/// An object of a cluster.
pub(crate) fn object(state: &State, cluster: &str, name: &str) -> Option<Value> {
    let of_name = |object: &&std::sync::Arc<hub::output::Desired>| object.key.to_string() == name;
    let found = state.desired(cluster).map(|(_, object)| object).find(of_name)?;
    Some(serde_json::from_str(&found.manifest).unwrap())
}

/// Names of the objects of a cluster, sorted.
pub(crate) fn names(state: &State, cluster: &str) -> Vec<String> {
    let mut names: Vec<_> = state.desired(cluster).map(|(_, object)| object.key.to_string()).collect();
    names.sort();
    names
}

/// Status of a traffic policy, as YAML.
pub(crate) fn traffic_status(state: &State, name: &str) -> String {
    let subject = Subject::TrafficPolicy(ObjectRef::new(name, "bookinfo"));
    match state.status(&subject) {
        Some(Status::Policy(status)) => serde_saphyr::to_string(&status).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Errors of a traffic policy.
pub(crate) fn traffic_errors(state: &State, name: &str) -> Vec<String> {
    match state.status(&Subject::TrafficPolicy(ObjectRef::new(name, "bookinfo"))) {
        Some(Status::Policy(status)) => status.errors,
        other => panic!("{other:?}"),
    }
}

/// Service `reviews` of a cluster.
pub(crate) fn reviews(cluster: &str) -> ClusterObjectRef {
    ClusterObjectRef::new("reviews", "bookinfo", cluster)
}

//! The status of each resource that has one, in a sound and in a broken case. That of a KubernetesCluster is the manager's own, and a
//! Workload has none: it is what was found.

use hub::progress::{Progress, Report};
use hub::state::{Change, Effects, State, Subject};
use hub::status::Status;
use insta::assert_snapshot;
use mesh_types::hub::certificate::IssueState;
use mesh_types::hub::virtual_mesh::{MeshTrust, RootPhase, TrustStatus};
use mesh_types::hub::{ObjectRef, status};

use crate::support::{FAILOVER, SHIFT, TWO_CLUSTERS, VIRTUAL_MESH, put, reviews, state};

const ACCESS: &str = "apiVersion: networking.meshproof.dev/v1\nkind: AccessPolicy\nmetadata: { name: callers, namespace: hub, generation: 1 }\n\
    spec:\n  sourceSelector: [{ kubeServiceAccountRefs: { serviceAccounts: [{ name: productpage, namespace: bookinfo }] } }]\n\
    \x20 destinationSelector: [{ kubeServiceRefs: { services: [{ name: reviews, namespace: bookinfo, clusterName: cluster1 }] } }]\n\
    \x20 allowedMethods: [GET]\n";

/// Everything is written, and every proxy has it.
fn carried_out(state: &mut State, effects: &Effects) {
    let all: Vec<Change> = state
        .emitted()
        .flat_map(|(unit, emitted)| emitted.clusters.iter().map(move |cluster| (unit.clone(), cluster.to_owned())))
        .map(|(unit, cluster)| Report { unit, cluster, revision: effects.revision, progress: Progress::Acknowledged })
        .map(Change::Progress)
        .collect();
    state.apply(all);
}

fn in_force(texts: &[&str]) -> State {
    let mut state = state(&[]);
    let effects = put(&mut state, texts);
    carried_out(&mut state, &effects);
    state
}

fn shown(state: &State, subject: &Subject) -> String {
    let value = match state.status(subject).unwrap() {
        Status::Mesh(status) => serde_json::to_value(status),
        Status::Destination(status) => serde_json::to_value(status),
        Status::VirtualMesh(status) => serde_json::to_value(status),
        Status::Policy(status) => serde_json::to_value(status),
        Status::VirtualDestination(status) => serde_json::to_value(status),
    };
    let mut value = value.unwrap();
    value.sort_all_objects();
    serde_saphyr::to_string(&value).unwrap()
}

fn mesh(cluster: &str) -> ObjectRef {
    ObjectRef::new(&format!("istiod--istio-system--{cluster}"), "hub")
}

/// No port of the gateways of the second cluster is for mutual TLS.
fn without_a_gateway() -> String {
    let port = "name: tls, number: 15443, externalNumber: 32001";
    TWO_CLUSTERS.replace(port, &port.replace("tls", "other"))
}

fn trust(state: IssueState, phase: RootPhase) -> TrustStatus {
    let of_mesh = |error: &str| MeshTrust {
        state: if error.is_empty() { IssueState::Finished } else { state },
        error: error.to_owned(),
        root_fingerprint: "a1".to_owned(),
        trusted_roots: vec!["a1".to_owned()],
        not_after: Some("2030-01-01T00:00:00Z".to_owned()),
        restart_steps: 3,
        restart_steps_done: if error.is_empty() { 3 } else { 1 },
    };
    let error = if state == IssueState::Finished { "" } else { "waiting for pods of namespace bookinfo" };
    let next = if phase == RootPhase::Steady { "" } else { "b2" };
    let waiting = if error.is_empty() { String::new() } else { format!("waiting for cluster cluster2: {error}") };
    TrustStatus {
        phase,
        root_fingerprint: "a1".to_owned(),
        next_root_fingerprint: next.to_owned(),
        waiting,
        meshes: [(mesh("cluster1").to_string(), of_mesh("")), (mesh("cluster2").to_string(), of_mesh(error))].into(),
    }
}

#[test]
fn mesh_statuses() {
    assert_snapshot!("mesh_sound", shown(&in_force(&[TWO_CLUSTERS, VIRTUAL_MESH]), &Subject::Mesh(mesh("cluster2"))));
    let broken = in_force(&[&without_a_gateway(), VIRTUAL_MESH]);
    assert_snapshot!("mesh_broken", shown(&broken, &Subject::Mesh(mesh("cluster2"))));
}

#[test]
fn destination_statuses() {
    let subject = Subject::Destination(reviews("cluster2"));
    assert_snapshot!("destination_sound", shown(&in_force(&[TWO_CLUSTERS, VIRTUAL_MESH, SHIFT]), &subject));
    assert_snapshot!("destination_broken", shown(&in_force(&[&without_a_gateway(), VIRTUAL_MESH]), &subject));
}

#[test]
fn virtual_mesh_statuses() {
    let reference = ObjectRef::new("bookinfo", "hub");
    let subject = Subject::VirtualMesh(reference.clone());
    let mut sound = in_force(&[TWO_CLUSTERS, VIRTUAL_MESH]);
    let settled = trust(IssueState::Finished, RootPhase::Steady);
    let effects = sound.apply([Change::Trust(reference.clone(), Box::new(settled.clone()))]);
    assert_eq!((effects.writes.len(), effects.statuses.as_slice()), (0, [subject.clone()].as_slice()));
    assert_eq!(sound.apply([Change::Trust(reference.clone(), Box::new(settled))]).statuses, []);
    assert_snapshot!("virtual_mesh_sound", shown(&sound, &subject));
    let mut broken = in_force(&[&without_a_gateway(), VIRTUAL_MESH]);
    let changing = trust(IssueState::Issued, RootPhase::Introduce);
    broken.apply([Change::Trust(reference, Box::new(changing))]);
    assert_snapshot!("virtual_mesh_broken", shown(&broken, &subject));
}

/// Members that do not sign under one root yet do not trust each other; while it changes, they trust both.
#[test]
fn a_virtual_mesh_is_active_once_its_members_trust_each_other() {
    let reference = ObjectRef::new("bookinfo", "hub");
    let mut hub = in_force(&[TWO_CLUSTERS, VIRTUAL_MESH]);
    let states = [
        (IssueState::Requested, RootPhase::Steady, status::State::Accepted),
        (IssueState::Issued, RootPhase::Steady, status::State::Accepted),
        (IssueState::Finished, RootPhase::Steady, status::State::Active),
        (IssueState::Issued, RootPhase::Introduce, status::State::Active),
        (IssueState::Issued, RootPhase::Switch, status::State::Active),
    ];
    for (issued, phase, expected) in states {
        hub.apply([Change::Trust(reference.clone(), Box::new(trust(issued, phase)))]);
        let Some(Status::VirtualMesh(told)) = hub.status(&Subject::VirtualMesh(reference.clone())) else {
            panic!("a status")
        };
        assert_eq!(told.state, expected, "{issued:?} {phase:?}");
    }
}

#[test]
fn traffic_policy_statuses() {
    let subject = Subject::TrafficPolicy(ObjectRef::new("shift", "bookinfo"));
    assert_snapshot!("traffic_policy_sound", shown(&in_force(&[TWO_CLUSTERS, VIRTUAL_MESH, SHIFT]), &subject));
    let nobody = SHIFT.replace("version: v3", "version: v9");
    assert_snapshot!("traffic_policy_broken", shown(&in_force(&[TWO_CLUSTERS, VIRTUAL_MESH, &nobody]), &subject));
}

#[test]
fn virtual_destination_statuses() {
    let subject = Subject::VirtualDestination(ObjectRef::new("reviews", "bookinfo"));
    assert_snapshot!("virtual_destination_sound", shown(&in_force(&[TWO_CLUSTERS, VIRTUAL_MESH, FAILOVER]), &subject));
    assert_snapshot!("virtual_destination_broken", shown(&in_force(&[TWO_CLUSTERS, FAILOVER]), &subject));
}

#[test]
fn access_policy_statuses() {
    let subject = Subject::AccessPolicy(ObjectRef::new("callers", "hub"));
    assert_snapshot!("access_policy_sound", shown(&in_force(&[TWO_CLUSTERS, VIRTUAL_MESH, ACCESS]), &subject));
    let clusters = "kubeIdentityMatcher: { clusters: [cluster2] }";
    let accounts = "kubeServiceAccountRefs: { serviceAccounts: [{ name: productpage, namespace: bookinfo }] }";
    let by_cluster = ACCESS.replace(accounts, clusters);
    assert_snapshot!("access_policy_broken", shown(&in_force(&[TWO_CLUSTERS, VIRTUAL_MESH, &by_cluster]), &subject));
}

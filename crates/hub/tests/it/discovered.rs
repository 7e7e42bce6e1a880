//! What is found in the objects of a cluster.

use hub::discovery::{ClusterObjects, Discovered, discover};
use insta::assert_snapshot;
use mesh_types::hub::{Object, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

const CLUSTER: &str = include_str!("fixtures/cluster.yaml");

fn objects(text: &str) -> ClusterObjects {
    fn of<T: DeserializeOwned>(documents: &[Value], kind: &str) -> Vec<T> {
        let own = documents.iter().filter(|document| document["kind"] == kind);
        own.map(|document| serde_json::from_value(document.clone()).unwrap()).collect()
    }
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    ClusterObjects {
        namespaces: of(&all, "Namespace"),
        nodes: of(&all, "Node"),
        services: of(&all, "Service"),
        deployments: of(&all, "Deployment"),
        pods: of(&all, "Pod"),
        endpoint_slices: of(&all, "EndpointSlice"),
        workload_entries: of(&all, "WorkloadEntry"),
        mesh_configs: of(&all, "ConfigMap"),
        ..ClusterObjects::default()
    }
}

fn found(text: &str) -> Discovered {
    discover("cluster1", "hub", "hub", &objects(text))
}

fn shown<R: Resource>(object: &Object<R>) -> String {
    let manifest = object.manifest().unwrap();
    mesh_types::hub::validate(&manifest).unwrap();
    serde_saphyr::to_string(&manifest).unwrap()
}

#[test]
fn a_mesh_with_its_gateway_and_agent() {
    assert_snapshot!(shown(&found(CLUSTER).mesh.unwrap()));
}

#[test]
fn services_of_the_mesh_with_pods_machines_and_what_is_scaled_to_nothing() {
    let destinations = found(CLUSTER).destinations;
    assert_eq!(destinations.len(), 1, "neither a gateway nor what has no proxy");
    assert_snapshot!(shown(&destinations[0]));
}

#[test]
fn workloads_by_their_controllers() {
    let found = found(CLUSTER);
    let names: Vec<_> = found
        .workloads
        .iter()
        .map(|one| (one.metadata.name.as_str(), one.spec.service_account_name.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("reviews-v1--bookinfo--cluster1--deployment", "bookinfo-reviews"),
            ("reviews-v2--bookinfo--cluster1--deployment", "default"),
            ("vm1--bookinfo--cluster1--workloadentry", "vm"),
        ]
    );
}

#[test]
fn a_destination_stays_when_all_its_pods_are_gone() {
    let without: String = CLUSTER
        .split("---\n")
        .filter(|document| {
            !document.contains("kind: EndpointSlice")
                && !document.contains("kind: Pod")
                && !document.contains("kind: WorkloadEntry")
        })
        .collect::<Vec<_>>()
        .join("---\n");
    let destinations = found(&without).destinations;
    let service = &destinations[0].spec.kube_service;
    assert_eq!(service.endpoints, []);
    assert_eq!(service.subsets["version"].iter().collect::<Vec<_>>(), ["v1", "v2"]);
}

#[test]
fn a_service_without_proxies_can_be_asked_for_and_a_cluster_without_a_control_plane_has_nothing() {
    let asked = CLUSTER.replace(
        "{ name: outside, namespace: default }\nspec: { selector",
        "{ name: outside, namespace: default, annotations: { discovery.meshproof.dev/enabled: \"true\" } }\nspec: { selector",
    );
    assert_ne!(asked, CLUSTER);
    let names: Vec<_> = found(&asked).destinations.iter().map(|one| one.metadata.name.clone()).collect();
    assert_eq!(names, ["reviews--bookinfo--cluster1", "outside--default--cluster1"]);
    assert_eq!(found(&CLUSTER.replace("name: discovery", "name: other")), Discovered::default());
}

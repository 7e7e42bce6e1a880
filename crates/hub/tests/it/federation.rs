//! Who knows which destination, by which host, through which gateways.

use hub::state::Subject;
use hub::status::Status;
use insta::assert_snapshot;

use crate::support::{TWO_CLUSTERS, VIRTUAL_MESH, names, object, put, reviews, shown, state};

const REMOTE: &str = "ServiceEntry istio-system/reviews.bookinfo.svc.cluster2.global";

#[test]
fn permissive_federation_cluster_by_cluster() {
    let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH]);
    assert_snapshot!("permissive_cluster1", shown(&state, "cluster1"));
    let Some(Status::Destination(status)) = state.status(&Subject::Destination(reviews("cluster2"))) else { panic!() };
    assert_snapshot!("permissive_destination", serde_saphyr::to_string(&status).unwrap());
}

#[test]
fn selective_federation_exports_what_it_names_and_nothing_else() {
    let selectors = "selectors: [{ destinationSelectors: [{ kubeServiceRefs: { services: [{ name: reviews, namespace: bookinfo, clusterName: cluster2 }] } }] }]";
    let state = state(&[TWO_CLUSTERS, &VIRTUAL_MESH.replace("permissive: {}", selectors)]);
    let entries = |cluster: &str| {
        names(&state, cluster).into_iter().filter(|name| name.starts_with("ServiceEntry")).collect::<Vec<_>>()
    };
    assert_eq!(entries("cluster1"), [REMOTE]);
    assert_eq!(entries("cluster2"), ["ServiceEntry bookinfo/reviews.bookinfo.svc.cluster2.global"]);
}

#[test]
fn without_a_federation_nothing_is_known_elsewhere() {
    let state = state(&[TWO_CLUSTERS, &VIRTUAL_MESH.replace("federation: { permissive: {} }", "")]);
    assert!(
        names(&state, "cluster1")
            .iter()
            .all(|name| name.contains("IssuedCertificate") || name.contains("WorkloadRestart"))
    );
}

#[test]
fn the_number_of_pods_elsewhere_does_not_matter_but_whether_there_are_any() {
    let mut state = state(&[TWO_CLUSTERS, VIRTUAL_MESH]);
    let endpoints = |state: &hub::state::State| {
        let entry = object(state, "cluster1", REMOTE).unwrap();
        entry["spec"]["endpoints"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(endpoints(&state), 1);
    let second = "    - { ipAddress: 10.10.1.7, labels: { app: reviews, version: v3 }, ports: { \"9080\": 9080 }, locality: us-west/us-west-1 }\n";
    assert!(TWO_CLUSTERS.contains(second));
    let fewer = TWO_CLUSTERS.replace(second, "");
    let effects = put(&mut state, &[&fewer]);
    assert_eq!(effects.writes, [], "a pod less is nobody's business");
    let first = second.replace("10.10.1.7", "10.10.1.1");
    let none = fewer.replace(&format!("    endpoints:\n{first}"), "");
    let effects = put(&mut state, &[&none]);
    assert_eq!((effects.writes.len(), endpoints(&state)), (1, 0));
}

#[test]
fn several_gateways_keep_their_own_ports_and_names_are_resolved() {
    let more = TWO_CLUSTERS.replace(
        "      externalAddresses: [172.18.2.10]\n      tlsPorts: [{ name: tls, number: 15443, externalNumber: 32001 }]\n",
        "      externalAddresses: [172.18.2.10]\n      tlsPorts: [{ name: tls, number: 15443, externalNumber: 32001 }]\n\
         \x20   - name: second\n      namespace: istio-system\n      workloadLabels: { istio: second }\n      externalAddresses: [gateway.example.org]\n      tlsPorts: [{ name: tls, number: 15443, externalNumber: 443 }]\n",
    );
    assert_ne!(more, TWO_CLUSTERS);
    let state = state(&[&more, VIRTUAL_MESH]);
    let spec = object(&state, "cluster1", REMOTE).unwrap()["spec"].clone();
    let endpoints: Vec<_> = spec["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["address"].as_str().unwrap(), one["ports"]["http"].as_u64().unwrap()))
        .collect();
    assert_eq!(endpoints, [("172.18.2.10", 32001), ("gateway.example.org", 443)]);
    assert_eq!(spec["resolution"], "DNS");
    let gateways: Vec<_> = names(&state, "cluster2").into_iter().filter(|name| name.starts_with("Gateway")).collect();
    assert_eq!(
        gateways,
        ["Gateway istio-system/istio-eastwestgateway--bookinfo", "Gateway istio-system/second--bookinfo"]
    );
}

#[test]
fn a_mesh_without_a_gateway_is_named_in_the_status() {
    let none = TWO_CLUSTERS.replace(
        "name: tls, number: 15443, externalNumber: 32001",
        "name: other, number: 15443, externalNumber: 32001",
    );
    let state = state(&[&none, VIRTUAL_MESH]);
    assert_eq!(object(&state, "cluster1", REMOTE), None);
    let subject = Subject::VirtualMesh(mesh_types::hub::ObjectRef::new("bookinfo", "hub"));
    let Some(Status::VirtualMesh(status)) = state.status(&subject) else { panic!() };
    assert_snapshot!("mesh_without_gateway", serde_saphyr::to_string(&status).unwrap());
}

#[test]
fn in_a_flat_network_endpoints_are_called_directly() {
    let state = state(&[TWO_CLUSTERS, &VIRTUAL_MESH.replace("permissive: {}", "permissive: {}, flatNetwork: true")]);
    let spec = object(&state, "cluster1", REMOTE).unwrap()["spec"].clone();
    let addresses: Vec<_> = spec["endpoints"].as_array().unwrap().iter().map(|one| one["address"].clone()).collect();
    assert_eq!(addresses, ["10.10.1.1", "10.10.1.7"]);
    assert!(names(&state, "cluster2").iter().all(|name| !name.starts_with("Gateway")));
}

#[test]
fn a_mesh_that_two_virtual_meshes_name_stays_with_the_first() {
    let second = VIRTUAL_MESH.replace("name: bookinfo, namespace: hub", "name: another, namespace: hub");
    let mut state = state(&[TWO_CLUSTERS, VIRTUAL_MESH]);
    put(&mut state, &[&second]);
    let status = |name: &str| {
        let subject = Subject::VirtualMesh(mesh_types::hub::ObjectRef::new(name, "hub"));
        let Some(Status::VirtualMesh(status)) = state.status(&subject) else { panic!() };
        (status.state, status.meshes["istiod--istio-system--cluster1.hub"].errors.clone())
    };
    assert_eq!(status("bookinfo"), (mesh_types::hub::status::State::Accepted, vec![]));
    let (refused, errors) = status("another");
    assert_eq!(refused, mesh_types::hub::status::State::Invalid);
    assert_eq!(errors, ["mesh istiod--istio-system--cluster1.hub is in VirtualMesh bookinfo.hub, which came first"]);
}

#[test]
fn trust_is_asked_for_where_an_agent_runs() {
    let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH]);
    let show = |name: &str| serde_saphyr::to_string(&object(&state, "cluster1", name).unwrap()["spec"]).unwrap();
    assert_snapshot!("issued_certificate", show("IssuedCertificate meshproof-agent/istiod--istio-system--cluster1"));
    assert_snapshot!("workload_restart", show("WorkloadRestart meshproof-agent/istiod--istio-system--cluster1"));
}

//! Who knows which destination, by which host, through which gateways.

use hub::state::Subject;
use hub::status::Status;
use insta::assert_snapshot;

use crate::support::{TWO_CLUSTERS, VIRTUAL_MESH, names, object, put, read, reviews, shown, state};

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

#[test]
fn a_service_without_proxies_is_promised_mutual_tls_by_nobody() {
    let host = "reviews.bookinfo.svc.cluster2.global";
    let second = "name: reviews, namespace: bookinfo, clusterName: cluster2 }";
    let bare = TWO_CLUSTERS.replace(second, &format!("{second}\n    withoutProxies: true"));
    let through_gateways = state(&[&bare, VIRTUAL_MESH]);
    assert_eq!(object(&through_gateways, "cluster1", REMOTE), None);
    let subject = Subject::Destination(reviews("cluster2"));
    let Some(Status::Destination(status)) = through_gateways.status(&subject) else { panic!() };
    assert_eq!(
        status.errors,
        ["reviews.bookinfo.cluster2 has no proxies, and nobody else takes what a gateway passes through"]
    );
    let flat = state(&[&bare, &VIRTUAL_MESH.replace("permissive: {}", "permissive: {}, flatNetwork: true")]);
    let entry = object(&flat, "cluster1", REMOTE).unwrap();
    let rule = object(&flat, "cluster1", &format!("DestinationRule istio-system/{host}")).unwrap();
    assert_eq!(rule["spec"]["trafficPolicy"]["tls"]["mode"], "DISABLE");
    assert_eq!(entry["spec"]["subjectAltNames"], serde_json::Value::Null);
    assert!(!entry.to_string().contains("security.istio.io/tlsMode"), "{entry:#}");
}

#[test]
fn an_address_that_becomes_free_is_given_at_once_to_a_host_that_waits() {
    let destination = |number: u32| {
        format!(
            "apiVersion: discovery.meshproof.dev/v1\nkind: Destination\nmetadata: {{ name: s{number}--bookinfo--cluster2, namespace: hub }}\n\
             spec:\n  kubeService:\n    ref: {{ name: s{number}, namespace: bookinfo, clusterName: cluster2 }}\n    ports: [{{ port: 80, name: http, protocol: TCP }}]\n\
             \x20 mesh: {{ name: istiod--istio-system--cluster2, namespace: hub }}\n"
        )
    };
    // Two of reviews, and one more than the others of the pool.
    let pool = hub::address::Pool::parse("241.0.0.0/28").unwrap();
    let settings = hub::world::Settings { pool, ..hub::world::Settings::default() };
    let mut state = hub::state::State::new(settings);
    let many: Vec<String> = (0..13).map(destination).collect();
    let texts = [TWO_CLUSTERS, VIRTUAL_MESH].into_iter().chain(many.iter().map(String::as_str));
    state.apply(texts.flat_map(read));
    let of = |number: u32| mesh_types::hub::ClusterObjectRef::new(&format!("s{number}"), "bookinfo", "cluster2");
    let address = |state: &hub::state::State, number: u32| match state.status(&Subject::Destination(of(number))) {
        Some(Status::Destination(status)) => status.federation.map(|federation| federation.address).unwrap_or_default(),
        _ => String::new(),
    };
    let waiting: Vec<u32> = (0..13).filter(|number| address(&state, *number).is_empty()).collect();
    let [waiting] = waiting.as_slice() else { panic!("{waiting:?}") };
    let leaves = (waiting + 1) % 13;
    let effects = state.apply([hub::state::Change::Remove(hub::state::InputKey::Destination(of(leaves)))]);
    assert_ne!(address(&state, *waiting), "");
    assert!(effects.statuses.contains(&Subject::Destination(of(*waiting))));
    let entry = format!("ServiceEntry istio-system/s{waiting}.bookinfo.svc.cluster2.global");
    assert!(object(&state, "cluster1", &entry).is_some());
}

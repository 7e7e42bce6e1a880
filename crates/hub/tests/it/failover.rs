//! One host over several clusters.

use hub::state::Subject;
use hub::status::Status;
use insta::assert_snapshot;
use mesh_types::hub::ObjectRef;

use crate::support::{FAILOVER, SHIFT, TWO_CLUSTERS, VIRTUAL_MESH, object, state, traffic_errors};

fn shown(state: &hub::state::State, cluster: &str, name: &str) -> String {
    let object = object(state, cluster, name).unwrap_or_else(|| panic!("no {name} in {cluster}"));
    mesh_types::validate(&object).unwrap();
    serde_saphyr::to_string(&object["spec"]).unwrap()
}

fn errors(state: &hub::state::State) -> Vec<String> {
    match state.status(&Subject::VirtualDestination(ObjectRef::new("reviews", "bookinfo"))) {
        Some(Status::VirtualDestination(status)) => status.errors,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_of_backends_in_their_order() {
    let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, FAILOVER]);
    assert_eq!(errors(&state), Vec::<String>::new());
    for (snapshot, cluster, name) in [
        ("failover_entry_cluster1", "cluster1", "ServiceEntry istio-system/reviews.global"),
        ("failover_entry_cluster2", "cluster2", "ServiceEntry istio-system/reviews.global"),
        ("failover_rule_cluster1", "cluster1", "DestinationRule istio-system/reviews.global"),
        ("failover_landing_cluster2", "cluster2", "ServiceEntry bookinfo/reviews.bookinfo.vd.global"),
    ] {
        assert_snapshot!(snapshot, shown(&state, cluster, name));
    }
}

#[test]
fn the_nearest_backend_and_directives() {
    let localized = FAILOVER.split("  static:").next().unwrap().to_owned()
        + "  localized:\n    destinationSelectors: [{ kubeServiceMatcher: { labels: { app: reviews } } }]\n  outlierDetection: {}\n";
    let nearest = state(&[TWO_CLUSTERS, VIRTUAL_MESH, &localized]);
    let setting = |state: &hub::state::State, cluster: &str| {
        let rule = object(state, cluster, "DestinationRule istio-system/reviews.global").unwrap();
        rule["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"].to_string()
    };
    assert_eq!(setting(&nearest, "cluster1"), r#"{"enabled":true}"#);
    let directed = localized.replace(
        "  outlierDetection: {}",
        "    failoverDirectives: [{ from: { region: us-east }, to: [{ region: us-west }] }]\n  outlierDetection: {}",
    );
    let directed = state(&[TWO_CLUSTERS, VIRTUAL_MESH, &directed]);
    assert_eq!(errors(&directed), Vec::<String>::new());
    assert_eq!(
        setting(&directed, "cluster1"),
        r#"{"failoverPriority":["failover.hub.meshproof.dev/level-1=true","topology.kubernetes.io/zone"],"enabled":true}"#
    );
    // Nobody said anything about callers of the other region.
    assert_eq!(setting(&directed, "cluster2"), r#"{"enabled":true}"#);
}

#[test]
fn a_shift_can_go_to_it_with_a_subset() {
    let shift = SHIFT.replace(
        "weight: 75, kubeService: { name: reviews, namespace: bookinfo, clusterName: cluster2,",
        "weight: 75, virtualDestination: { name: reviews, namespace: bookinfo,",
    );
    assert_ne!(shift, SHIFT);
    let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, FAILOVER, &shift]);
    assert_eq!(traffic_errors(&state, "shift"), Vec::<String>::new());
    assert_snapshot!("failover_shift_route", shown(&state, "cluster1", "VirtualService bookinfo/reviews"));
    assert_snapshot!("failover_shift_rule", shown(&state, "cluster1", "DestinationRule istio-system/reviews.global"));
    assert_snapshot!(
        "failover_shift_landing",
        shown(&state, "cluster2", "DestinationRule istio-system/reviews.bookinfo.vd.global")
    );
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    for (change, expected) in [
        (
            ("reviews.global", "reviews.example.org"),
            "hostname reviews.example.org does not end in .global, so gateways would not pass it through",
        ),
        (
            ("reviews.global", "a.svc.global"),
            "hostname a.svc.global has a label `svc` or `vd`, which are kept for hosts that the hub makes",
        ),
        (("number: 9080", "number: 80"), "destination reviews.bookinfo.cluster1 has no port 80"),
        (("clusterName: cluster2", "clusterName: cluster3"), "destination reviews.bookinfo.cluster3 is not known"),
        (
            ("virtualMesh: { name: bookinfo", "virtualMesh: { name: other"),
            "VirtualMesh other.hub is not known, or has no members",
        ),
        (
            ("  outlierDetection: { consecutiveErrors: 1, interval: 1s }\n", ""),
            "spec.outlierDetection: is required: without it no backend ever takes over; `{}` takes the defaults",
        ),
    ] {
        let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, &FAILOVER.replace(change.0, change.1)]);
        assert_eq!(errors(&state)[0], expected);
        assert_eq!(object(&state, "cluster1", "ServiceEntry istio-system/reviews.global"), None);
    }
}

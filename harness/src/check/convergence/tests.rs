//! When a control plane's account proves convergence, and when it does not.

use super::*;
use serde_json::json;

fn status(acked: u64, error: Option<&str>) -> SyncStatus {
    serde_json::from_value(json!({
        "snapshot": 7,
        "clusters": [{ "id": "cluster2", "synced": true }],
        "resources": { "VirtualService/bookinfo/reviews": { "resourceVersion": "12", "snapshot": 6 } },
        "proxies": [
            { "pod": "probe-1", "namespace": "bookinfo", "connected": true,
              "types": { "rds": { "sent": 7, "acked": acked, "error": error } } },
            { "pod": "gone-1", "namespace": "bookinfo", "connected": false, "types": {} },
        ],
    }))
    .expect("a status")
}

fn look(status: &SyncStatus, expectation: &Expectation) -> Result<Converged, Missing> {
    judge(status, expectation, &HeldEndpoints::default(), "cluster1", &["bookinfo/probe-1".to_owned()])
}

fn expectation(version: Option<&str>) -> Expectation {
    let resources = BTreeMap::from([("VirtualService/bookinfo/reviews".to_owned(), version.map(str::to_owned))]);
    Expectation { resources, ..Expectation::default() }
}

#[test]
fn a_proxy_that_acknowledged_the_snapshot_of_the_change_is_enough() {
    let converged = look(&status(6, None), &expectation(Some("12"))).expect("converged");
    assert_eq!((converged.snapshot, converged.proxies), (6, 1));
}

#[test]
fn a_proxy_that_lags_is_named() {
    let missing = look(&status(5, None), &expectation(Some("12"))).expect_err("lags");
    let text = "snapshot 6 is not acknowledged by bookinfo/probe-1 (rds at 5)";
    assert_eq!(missing, Missing::Late(text.to_owned()));
}

#[test]
fn a_rejection_is_final_and_quoted() {
    let missing = look(&status(5, Some("bad route")), &expectation(Some("12"))).expect_err("rejected");
    assert_eq!(missing, Missing::Rejected("bookinfo/probe-1 rejected rds: bad route".to_owned()));
}

#[test]
fn a_rejection_of_something_older_may_be_healed() {
    let mut status = status(5, Some("bad route"));
    for held in status.proxies[0].types.values_mut() {
        held.sent = 5;
    }
    assert!(matches!(look(&status, &expectation(Some("12"))), Err(Missing::Late(_))));
}

#[test]
fn a_pod_whose_proxy_is_not_connected_is_named() {
    let expected = ["bookinfo/probe-1".to_owned(), "bookinfo/reviews-1".to_owned()];
    let missing = judge(&status(7, None), &expectation(Some("12")), &HeldEndpoints::default(), "cluster1", &expected)
        .expect_err("absent");
    assert_eq!(missing, Missing::Late("not connected: bookinfo/reviews-1".to_owned()));
}

#[test]
fn an_older_version_of_the_object_does_not_count() {
    assert!(look(&status(7, None), &expectation(Some("13"))).is_err());
}

#[test]
fn a_deleted_object_must_be_gone() {
    assert!(look(&status(7, None), &expectation(None)).is_err());
}

#[test]
fn a_watched_cluster_needs_the_newest_snapshot() {
    let expectation = Expectation { watched: vec!["cluster2".to_owned()], ..Expectation::default() };
    assert!(look(&status(6, None), &expectation).is_err());
    assert!(look(&status(7, None), &expectation).is_ok());
}

#[test]
fn endpoints_must_be_those_that_are_ready_and_acknowledged() {
    let held: HeldEndpoints = serde_json::from_value(json!({
        "snapshot": 7,
        "services": { "reviews": { "9080": [
            { "cluster": "cluster1", "namespace": "bookinfo", "pod": "reviews-v1-abc" },
            { "cluster": "cluster1", "namespace": "bookinfo", "pod": "reviews-v10-abc" },
            { "cluster": "cluster2", "namespace": "bookinfo", "pod": "reviews-v1-def" },
        ] } },
    }))
    .expect("endpoints");
    let wanted = |cluster: &str, pods: &[&str]| Expectation {
        endpoints: vec![Endpoints {
            cluster: cluster.to_owned(),
            namespace: "bookinfo".to_owned(),
            workload: "reviews-v1".to_owned(),
            pods: pods.iter().map(|pod| (*pod).to_owned()).collect(),
        }],
        ..Expectation::default()
    };
    let look = |acked: u64, expectation: &Expectation| {
        judge(&status(acked, None), expectation, &held, "cluster1", &["bookinfo/probe-1".to_owned()]).map(|_| ())
    };
    assert_eq!(look(7, &wanted("cluster1", &["reviews-v1-abc"])), Ok(()));
    assert_eq!(look(7, &wanted("cluster2", &["reviews-v1-def"])), Ok(()));
    // A cluster that is not read cannot be held.
    assert_eq!(look(7, &wanted("cluster3", &["reviews-v1-ghi"])), Ok(()));
    assert!(look(6, &wanted("cluster1", &["reviews-v1-abc"])).is_err(), "not acknowledged");
    let missing = look(7, &wanted("cluster1", &["reviews-v1-new"])).expect_err("missing");
    let text = "the control plane does not hold the endpoint reviews-v1-new of cluster1/reviews-v1";
    assert_eq!(missing, Missing::Late(text.to_owned()));
    assert!(look(7, &wanted("cluster1", &[])).is_err(), "stale");
}

#[test]
fn no_proxy_at_all_is_not_convergence() {
    let mut status = status(7, None);
    status.proxies.clear();
    assert!(look(&status, &expectation(Some("12"))).is_err());
}

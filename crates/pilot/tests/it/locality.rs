//! Which endpoints come first: ranks by locality and by label, shares, and the settings of a cluster that go with them.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::LbPolicy;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::LocalityConfigSpecifier;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use pilot::translate::Translation;

use crate::fixture::Fixture;

/// One service with a pod at every distance from the caller; the pods are called after what differs first.
const WORLD: &str = "
cluster: cluster1
---
{kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: network1}}}
---
{kind: Node, metadata: {name: own, labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1, topology.istio.io/subzone: s1}}}
---
{kind: Node, metadata: {name: subzone, labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1, topology.istio.io/subzone: s2}}}
---
{kind: Node, metadata: {name: zone, labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z2, topology.istio.io/subzone: s1}}}
---
{kind: Node, metadata: {name: region, labels: {topology.kubernetes.io/region: r2, topology.kubernetes.io/zone: z1, topology.istio.io/subzone: s1}}}
---
{kind: Service, metadata: {name: backend, namespace: a}, spec: {clusterIP: 10.96.0.50, selector: {app: backend}, ports: [{name: http, port: 80}]}}
---
{kind: Pod, metadata: {name: caller, namespace: a, labels: {app: caller, tier: gold}}, spec: {nodeName: own, containers: [{name: c}]}, status: {podIP: 10.0.0.1}}
---
{kind: Pod, metadata: {name: own, namespace: a, labels: {app: backend, tier: gold}}, spec: {nodeName: own, containers: [{name: c}]}, status: {podIP: 10.0.0.10}}
---
{kind: Pod, metadata: {name: subzone, namespace: a, labels: {app: backend}}, spec: {nodeName: subzone, containers: [{name: c}]}, status: {podIP: 10.0.0.11}}
---
{kind: Pod, metadata: {name: zone, namespace: a, labels: {app: backend}}, spec: {nodeName: zone, containers: [{name: c}]}, status: {podIP: 10.0.0.12}}
---
{kind: Pod, metadata: {name: region, namespace: a, labels: {app: backend, tier: gold}}, spec: {nodeName: region, containers: [{name: c}]}, status: {podIP: 10.0.0.13}}
---
{kind: Pod, metadata: {name: labelled, namespace: a, labels: {app: backend, istio-locality: r3.z1}}, spec: {nodeName: own, containers: [{name: c}]}, status: {podIP: 10.0.0.14}}
---
cluster: cluster2
---
{kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: network1}}}
---
{kind: Node, metadata: {name: own, labels: {topology.kubernetes.io/region: r1, topology.kubernetes.io/zone: z1, topology.istio.io/subzone: s1}}}
---
{kind: Service, metadata: {name: backend, namespace: a}, spec: {clusterIP: 10.96.0.50, selector: {app: backend}, ports: [{name: http, port: 80}]}}
---
{kind: Pod, metadata: {name: cluster, namespace: a, labels: {app: backend}}, spec: {nodeName: own, containers: [{name: c}]}, status: {podIP: 10.0.0.20}}
";

const NAMES: [(&str, &str); 6] = [
    ("10.0.0.10", "own"),
    ("10.0.0.11", "subzone"),
    ("10.0.0.12", "zone"),
    ("10.0.0.13", "region"),
    ("10.0.0.14", "labelled"),
    ("10.0.0.20", "cluster"),
];

fn translated(policy: &str) -> Translation {
    let rule = format!(
        "kind: DestinationRule\nmetadata: {{name: r, namespace: a}}\nspec: {{host: backend, trafficPolicy: {{{policy}}}}}\n"
    );
    Fixture::read(&[WORLD, &rule]).translate("sidecar", "cluster1", "a", "caller")
}

fn cluster(policy: &str) -> Cluster {
    let name = "outbound|80||backend.a.svc.cluster.local";
    translated(policy).clusters.into_iter().find(|cluster| cluster.name == name).unwrap()
}

fn assignment(policy: &str) -> ClusterLoadAssignment {
    let name = "outbound|80||backend.a.svc.cluster.local";
    translated(policy).endpoints.into_iter().find(|one| one.cluster_name == name).unwrap()
}

/// `rank: names`, the nearest first.
fn ranks(policy: &str) -> Vec<String> {
    let mut ranks: Vec<Vec<&str>> = Vec::new();
    for group in assignment(policy).endpoints {
        let rank = usize::try_from(group.priority).unwrap();
        ranks.resize(ranks.len().max(rank + 1), Vec::new());
        let text = format!("{:?}", group.lb_endpoints);
        ranks[rank].extend(
            NAMES.iter().filter(|(address, _)| text.contains(&format!("\"{address}\""))).map(|(_, name)| *name),
        );
    }
    ranks.iter_mut().for_each(|names| names.sort_unstable());
    ranks.into_iter().map(|names| names.join(" ")).collect()
}

#[test]
fn without_outlier_detection_nothing_is_far() {
    let everything = ["cluster labelled own region subzone zone"];
    assert_eq!(ranks("tls: {mode: DISABLE}"), everything);
    let failover = "loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r2}]}}";
    assert_eq!(ranks(failover), everything);
    let labels = "loadBalancer: {localityLbSetting: {failoverPriority: [tier]}}";
    assert_eq!(ranks(labels), everything);
}

#[test]
fn localities_rank_by_what_differs_first() {
    assert_eq!(ranks("outlierDetection: {}"), ["cluster own", "subzone", "zone", "labelled region"]);
    let setting =
        |text: &str| ranks(&format!("outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {{{text}}}}}"));
    assert_eq!(setting("failover: [{from: r1, to: r3}]"), ["cluster own", "subzone", "zone", "labelled", "region"]);
    assert_eq!(setting("failover: [{from: r9, to: r3}]"), ["cluster own", "subzone", "zone", "labelled region"]);
    assert_eq!(setting("enabled: false"), ["cluster labelled own region subzone zone"]);
}

#[test]
fn labels_rank_by_the_first_that_differs() {
    let setting =
        |text: &str| ranks(&format!("outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {{{text}}}}}"));
    assert_eq!(setting("failoverPriority: [tier]"), ["own region", "cluster labelled subzone zone"]);
    assert_eq!(setting("failoverPriority: [tier=silver]"), ["cluster labelled own region subzone zone"]);
    assert_eq!(
        setting("failoverPriority: [topology.istio.io/network, topology.istio.io/cluster]"),
        ["labelled own region subzone zone", "cluster"]
    );
    assert_eq!(
        setting("failoverPriority: [topology.kubernetes.io/region, topology.kubernetes.io/zone]"),
        ["cluster own subzone", "zone", "labelled region"]
    );
    assert_eq!(
        setting("failoverPriority: [tier], failover: [{from: r1, to: r3}]"),
        ["own", "region", "cluster", "subzone", "zone", "labelled"]
    );
}

#[test]
fn shares_belong_to_localities() {
    let policy = "loadBalancer: {localityLbSetting: {distribute: [{from: r1/z1/*, to: {\"r1/*\": 70, \"r2/*\": 30}}]}}";
    let mut shares = std::collections::BTreeMap::new();
    for group in assignment(policy).endpoints {
        let region = group.locality.unwrap().region;
        assert_eq!(group.priority, 0);
        *shares.entry(region).or_insert(0) += group.load_balancing_weight.unwrap().value;
    }
    assert_eq!(shares, [("r1".to_owned(), 70_000), ("r2".to_owned(), 30_000)].into());
}

#[test]
fn the_cluster_says_whether_localities_have_weights() {
    let weighs = |policy: &str| {
        let specifier = cluster(policy).common_lb_config.unwrap().locality_config_specifier;
        matches!(specifier, Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)))
    };
    let failover = "loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r2}]}}";
    assert!(!weighs(failover) && !weighs("outlierDetection: {}"));
    assert!(weighs(&format!("outlierDetection: {{}}, {failover}")));
    assert!(weighs("loadBalancer: {localityLbSetting: {distribute: [{from: r1/*, to: {\"r1/*\": 100}}]}}"));
}

#[test]
fn outlier_detection_is_envoys() {
    let outlier = cluster(
        "outlierDetection: {consecutive5xxErrors: 3, consecutiveGatewayErrors: 0, consecutiveLocalOriginFailures: 4, splitExternalLocalOriginErrors: true, interval: 2s, baseEjectionTime: 3s, maxEjectionPercent: 60, minHealthPercent: 20}",
    );
    assert_eq!(outlier.common_lb_config.unwrap().healthy_panic_threshold.unwrap().value.to_string(), "20");
    let outlier = outlier.outlier_detection.unwrap();
    let value = |field: Option<envoy_types::pb::google::protobuf::UInt32Value>| field.map(|field| field.value);
    assert_eq!((value(outlier.consecutive_5xx), value(outlier.enforcing_consecutive_5xx)), (Some(3), Some(100)));
    assert_eq!(value(outlier.enforcing_consecutive_gateway_failure), Some(0), "0 switches it off");
    assert_eq!(value(outlier.consecutive_local_origin_failure), Some(4));
    assert_eq!(value(outlier.enforcing_consecutive_local_origin_failure), Some(100));
    assert!(outlier.split_external_local_origin_errors);
    assert_eq!((outlier.interval.unwrap().seconds, outlier.base_ejection_time.unwrap().seconds), (2, 3));
    assert_eq!((value(outlier.max_ejection_percent), value(outlier.enforcing_success_rate)), (Some(60), Some(0)));
}

#[test]
fn algorithms_are_envoys() {
    for (simple, expected) in [
        ("ROUND_ROBIN", LbPolicy::RoundRobin),
        ("LEAST_REQUEST", LbPolicy::LeastRequest),
        ("LEAST_CONN", LbPolicy::LeastRequest),
        ("RANDOM", LbPolicy::Random),
        ("PASSTHROUGH", LbPolicy::ClusterProvided),
    ] {
        assert_eq!(cluster(&format!("loadBalancer: {{simple: {simple}}}")).lb_policy, expected as i32, "{simple}");
    }
}

//! Weights survive translation, whatever they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use envoy_types::pb::envoy::config::route::v3::{route, route_action};
use proptest::prelude::*;

use crate::fixture::Fixture;
use crate::translate::BOOKINFO;

fn translated(weights: &[u32]) -> BTreeMap<String, u32> {
    let mut policy = "kind: VirtualService\nmetadata: {name: w, namespace: bookinfo}\nspec:\n  hosts: [reviews]\n  http:\n  - route:\n".to_owned();
    for (index, weight) in weights.iter().enumerate() {
        let _ = writeln!(policy, "    - {{destination: {{host: reviews, subset: s{index}}}, weight: {weight}}}");
    }
    let translation =
        Fixture::read(&[BOOKINFO, &policy]).translate("sidecar", "cluster1", "bookinfo", "productpage-v1");
    let routes = translation.routes.into_iter().find(|routes| routes.name == "9080").unwrap();
    let host = routes.virtual_hosts.into_iter().find(|host| host.name.starts_with("reviews.")).unwrap();
    match host.routes.into_iter().next().unwrap().action.unwrap() {
        route::Action::Route(action) => match action.cluster_specifier.unwrap() {
            route_action::ClusterSpecifier::WeightedClusters(weighted) => {
                weighted.clusters.into_iter().map(|one| (one.name, one.weight.unwrap().value)).collect()
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_positive_weight_arrives_and_no_other(weights in prop::collection::vec(0u32..1000, 2..6)) {
        prop_assume!(weights.iter().sum::<u32>() > 0);
        let found = translated(&weights);
        let expected: BTreeMap<String, u32> = weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight > 0)
            .map(|(index, weight)| (format!("outbound|9080|s{index}|reviews.bookinfo.svc.cluster.local"), *weight))
            .collect();
        prop_assert_eq!(found, expected);
    }
}

//! Translations of fixtures, as snapshots to be read by people.

use std::collections::BTreeSet;

use pilot::translate::Translation;

use crate::fixture::Fixture;
use crate::print;

pub(crate) const BOOKINFO: &str = include_str!("fixtures/bookinfo.yaml");
pub(crate) const POLICY: &str = include_str!("fixtures/policy.yaml");
pub(crate) const GATEWAYS: &str = include_str!("fixtures/gateways.yaml");
pub(crate) const BREADTH: &str = include_str!("fixtures/breadth.yaml");

fn strict(spec: &str) -> String {
    format!("kind: PeerAuthentication\nmetadata: {{name: default, namespace: bookinfo}}\nspec: {spec}\n")
}

fn productpage(fixture: &Fixture) -> Translation {
    fixture.translate("sidecar", "cluster1", "bookinfo", "productpage-v1")
}

#[test]
fn sidecar_without_configuration() {
    insta::assert_snapshot!(print::translation(&productpage(&Fixture::read(&[BOOKINFO]))));
}

#[test]
fn sidecar_with_the_shift() {
    let mut translation = productpage(&Fixture::read(&[BOOKINFO, POLICY]));
    translation.listeners.clear();
    insta::assert_snapshot!(print::translation(&translation));
}

#[test]
fn sidecar_with_every_honoured_field() {
    let mut translation = productpage(&Fixture::read(&[BOOKINFO, BREADTH]));
    translation.listeners.clear();
    insta::assert_snapshot!(print::translation(&translation));
}

#[test]
fn east_west_gateway_passes_subsets_through() {
    let fixture = Fixture::read(&[BOOKINFO, POLICY, GATEWAYS]);
    let mut translation = fixture.translate("router", "cluster2", "istio-system", "eastwest-2");
    translation.clusters.retain(|cluster| cluster.name.starts_with("outbound_."));
    translation.endpoints.retain(|endpoints| endpoints.cluster_name.starts_with("outbound_."));
    insta::assert_snapshot!(print::translation(&translation));
}

#[test]
fn ingress_gateway_serves_bound_virtual_services() {
    let fixture = Fixture::read(&[BOOKINFO, GATEWAYS]);
    let mut translation = fixture.translate("router", "cluster1", "istio-system", "ingress-1");
    translation.clusters.clear();
    translation.endpoints.clear();
    insta::assert_snapshot!(print::translation(&translation));
}

#[test]
fn inbound_chains_follow_the_mode() {
    let mut all = String::new();
    for mode in ["STRICT", "PERMISSIVE", "DISABLE"] {
        let policy = strict(&format!("{{mtls: {{mode: {mode}}}}}"));
        let mut translation = productpage(&Fixture::read(&[BOOKINFO, &policy]));
        translation.clusters.clear();
        translation.endpoints.clear();
        translation.routes.clear();
        translation.listeners.retain(|listener| listener.name == "virtualInbound");
        all.push_str(&format!("== {mode}\n{}", print::translation(&translation).trim_start()));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn one_port_may_have_a_mode_of_its_own() {
    let policy = strict(
        "{selector: {matchLabels: {app: productpage}}, mtls: {mode: STRICT}, portLevelMtls: {\"9080\": {mode: DISABLE}, \"7000\": {mode: PERMISSIVE}}}",
    );
    let translation = productpage(&Fixture::read(&[BOOKINFO, &policy]));
    let inbound = translation.listeners.iter().find(|listener| listener.name == "virtualInbound").unwrap();
    let chains = |port: u32| {
        inbound.filter_chains.iter().filter(move |chain| {
            chain
                .filter_chain_match
                .as_ref()
                .and_then(|found| found.destination_port)
                .is_some_and(|found| found.value == port)
        })
    };
    assert!(chains(9080).all(|chain| chain.transport_socket.is_none()), "9080 takes plain text only");
    assert_eq!(chains(7000).count(), 5, "7000 takes both");
}

#[test]
fn an_endpoint_with_mutual_tls_disabled_is_called_in_plain_text() {
    let translation = productpage(&Fixture::read(&[BOOKINFO, &strict("{mtls: {mode: DISABLE}}")]));
    let reviews = translation
        .endpoints
        .iter()
        .find(|one| one.cluster_name == "outbound|9080||reviews.bookinfo.svc.cluster.local")
        .unwrap();
    let endpoints: Vec<_> = reviews.endpoints.iter().flat_map(|group| &group.lb_endpoints).collect();
    assert_eq!(endpoints.len(), 2, "the other network is out of reach without mutual TLS");
    assert!(endpoints.iter().all(|endpoint| endpoint.metadata.is_none()));
}

#[test]
fn without_the_other_cluster_nothing_of_it_is_left() {
    let translation = productpage(&Fixture::read(&[BOOKINFO]).without("cluster2"));
    let text = print::translation(&translation);
    assert!(!text.contains("172.30.2.100") && !text.contains("bookinfo-reviews-v3"), "{text}");
}

#[test]
fn a_gateway_without_the_destination_rule_has_no_chain_for_the_subset() {
    let names = |fixture: &Fixture| -> BTreeSet<String> {
        let translation = fixture.translate("router", "cluster2", "istio-system", "eastwest-2");
        let listener = translation.listeners.into_iter().find(|listener| listener.name == "0.0.0.0_15443").unwrap();
        listener.filter_chains.into_iter().flat_map(|chain| chain.filter_chain_match.unwrap().server_names).collect()
    };
    let subset = "outbound_.9080_.v3_.reviews.bookinfo.svc.cluster.local";
    assert!(!names(&Fixture::read(&[BOOKINFO, GATEWAYS])).contains(subset));
    assert!(names(&Fixture::read(&[BOOKINFO, GATEWAYS, POLICY])).contains(subset));
}

#[test]
fn a_gateway_whose_hosts_match_nothing_opens_no_port() {
    let nothing = GATEWAYS.replace("*.local", "*.nowhere");
    assert_ne!(nothing, GATEWAYS);
    let translation =
        Fixture::read(&[BOOKINFO, &nothing]).translate("router", "cluster2", "istio-system", "eastwest-2");
    let names: Vec<&str> = translation.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert!(!names.contains(&"0.0.0.0_15443"), "{names:?}");
    let said: Vec<&str> = translation.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(said.iter().any(|one| one.contains("nothing matches the hosts on port 15443")), "{said:?}");
}

#[test]
fn locality_decides_only_with_outlier_detection() {
    let rule = |extra: &str| {
        format!(
            "kind: DestinationRule\nmetadata: {{name: r, namespace: bookinfo}}\nspec: {{host: reviews, trafficPolicy: {{{extra}}}}}\n"
        )
    };
    let priorities = |extra: &str| -> Vec<(String, u32)> {
        let translation = productpage(&Fixture::read(&[BOOKINFO, &rule(extra)]));
        let reviews = translation
            .endpoints
            .into_iter()
            .find(|one| one.cluster_name == "outbound|9080||reviews.bookinfo.svc.cluster.local")
            .unwrap();
        reviews.endpoints.into_iter().map(|group| (group.locality.unwrap().region, group.priority)).collect()
    };
    let expect = |pairs: &[(&str, u32)]| {
        pairs.iter().map(|(region, priority)| ((*region).to_owned(), *priority)).collect::<Vec<_>>()
    };
    assert_eq!(priorities("loadBalancer: {simple: RANDOM}"), expect(&[("region1", 0), ("region2", 0)]));
    assert_eq!(priorities("outlierDetection: {maxEjectionPercent: 100}"), expect(&[("region1", 0), ("region2", 1)]));
    assert_eq!(
        priorities(
            "outlierDetection: {maxEjectionPercent: 100}, loadBalancer: {localityLbSetting: {failoverPriority: [version=v3]}}"
        ),
        expect(&[("region2", 0), ("region1", 1)]),
    );
    assert_eq!(
        priorities("outlierDetection: {maxEjectionPercent: 100}, loadBalancer: {localityLbSetting: {enabled: false}}"),
        expect(&[("region1", 0), ("region2", 0)]),
    );
    assert_eq!(
        priorities("loadBalancer: {localityLbSetting: {distribute: [{from: region1/*, to: {region1/*: 100}}]}}"),
        expect(&[("region1", 0)]),
    );
}

#[test]
fn equal_inputs_give_equal_bytes() {
    use pilot::ads::resources::Resources;
    let fixture = Fixture::read(&[BOOKINFO, BREADTH]);
    let encode = || Resources::encode(productpage(&fixture));
    let first = encode();
    for _ in 0..20 {
        assert_eq!(encode(), first);
    }
}

/// A proxy takes the shared part from others with the same view, which must make no difference to it.
#[test]
fn views_hide_nothing_that_matters() {
    use pilot::translate::{Proxy, View};
    let view = |policy: &str, pod: &str| {
        let fixture = Fixture::read(&[BOOKINFO, policy]);
        let state = fixture.state("cluster1");
        let proxy = Proxy::from_node(&fixture.node("sidecar", "cluster1", "bookinfo", pod)).unwrap();
        View::of(&proxy.refreshed(&state), &state)
    };
    assert_eq!(view(POLICY, "productpage-v1"), view(POLICY, "reviews-v1"));
    assert_ne!(view(BREADTH, "productpage-v1"), view(BREADTH, "reviews-v1"), "a route looks at the caller's labels");
}

//! Every witness of mutual TLS with an observation in which it proves, one in which it refutes, and one without it.

use verdict::Outcome::{Fail, Inconclusive, Pass};

use super::*;
use crate::check::certificate::Certificate;
use crate::check::observation::{GatewayCounters, OfSource};
use crate::check::witness::{Counted, Handshakes};
use crate::links::FiveTuple;
use crate::topology::GatewayKind;
use crate::traffic::probe::Group;

const CLIENT: &str = "spiffe://cluster.local/ns/echo/sa/sleep";
const SERVER: &str = "spiffe://cluster.local/ns/echo/sa/echo";

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn group(cluster: &str, status: u16, count: u64) -> Group {
    Group {
        status,
        cluster: some(cluster),
        pod: some("echo-x"),
        peer: some(CLIENT),
        server: some(SERVER),
        certificate: some("ab12"),
        count,
        ..Group::default()
    }
}

fn of_source(cluster: &str, groups: Vec<Group>) -> OfSource {
    let requests = groups.iter().map(|group| group.count).sum();
    let samples = Samples { requests, connections_opened: 8, groups, ..Samples::default() };
    OfSource { source: Workload::client(cluster), samples }
}

fn traffic(groups: Vec<Group>) -> TrafficObservation {
    TrafficObservation::of(vec![of_source("cluster1", groups)])
}

fn expected() -> MutualTls {
    MutualTls {
        client: CLIENT.to_owned(),
        server: SERVER.to_owned(),
        issuer: None,
        through: Vec::new(),
        capture: Capturing::No,
        vms: Vec::new(),
    }
}

fn gateway() -> Gateway {
    Gateway { cluster: "cluster2".to_owned(), kind: GatewayKind::Eastwest }
}

fn judged(expected: &MutualTls, seen: &TrafficObservation) -> (Outcome, String) {
    let mut judgement = mutual_tls(expected, seen);
    (judgement.outcome, judgement.evidence.swap_remove(0))
}

#[test]
fn one_answer_without_it_refutes_it() {
    let good = group("cluster1", 200, 99);
    assert_eq!(judged(&expected(), &traffic(vec![good.clone()])).0, Pass);
    let plain = Group { peer: None, count: 1, ..good.clone() };
    let (outcome, why) = judged(&expected(), &traffic(vec![good.clone(), plain]));
    assert_eq!(outcome, Fail);
    assert!(why.contains("nobody (plaintext)"), "{why}");
    let stranger = Group { peer: some("spiffe://cluster.local/ns/evil/sa/x"), count: 1, ..good.clone() };
    assert_eq!(judged(&expected(), &traffic(vec![good.clone(), stranger])).0, Fail);
    let impostor = Group { server: some(CLIENT), count: 1, ..good };
    assert_eq!(judged(&expected(), &traffic(vec![impostor])).0, Fail);
}

#[test]
fn what_nobody_could_see_is_left_open() {
    assert_eq!(judged(&expected(), &traffic(vec![group("cluster1", 503, 9)])).0, Inconclusive);
    // All answers came from here, so nothing is known of the gateway.
    let through = MutualTls { through: vec![gateway()], ..expected() };
    assert_eq!(judged(&through, &traffic(vec![group("cluster1", 200, 9)])).0, Inconclusive);
}

#[test]
fn over_mere_bytes_the_logged_connections_count() {
    let unseen = Group { peer: None, server: None, ..group("cluster1", 200, 100) };
    let logged = |connections: Vec<Group>| {
        let mut seen = traffic(vec![unseen.clone()]);
        seen.witnesses.connections = Some(connections);
        judged(&expected(), &seen).0
    };
    assert_eq!(logged(vec![group("cluster1", 200, 8)]), Pass);
    assert_eq!(logged(vec![group("cluster1", 200, 7)]), Inconclusive, "one of eight connections was not logged");
    assert_eq!(logged(Vec::new()), Inconclusive);
    let plain = Group { peer: None, ..group("cluster1", 200, 1) };
    assert_eq!(logged(vec![group("cluster1", 200, 7), plain]), Fail);
}

#[test]
fn answers_from_beyond_a_gateway_must_have_passed_it() {
    let through = MutualTls { through: vec![gateway()], ..expected() };
    let seen = |bytes_passed_on| {
        let counters = GatewayCounters { bytes_passed_on, ..GatewayCounters::default() };
        let gateways = vec![(gateway(), counters)];
        TrafficObservation { gateways, ..traffic(vec![group("cluster2", 200, 100)]) }
    };
    assert_eq!(judged(&through, &seen(40_000)).0, Pass);
    assert_eq!(judged(&through, &seen(100 * SMALLEST_REQUEST - 1)).0, Fail);
    assert!(judged(&through, &seen(0)).1.contains("not all came through it"));
}

#[test]
fn what_a_source_gets_of_its_own_cluster_need_not_pass_the_gateway() {
    let through = MutualTls { through: vec![gateway()], ..expected() };
    let seen = |far: u64| {
        let sources = vec![
            of_source("cluster1", vec![group("cluster2", 200, far)]),
            of_source("cluster2", vec![group("cluster2", 200, 1_000)]),
        ];
        let counters = GatewayCounters { bytes_passed_on: 10 * SMALLEST_REQUEST, ..GatewayCounters::default() };
        TrafficObservation { gateways: vec![(gateway(), counters)], ..TrafficObservation::of(sources) }
    };
    assert_eq!(judged(&through, &seen(10)).0, Pass);
    assert_eq!(judged(&through, &seen(11)).0, Fail);
    assert_eq!(judged(&through, &seen(0)).0, Inconclusive);
}

#[test]
fn the_authority_that_signed_tells_the_cluster() {
    let of_cluster1 = MutualTls { issuer: some("cluster1"), ..expected() };
    let signed_by = |clusters: &[&str], hash: &str| {
        let mut seen = traffic(vec![group("cluster2", 200, 100)]);
        seen.witnesses.certificates = vec![Certificate {
            hash: hash.to_owned(),
            identity: some(CLIENT),
            holder: "clusterX/sleep-x".to_owned(),
            issuer: "O=Istio, L=clusterX".to_owned(),
            signed_by: clusters.iter().map(|name| (*name).to_owned()).collect(),
        }];
        judged(&of_cluster1, &seen)
    };
    assert_eq!(signed_by(&["cluster1"], "ab12").0, Pass);
    let (outcome, why) = signed_by(&["cluster2"], "ab12");
    assert_eq!(outcome, Fail);
    assert!(why.contains("clusterX/sleep-x, signed by cluster2"), "{why}");
    assert_eq!(signed_by(&[], "ab12").0, Fail);
    assert_eq!(signed_by(&["cluster1"], "other").0, Inconclusive, "nobody is known to hold what the server saw");
    let unseen = traffic(vec![Group { certificate: None, ..group("cluster2", 200, 100) }]);
    assert_eq!(judged(&of_cluster1, &unseen).0, Fail);
}

#[test]
fn a_marker_on_the_link_refutes_whatever_else_is_seen() {
    let wanted = MutualTls { through: vec![gateway()], capture: Capturing::Wanted, ..expected() };
    let seen = |groups: Vec<Group>, captured: Result<LinkSeen, String>| {
        let counters = GatewayCounters { bytes_passed_on: 40_000, ..GatewayCounters::default() };
        let mut seen = TrafficObservation { gateways: vec![(gateway(), counters)], ..traffic(groups) };
        let between = ["network1".to_owned(), "network2".to_owned()];
        let from = ["cluster1".to_owned()].into();
        seen.witnesses.captures =
            vec![Capture { between, gateway: gateway(), from, marker: "XZ".to_owned(), seen: captured }];
        judged(&wanted, &seen)
    };
    let good = || vec![group("cluster2", 200, 100)];
    let enough =
        LinkSeen { packets: 400, bytes: 90_000, to_gateway: 40_000, from_gateway: 40_000, ..LinkSeen::default() };
    assert_eq!(seen(good(), Ok(enough.clone())).0, Pass);
    let place = FiveTuple { protocol: "tcp".to_owned(), source: "a:1".to_owned(), destination: "b:2".to_owned() };
    let found = LinkSeen { hits: 1, first: Some(place), ..enough.clone() };
    let (outcome, why) = seen(good(), Ok(found.clone()));
    assert_eq!(outcome, Fail);
    assert!(why.contains("first from a:1 to b:2"), "{why}");
    assert_eq!(seen(vec![group("cluster1", 503, 9)], Ok(found)).0, Fail, "it leaked, answered or not");
    assert_eq!(seen(good(), Ok(LinkSeen { missed: 1, ..enough.clone() })).0, Inconclusive);
    assert_eq!(seen(good(), Ok(LinkSeen { from_gateway: 3_999, ..enough.clone() })).0, Inconclusive);
    assert_eq!(seen(good(), Ok(LinkSeen { to_gateway: 0, ..enough })).0, Inconclusive);
    let (outcome, why) = seen(good(), Err("no AF_PACKET".to_owned()));
    assert_eq!(outcome, Inconclusive);
    assert!(why.contains("no AF_PACKET"), "{why}");
}

#[test]
fn a_capture_that_nobody_made_proves_nothing() {
    let wanted = MutualTls { capture: Capturing::Wanted, ..expected() };
    assert_eq!(judged(&wanted, &traffic(vec![group("cluster2", 200, 100)])).0, Inconclusive);
}

#[test]
fn each_expectation_hears_the_witnesses_of_its_own_sides_and_links() {
    const OTHER: &str = "spiffe://cluster.local/ns/echo/sa/other";
    let gateway_of = |cluster: &str| Gateway { cluster: cluster.to_owned(), kind: GatewayKind::Eastwest };
    let link = |from: &str, to: &str, bytes| Capture {
        between: [format!("network of {from}"), format!("network of {to}")],
        gateway: gateway_of(to),
        from: [from.to_owned()].into(),
        marker: "XZ".to_owned(),
        seen: Ok(LinkSeen { packets: 9, bytes, to_gateway: bytes, from_gateway: bytes, ..LinkSeen::default() }),
    };
    let handshakes = |client: &str, count| Counted {
        client: client.to_owned(),
        server: SERVER.to_owned(),
        handshakes: Handshakes { client: count, ..Handshakes::default() },
    };
    let sources = vec![
        of_source("cluster1", vec![group("cluster2", 200, 1_000)]),
        of_source("cluster2", vec![group("cluster1", 200, 10)]),
    ];
    let mut seen = TrafficObservation::of(sources);
    seen.witnesses.captures = vec![link("cluster1", "cluster2", 40_000), link("cluster2", "cluster1", 400)];
    seen.witnesses.handshakes = vec![handshakes(CLIENT, 3), handshakes(OTHER, 4)];
    seen.gateways = ["cluster1", "cluster2"]
        .map(|cluster| (gateway_of(cluster), GatewayCounters { bytes_passed_on: 40_000, ..GatewayCounters::default() }))
        .into();
    for (client, cluster, counted) in [(CLIENT, "cluster1", "counted 3 new"), (OTHER, "cluster2", "counted 4 new")] {
        let there = if cluster == "cluster1" { "cluster2" } else { "cluster1" };
        let wanted = MutualTls {
            client: client.to_owned(),
            through: vec![gateway_of(there)],
            capture: Capturing::Wanted,
            ..expected()
        };
        let of_client = seen.narrowed(&Workload::client(cluster));
        let judgement = mutual_tls(&wanted, &of_client);
        let on_link = judgement.evidence.iter().find(|one| one.contains("marker")).expect("it was captured");
        assert!(on_link.contains(&format!("between network of {cluster} and")), "{on_link}");
        assert!(judgement.evidence.iter().any(|one| one.contains(counted)), "{:?}", judgement.evidence);
    }
}

//! Networks, services and partitions.

use requirements::{Capability, require};

use crate::world::{expect, run};

#[test]
fn networks_are_separate_but_for_load_balancer_and_node_addresses() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("fabric");
    // Both clusters give the same addresses to their pods.
    expect(&facts, "/addresses/0", "10.244.0.2");
    expect(&facts, "/addresses/2", "10.244.0.2");
    expect(&facts, "/podToPod", "server saw 10.244.0.2");
    expect(&facts, "/nodeToPod", "server saw 172.30.1.1");
    // The twin's address is the client's own; nobody listens there in its own network.
    expect(&facts, "/podToOwnAddressOfOtherNetwork", "ConnectionRefused");
    expect(&facts, "/podToFarPod", "HostUnreachable");
    expect(&facts, "/nodeToFarPod", "HostUnreachable");
    expect(&facts, "/podToLoadBalancer", "far saw 172.30.1.1");
    expect(&facts, "/nodeToLoadBalancer", "far saw 172.30.1.1");
    expect(&facts, "/podToUnusedLoadBalancer", "ConnectionRefused");
    expect(&facts, "/podToUnusedPort", "ConnectionRefused");
    expect(&facts, "/podToFarNode", "node2 saw 172.30.1.1");
    expect(&facts, "/podToNowhere", "NetworkUnreachable");
    let from_host = facts["hostToPod"].as_str().expect("a string");
    assert!(!from_host.contains("saw"), "the host reached a pod: {from_host}");
}

#[test]
fn a_flat_network_is_flat() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("flat");
    expect(&facts, "/podToFarPod", "far saw 10.244.0.2");
    expect(&facts, "/podToLoadBalancer", "far saw 10.244.0.2");
    expect(&facts, "/podToUnusedAddress", "HostUnreachable");
}

#[test]
fn rules_and_names_follow_the_api_server() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("synchronizer");
    expect(&facts, "/first", r#"Records([("web.shop.svc.cluster.local", A(10.96.0.20))])"#);
    expect(&facts, "/second", r#"Records([("late.shop.svc.cluster.local", A(10.96.0.30))])"#);
    let added = facts["addedMs"].as_u64().expect("a number");
    assert!(added < 1000, "a new Service worked after {added} ms only");
}

#[test]
fn services_are_translated_by_the_node() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let all = run("services");
    let facts = &all["facts"];
    let both = facts["both"].as_object().expect("a tally");
    assert_eq!(both.keys().collect::<Vec<_>>(), ["a", "b"], "{both:?}");
    assert_eq!(both.values().filter_map(serde_json::Value::as_u64).sum::<u64>(), 40);
    let sticky = facts["sticky"].as_object().expect("a tally");
    assert_eq!(sticky.len(), 1, "one client address got several endpoints: {sticky:?}");
    let inside = facts["loadBalancerFromInside"].as_object().expect("a tally");
    assert!(inside.keys().all(|name| name == "a" || name == "b"), "{inside:?}");
    expect(facts, "/empty", "ConnectionRefused");
    let waited = facts["emptyRefusedMs"].as_u64().expect("a number");
    assert!(waited < 500, "a Service without endpoints was refused after {waited} ms only");
    expect(facts, "/unknownPort", "ConnectionRefused");
    expect(facts, "/emptyFromNode", "ConnectionRefused");
    expect(facts, "/hairpin", "client saw 172.30.1.1");
    expect(facts, "/fromNode", "client saw 172.30.1.1");
    expect(facts, "/nodeLocal", "local saw 10.244.0.2");
    expect(&all, "/afterRemoval", "ConnectionRefused");
    expect(&all, "/hostileName", "Ok(())");
}

#[test]
fn datagrams_are_not_led_to_an_endpoint_that_is_gone() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("datagrams");
    expect(&facts, "/first", "5001");
    expect(&facts, "/both", "5001");
    expect(&facts, "/second", "5002");
}

#[test]
fn names_resolve_in_pods_and_follow_the_cluster() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("names");
    expect(&facts, "/web", "10.96.0.20");
    expect(&facts, "/short", "10.96.0.20");
    expect(&facts, "/missing", serde_json::Value::Null);
    expect(&facts, "/foreign", serde_json::Value::Null);
    expect(&facts, "/overStream", "10.96.0.20");
    let slowest = facts["slowestMs"].as_u64().expect("a number");
    assert!(slowest < 1000, "a name took {slowest} ms");
}

#[test]
fn twenty_pods_on_two_clusters_come_up_in_well_under_a_second() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("timing");
    let total: u64 = ["fabricMs", "podNetworksMs", "containersMs"].iter().filter_map(|key| facts[key].as_u64()).sum();
    // About 250 ms on two idle cores; the bound leaves room for machines that are busy with other tests.
    assert!(total < 3000, "bring-up took {total} ms: {facts}");
}

#[test]
fn pods_that_are_gone_leave_no_link_descriptor_or_process() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("churn");
    assert_eq!(facts["before"], facts["after"]);
    // Loopback and the uplink.
    expect(&facts, "/after/links", 2);
    expect(&facts, "/after/processes", 1);
}

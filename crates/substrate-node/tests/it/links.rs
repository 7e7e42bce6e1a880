//! Faults and taps on the link between two networks.

use requirements::{Capability, require};

use crate::world::{expect, run};

#[test]
fn a_cut_stops_new_and_open_connections_and_heals() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("cut");
    expect(&facts, "/before/new", "node2 saw 172.30.1.1");
    expect(&facts, "/before/open", "one");
    expect(&facts, "/during/new", "timeout");
    expect(&facts, "/during/open", "timeout");
    expect(&facts, "/during/inside", "node2 saw 172.30.2.1");
    assert!(facts["touched"].as_u64().is_some_and(|packets| packets > 1), "{facts:#}");
    expect(
        &facts,
        "/evidence",
        "the backbone has no rule fault-1 (network1 to network2, network2 to network1) any more",
    );
    expect(&facts, "/after/new", "node2 saw 172.30.1.1");
    expect(&facts, "/after/late", "two");
    expect(&facts, "/after/open", "new");
    expect(&facts, "/again", "fault 1 has ended before");
}

#[test]
fn routers_count_by_name() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("cut");
    let rules = facts["countedRules"].as_array().expect("rules");
    let names: Vec<_> = rules.iter().filter_map(|rule| rule["name"].as_str()).collect();
    assert_eq!(
        names,
        ["network1 to network2", "network2 to network1", "cut network1 to network2", "cut network2 to network1"]
    );
    assert!(rules[0]["packets"].as_u64() > rules[2]["packets"].as_u64(), "{rules:?}");
    assert_eq!(facts["links"], serde_json::json!(["net0 (network1)", "net1 (network2)"]));
}

#[test]
fn a_one_way_cut_stops_one_way() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("one-way");
    for (when, there) in [("before", true), ("during", false), ("after", true)] {
        expect(&facts, &format!("/{when}/there"), there);
        expect(&facts, &format!("/{when}/back"), true);
    }
    expect(&facts, "/touched", 1);
    expect(&facts, "/unknown", r#"there is no network "network9"; there are network1, network2"#);
    expect(&facts, "/same", r#""network1" is one network: faults and taps are between two different ones"#);
}

#[test]
fn packets_are_delayed_and_lost_and_then_not_any_more() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("wire");
    let milliseconds = |pointer: &str| facts.pointer(pointer).and_then(serde_json::Value::as_f64).expect("a number");
    let before = milliseconds("/beforeMs");
    let during = milliseconds("/duringMs");
    // One way, 60 ms give or take 10; a busy machine adds to it and takes nothing away.
    assert!(during >= 50.0 && during < before + 300.0, "{during} ms in {facts:#}");
    expect(&facts, "/bulk", true);
    expect(&facts, "/whileCut", "timeout");
    assert!(facts["cutTouched"].as_u64() > Some(0), "{facts:#}");
    assert!(facts["delayTouched"].as_u64() > Some(2), "{facts:#}");
    expect(
        &facts,
        "/delayEvidence",
        "the backbone forwards by itself again, without rule and without wire (network1 to network2)",
    );
    assert!(milliseconds("/afterMs") < 50.0, "{facts:#}");
    expect(&facts, "/whileLost", "timeout");
    assert!(facts["lossTouched"].as_u64() > Some(0), "{facts:#}");
    // The two that count what passes.
    expect(&facts, "/rules", 2);
    expect(&facts, "/none", "a loss of 0 % is none: above 0 and at most 100 is");
}

#[test]
fn a_tap_sees_plaintext_between_networks_and_nothing_else() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("tap");
    let report = &facts["report"];
    expect(&facts, "/missing", serde_json::json!([null, null]));
    let hits = |index: usize| report["markers"][index]["hits"].as_u64().expect("a number");
    // There and back; what stays inside its network is not on the link.
    assert_eq!([hits(0), hits(1), hits(2)], [2, 2, 0], "{report:#}");
    expect(report, "/markers/0/first/destination", "172.30.2.1:7");
    // What is not read is the links' own, such as IPv6's search for neighbours.
    for counter in ["dropped", "gaps", "moreFlows"] {
        expect(report, &format!("/{counter}"), 0);
    }
    let flows = report["flows"].as_array().expect("flows");
    assert_eq!(flows.len(), 4, "two connections, two ways each: {report:#}");
    // The flow with the most bytes is the plain one.
    expect(report, "/flows/0/beginsAsTls", false);
    expect(report, "/flows/0/tlsRecords", 0);
    assert!(report["flows"][0]["payloadBytes"].as_u64() >= Some(2_000_000), "{report:#}");
    expect(report, "/flows/2/beginsAsTls", true);
    expect(report, "/flows/2/tlsRecords", 2);
    let (packets, written) = (report["packets"].as_u64(), report["written"].as_u64());
    assert!(written > Some(10) && written < packets, "the file is bounded: {report:#}");
    assert!(facts["fileBytes"].as_u64() <= Some(1_000_000), "{facts:#}");
    assert!(facts["again"].as_str().is_some_and(|error| error.contains("exists")), "{facts:#}");
    assert!(facts["empty"].as_str().is_some_and(|error| error.contains("empty")), "{facts:#}");
}

//! Failover to another region and back, with a real Envoy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use requirements::{Capability, require};

use crate::fixture::Fixture;
use crate::pod::{self, in_network_namespace};
use crate::running::{Secrets, World};

pub(crate) const VIRTUAL: &str = "10.96.0.50";
pub(crate) const NEAR: &str = "10.244.0.21";
const FAR: &str = "10.244.0.22";
pub(crate) const PORT: u16 = 9080;

pub(crate) const WORLD: &str = "
cluster: cluster1
---
{kind: Node, metadata: {name: node1, labels: {topology.kubernetes.io/region: region1}}}
---
{kind: Node, metadata: {name: node2, labels: {topology.kubernetes.io/region: region2}}}
---
{kind: Service, metadata: {name: backend, namespace: a}, spec: {clusterIP: 10.96.0.50, selector: {app: backend}, ports: [{name: http, port: 9080}]}}
---
{kind: Pod, metadata: {name: caller, namespace: a}, spec: {nodeName: node1, containers: [{name: c}]}, status: {podIP: 10.244.0.11}}
---
{kind: Pod, metadata: {name: near, namespace: a, labels: {app: backend}}, spec: {nodeName: node1, containers: [{name: c}]}, status: {podIP: 10.244.0.21}}
---
{kind: Pod, metadata: {name: far, namespace: a, labels: {app: backend}}, spec: {nodeName: node2, containers: [{name: c}]}, status: {podIP: 10.244.0.22}}
";

pub(crate) const OUTLIERS: &str = "
kind: DestinationRule
metadata: {name: backend, namespace: a}
spec: {host: backend, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1, interval: 100ms, baseEjectionTime: 500ms, maxEjectionPercent: 100}}}
";

/// Answers to a number of calls: how often which status came from whom.
async fn answers(calls: usize) -> BTreeMap<(u16, String), usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..calls {
        let answer = pod::plain(VIRTUAL, PORT, "backend").await.expect("an answer");
        *answers.entry(answer).or_default() += 1;
    }
    answers
}

fn only(status: u16, name: &str, calls: usize) -> BTreeMap<(u16, String), usize> {
    BTreeMap::from([((status, name.to_owned()), calls)])
}

async fn until_only(what: &str, name: &str) {
    let look = async || {
        let answers = answers(5).await;
        if answers == only(200, name, 5) { Ok(()) } else { Err(format!("{answers:?}")) }
    };
    eventually::poll(what, Duration::from_secs(20), Duration::from_millis(50), look).await.unwrap();
}

#[tokio::test]
async fn a_region_takes_over_and_gives_back() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    if !in_network_namespace("locality_live::a_region_takes_over_and_gives_back") {
        return;
    }
    let status = Arc::new(AtomicU16::new(200));
    pod::capture(VIRTUAL, 15001);
    pod::own(VIRTUAL);
    pod::own(NEAR);
    pod::own(FAR);
    let of_near = Arc::clone(&status);
    pod::application(NEAR, PORT, Arc::new(move || (of_near.load(Ordering::SeqCst), "near".to_owned()))).await;
    pod::application(FAR, PORT, Arc::new(|| (200, "far".to_owned()))).await;
    let guarded = Fixture::read(&[WORLD, OUTLIERS]);
    let mut world = World::start(&guarded, ("sidecar", "a", "caller"), Secrets::self_signed(), false);
    world.converge("with outlier detection", &guarded).await;

    assert_eq!(answers(20).await, only(200, "near", 20), "the own region comes first");
    status.store(500, Ordering::SeqCst);
    until_only("the other region to take over", "far").await;
    status.store(200, Ordering::SeqCst);
    until_only("the own region to come back", "near").await;
    assert_eq!(answers(20).await, only(200, "near", 20));

    // Control: without outlier detection both regions are used, and nobody takes over from the one that fails.
    world.converge("without outlier detection", &Fixture::read(&[WORLD])).await;
    status.store(500, Ordering::SeqCst);
    let mixed = answers(60).await;
    let (failed, far) = (mixed.get(&(500, "near".to_owned())), mixed.get(&(200, "far".to_owned())));
    assert!(failed.is_some_and(|count| *count > 10) && far.is_some_and(|count| *count > 10), "{mixed:?}");
}

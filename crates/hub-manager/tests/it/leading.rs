//! Of several managers one leads.

use std::time::Duration;

use http::Method;
use hub_manager::event::Event;
use hub_manager::lease::{Settings, acquire};
use tokio::time::Instant;

use crate::spy::Spy;
use crate::world::{HUB, management, manager, until};

fn settings(identity: &str) -> Settings {
    Settings {
        duration: Duration::from_secs(2),
        deadline: Duration::from_secs(1),
        renewal: Duration::from_millis(100),
        ..Settings::new(HUB, "hub-manager", identity)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_and_another_takes_over_when_it_lets_go_or_falls_silent() {
    let management = management().await;
    let mut first = acquire(management.client.clone(), settings("first")).await;
    let mut second = tokio::spawn(acquire(management.client.clone(), settings("second")));
    tokio::select! {
        lost = first.keep() => panic!("the first lost it: {lost}"),
        _ = &mut second => panic!("the second took it while the first renewed it"),
        // Longer than the lease: only its renewal keeps it.
        () = eventually_later(Duration::from_secs(4)) => {}
    }
    first.release().await;
    let second = tokio::time::timeout(Duration::from_millis(1_500), second).await.expect("before its end").unwrap();
    // The second falls silent.
    drop(second);
    let third = acquire(management.client.clone(), settings("third"));
    let mut third = tokio::time::timeout(Duration::from_secs(10), third).await.expect("after its end");
    // Somebody else takes it: who held it notices.
    let lease = management.patch(
        "coordination.k8s.io/v1",
        "Lease",
        HUB,
        "hub-manager",
        serde_json::json!({ "spec": { "holderIdentity": "fourth" } }),
    );
    lease.await;
    let lost = tokio::time::timeout(Duration::from_secs(10), third.keep()).await.expect("it notices");
    assert!(lost.contains("fourth"), "{lost}");
}

/// The API server takes the Lease at once and answers late: whoever takes it counts from when it asked, as others do from when
/// the server has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_two_also_where_answers_come_late() {
    let management = management().await;
    let writes = |method: &Method, path: &str| *method != Method::GET && path.contains("/leases");
    let (client, spy) = Spy::on(&management.client, writes);
    spy.hold(true);
    let first = tokio::spawn(async move {
        let mut held = acquire(client, settings("first")).await;
        let reason = held.keep().await;
        (Instant::now(), reason)
    });
    until("the first to have it", async || {
        let lease = management.get("coordination.k8s.io/v1", "Lease", HUB, "hub-manager").await.unwrap_or_default();
        if lease["spec"]["holderIdentity"] == "first" { Ok(()) } else { Err(lease.to_string()) }
    })
    .await;
    let second = acquire(management.client.clone(), settings("second"));
    let second = tokio::spawn(async move {
        let _held = second.await;
        Instant::now()
    });
    eventually_later(Duration::from_millis(1_500)).await;
    spy.refuse(true);
    spy.hold(false);
    let both = async { (first.await.unwrap(), second.await.unwrap()) };
    let ((lost, reason), taken) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("both end");
    assert!(lost <= taken, "the first led for {:?} with the second ({reason})", lost - taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_core_ended_notices_and_ends() {
    let management = management().await;
    let mut manager = manager(&management).await;
    let defect = Event::Ask(Box::new(|_| panic!("a defect, on purpose")));
    assert!(manager.events.send(defect).is_ok());
    let ended = tokio::time::timeout(Duration::from_secs(20), manager.ended()).await;
    // Some tasks end because nobody hears them any more, and may be noticed first.
    assert!(["the core", "a task"].contains(&ended.expect("it notices")));
    tokio::time::timeout(Duration::from_secs(20), manager.stop()).await.expect("and ends");
}

/// A time in which nothing else may happen.
async fn eventually_later(time: Duration) {
    let _passed = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

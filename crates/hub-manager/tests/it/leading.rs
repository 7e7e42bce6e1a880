//! Of several managers one leads.

use std::time::Duration;

use hub_manager::lease::{Settings, acquire};

use crate::world::{HUB, management};

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

/// A time in which nothing else may happen.
async fn eventually_later(time: Duration) {
    let _passed = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

//! The admission webhook, called by the API server that people write to.

use hub_manager::admission;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::world::{HUB, manager, one_cluster, policy, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_accepted_is_refused_with_the_field_and_the_rest_warned_about() {
    let (management, _one) = one_cluster().await;
    let manager = manager(&management).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    management
        .create(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "hub-manager", "namespace": HUB },
            "spec": { "ports": [{ "port": port }] } }))
        .await;
    let mut configuration: Value =
        serde_saphyr::from_str(include_str!("../../../../manifests/hub/30-webhook.yaml")).unwrap();
    configuration["webhooks"][0]["clientConfig"]["service"]["port"] = port.into();
    management.create(configuration).await;
    let (leads, leading) = watch::channel(Some(manager.events.clone()));
    let (in_step, mut judges) = watch::channel(false);
    let cancel = CancellationToken::new();
    let running = admission::run(management.client.clone(), HUB.to_owned(), listener, leading, in_step, cancel.clone());
    let running = tokio::spawn(running);
    judges.wait_for(|judges| *judges).await.unwrap();

    let mut bad = timeout("bad", 2);
    bad["spec"]["policy"] = json!({ "trafficShift": { "destinations": [
        { "weight": 90, "kubeService": { "name": "reviews", "namespace": "bookinfo", "clusterName": "cluster1" } }] } });
    let refused = management.try_create(bad.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("spec.policy.trafficShift.destinations") && refused.contains("100"), "{refused}");

    management.create(timeout("good", 2)).await;
    policy(&management, "good", "ACCEPTED").await;
    // Warnings are headers of HTTP, which no client library shows; the webhook itself is asked for them.
    bad["spec"]["policy"]["trafficShift"]["destinations"][0]["weight"] = 100.into();
    bad["spec"]["policy"]["trafficShift"]["destinations"][0]["kubeService"]["subset"] = json!({ "version": "v9" });
    let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u", "operation": "CREATE", "object": bad } });
    let events = manager.events.clone();
    let copy = hub_manager::event::ask(&events, admission::review::copy).await.flatten().unwrap();
    let request = admission::review::Request::read(&review).unwrap();
    let warnings = admission::review::warnings(copy, request.input().unwrap());
    assert!(warnings.iter().any(|warning| warning.contains("v9")), "{warnings:?}");
    drop(events);

    cancel.cancel();
    running.await.unwrap();
    drop(leads);
    manager.stop().await;
}

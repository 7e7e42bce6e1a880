//! The admission webhook, called by the API server that people write to.

use hub_manager::admission;
use kube::api::{Patch, PatchParams, ValidationDirective};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::world::{HUB, NETWORKING, manager, one_cluster, policy, timeout};

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// What only the webhook refuses.
fn wrong_weights() -> Value {
    json!({ "trafficShift": { "destinations": [
        { "weight": 90, "kubeService": { "name": "reviews", "namespace": "bookinfo", "clusterName": "cluster1" } }] } })
}

/// The API server drops fields that a definition has not before a webhook sees the object. It refuses them where it is asked to,
/// as `kubectl` does.
async fn unknown_fields(management: &Cluster) {
    let mut typo = timeout("typo", 2);
    typo["spec"]["policy"]["requestTimeuot"] = "3s".into();
    let api = management.of_kind(NETWORKING, "TrafficPolicy", "bookinfo");
    let apply = async |validation: Option<ValidationDirective>| {
        let params = PatchParams { field_validation: validation, ..PatchParams::apply("kubectl") };
        api.patch("typo", &params, &Patch::Apply(&typo)).await
    };
    let refused = apply(Some(ValidationDirective::Strict)).await.unwrap_err().to_string();
    assert!(refused.contains("unknown field \"spec.policy.requestTimeuot\""), "{refused}");
    let stored = apply(None).await.unwrap();
    assert_eq!(stored.data["spec"]["policy"], json!({ "requestTimeout": "2s" }));
    // Where nothing is left of it the webhook says so.
    let mut empty = timeout("empty", 2);
    empty["spec"]["policy"] = json!({ "requestTimeuot": "3s" });
    let refused = management.try_create(empty).await.unwrap_err().to_string();
    assert!(refused.contains("spec.policy: does nothing"), "{refused}");
}

/// The manager may read Secrets of its own namespace only.
async fn a_root_out_of_reach(management: &Cluster) {
    let elsewhere = json!({ "rootCertificateAuthority": { "secret": { "name": "root", "namespace": "vault" } } });
    let virtual_mesh = json!({ "apiVersion": NETWORKING, "kind": "VirtualMesh",
        "metadata": { "name": "all", "namespace": HUB },
        "spec": { "meshes": [{ "name": "istiod--istio-system--cluster1", "namespace": HUB }],
            "mtlsConfig": { "shared": elsewhere } } });
    let refused = management.try_create(virtual_mesh).await.unwrap_err().to_string();
    assert!(refused.contains("rootCertificateAuthority.secret.namespace: must be meshproof-hub"), "{refused}");
}

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
    bad["spec"]["policy"] = wrong_weights();
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
    unknown_fields(&management).await;
    a_root_out_of_reach(&management).await;

    let kept = management.get(ADMISSION, "ValidatingWebhookConfiguration", "", "meshproof-hub").await.unwrap();
    assert!(kept["webhooks"][0]["clientConfig"]["caBundle"].is_string(), "{kept}");
    cancel.cancel();
    running.await.unwrap();
    drop(leads);
    // Nobody judges any more: people go on writing, and what is wrong stands in the status.
    let mut late = timeout("late", 2);
    late["spec"]["policy"] = wrong_weights();
    management.create(late).await;
    let told = policy(&management, "late", "INVALID").await;
    assert!(told["errors"][0].as_str().unwrap().contains("spec.policy.trafficShift.destinations"), "{told}");
    manager.stop().await;
}

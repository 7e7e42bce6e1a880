//! Admission webhooks: a real HTTPS server on loopback that mutates, refuses, warns, and sometimes does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{World, raw, refusal, try_create};

const HOOKS: &str = "admissionregistration.k8s.io/v1";

/// A webhook server; `answer` makes a response from a request.
struct Hook {
    port: u16,
    bundle: String,
    calls: Arc<AtomicUsize>,
}

async fn hook(answer: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static) -> Hook {
    let key = rcgen::generate_simple_self_signed(vec!["hook.default.svc".to_owned(), "localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let router = axum::Router::new().route(
        "/",
        post(async move |Json(review): Json<Value>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut response = answer(&review["request"]);
            response["uid"] = review["request"]["uid"].clone();
            Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
        }),
    );
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper_util::service::TowerToHyperService::new(router);
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Hook { port, bundle: STANDARD.encode(key.cert.pem()), calls }
}

/// The Service that the webhook is reached by; the tests' dialer goes to loopback at its port.
async fn service(world: &World, port: u16) {
    world
        .create("v1", "Service", "default", json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"port": port}]}}))
        .await;
}

async fn register(world: &World, kind: &str, hook: &Hook, extra: Value) {
    service(world, hook.port).await;
    let mut webhook = json!({"name": "check.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"caBundle": hook.bundle, "service": {"name": "hook", "namespace": "default", "port": hook.port}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
    for (key, value) in extra.as_object().unwrap() {
        webhook[key] = value.clone();
    }
    world.create(HOOKS, kind, "", json!({"metadata": {"name": "hooks"}, "webhooks": [webhook]})).await;
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test]
async fn a_mutating_webhook_patches_and_warns() {
    let world = World::start().await;
    let patch = STANDARD.encode(r#"[{"op": "add", "path": "/data", "value": {"by": "hook"}}]"#);
    let hook = hook(
        move |_| json!({"allowed": true, "patchType": "JSONPatch", "patch": patch, "warnings": ["look \"here\""]}),
    )
    .await;
    register(&world, "MutatingWebhookConfiguration", &hook, json!({})).await;
    let request = http::Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(map("a").to_string().into_bytes().into())
        .unwrap();
    let response = world.client.send(request).await.unwrap();
    assert_eq!(response.headers()["warning"], "299 - \"look \\\"here\\\"\"");
    let stored = world.api("v1", "ConfigMap", "default").get("a").await.unwrap();
    assert_eq!(stored.data["data"], json!({"by": "hook"}));
}

#[tokio::test]
async fn a_validating_webhook_refuses_in_its_own_words() {
    let world = World::start().await;
    let hook = hook(|request| {
        assert_eq!((&request["operation"], &request["kind"]["kind"], &request["namespace"]), (&json!("CREATE"), &json!("ConfigMap"), &json!("default")));
        json!({"allowed": request["object"]["metadata"]["name"] != "bad", "status": {"message": "not this one", "code": 403}})
    }).await;
    register(&world, "ValidatingWebhookConfiguration", &hook, json!({})).await;
    world.create("v1", "ConfigMap", "default", map("good")).await;
    let (code, _, message) = refusal(try_create(&world.client, "v1", "ConfigMap", "default", map("bad")).await);
    assert_eq!(
        (code, message.as_str()),
        (403, "admission webhook \"check.example.com\" denied the request: not this one")
    );
    let path = "/api/v1/namespaces/default/configmaps?dryRun=All";
    assert_eq!(
        raw(&world.client, "POST", path, "application/json", map("bad")).await.0,
        403,
        "dry runs are asked as well"
    );
}

#[tokio::test]
async fn selectors_and_rules_decide_who_is_asked() {
    let world = World::start().await;
    let hook = hook(|_| json!({"allowed": true})).await;
    let selector = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}});
    register(&world, "ValidatingWebhookConfiguration", &hook, selector).await;
    world.create("v1", "ConfigMap", "default", map("a")).await;
    assert_eq!(hook.calls.load(Ordering::Relaxed), 0, "another namespace");
    world.create("v1", "ConfigMap", "kube-system", json!({"metadata": {"name": "b", "labels": {"skip": "1"}}})).await;
    assert_eq!(hook.calls.load(Ordering::Relaxed), 0, "another object");
    world.create("v1", "Secret", "kube-system", map("c")).await;
    assert_eq!(hook.calls.load(Ordering::Relaxed), 0, "another resource");
    world.create("v1", "ConfigMap", "kube-system", map("d")).await;
    assert_eq!(hook.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_fails_or_is_ignored() {
    let world = World::start().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let dead = Hook { port: closed, bundle: String::new(), calls: Arc::default() };
    register(&world, "ValidatingWebhookConfiguration", &dead, json!({})).await;
    let (code, reason, message) = refusal(try_create(&world.client, "v1", "ConfigMap", "default", map("a")).await);
    assert_eq!((code, reason.as_str()), (500, "InternalError"));
    let start = format!(
        "Internal error occurred: failed calling webhook \"check.example.com\": failed to call webhook: Post \"https://hook.default.svc:{closed}/?timeout=10s\": dial tcp 10.96."
    );
    assert!(message.starts_with(&start) && message.ends_with("connect: connection refused"), "{message}");
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/hooks";
    let ignore = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    assert_eq!(raw(&world.client, "PATCH", path, "application/json-patch+json", ignore).await.0, 200);
    world.create("v1", "ConfigMap", "default", map("a")).await;
}

#[tokio::test]
async fn a_webhook_must_prove_who_it_is() {
    let world = World::start().await;
    let hook = hook(|_| json!({"allowed": true})).await;
    let stranger = rcgen::generate_simple_self_signed(vec!["hook.default.svc".to_owned()]).unwrap();
    let wrong = Hook { bundle: STANDARD.encode(stranger.cert.pem()), ..hook };
    register(&world, "ValidatingWebhookConfiguration", &wrong, json!({})).await;
    let (code, _, message) = refusal(try_create(&world.client, "v1", "ConfigMap", "default", map("a")).await);
    assert_eq!(code, 500);
    assert!(message.contains("tls: failed to verify certificate"), "{message}");
}

#[tokio::test]
async fn a_slow_webhook_runs_out_of_time() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Accepts, and says nothing.
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let silent = Hook { port, bundle: String::new(), calls: Arc::default() };
    register(&world, "ValidatingWebhookConfiguration", &silent, json!({"timeoutSeconds": 1})).await;
    let (code, _, message) = refusal(try_create(&world.client, "v1", "ConfigMap", "default", map("a")).await);
    assert_eq!(code, 500);
    assert!(message.ends_with("?timeout=1s\": context deadline exceeded"), "{message}");
}

#[tokio::test]
async fn a_webhook_is_asked_again_after_a_later_change() {
    let world = World::start().await;
    let patch = STANDARD.encode(r#"[{"op": "add", "path": "/metadata/annotations", "value": {"late": "1"}}]"#);
    let early = hook(|_| json!({"allowed": true})).await;
    let late = hook(move |_| json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})).await;
    let webhook = |name: &str, hook: &Hook, policy: &str| {
        json!({"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "reinvocationPolicy": policy,
            "clientConfig": {"caBundle": hook.bundle, "url": format!("https://localhost:{}/", hook.port)},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]})
    };
    let hooks = json!({"metadata": {"name": "hooks"}, "webhooks": [
        webhook("early.example.com", &early, "IfNeeded"), webhook("late.example.com", &late, "Never")]});
    world.create(HOOKS, "MutatingWebhookConfiguration", "", hooks).await;
    world.create("v1", "ConfigMap", "default", map("a")).await;
    assert_eq!((early.calls.load(Ordering::Relaxed), late.calls.load(Ordering::Relaxed)), (2, 1));
}

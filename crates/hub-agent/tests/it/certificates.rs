//! From an IssuedCertificate to a control plane that signs with it, restarts included. The test is the plane, Istio and Kubernetes'
//! controllers.

use std::time::{Duration, SystemTime};

use kube::api::{DeleteParams, Patch, PatchParams};
use mesh_certificates::{Authority, Terms, request};
use mesh_types::hub::Kind;
use serde_json::{Value, json};

use crate::world::{World, until};

pub(crate) const CERTIFICATES: &str = "certificates.meshproof.dev/v1";
const ID: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";

pub(crate) fn root() -> Authority {
    Authority::generate(&terms()).unwrap()
}

fn terms() -> Terms {
    Terms { organisation: "Istio".to_owned(), life: Duration::from_secs(86_400), now: SystemTime::now() }
}

fn certificate(restart: bool) -> Value {
    certificate_in("mesh1", "istio-system", restart)
}

pub(crate) fn certificate_in(name: &str, namespace: &str, restart: bool) -> Value {
    let mut spec = json!({
        "hosts": [ID], "orgName": "Istio", "ttlDays": 1, "secretRotationGracePeriodRatio": 0.1,
        "issuedCertificateSecret": { "name": "cacerts", "namespace": namespace },
        "signingCertificateSecret": { "name": "root", "namespace": "meshproof-hub" },
    });
    if restart {
        spec["workloadRestart"] = json!({ "name": "mesh1", "namespace": "meshproof-hub" });
    }
    json!({ "metadata": { "name": name }, "spec": spec })
}

/// Signs what the agent asks for, as the plane does.
async fn sign(world: &World, root: &Authority, trusted: &[&Authority], again: bool) {
    sign_for("mesh1", world, root, trusted, again).await;
}

pub(crate) async fn sign_for(name: &str, world: &World, root: &Authority, trusted: &[&Authority], again: bool) {
    let requests = world.hub(Kind::CertificateRequest);
    let unanswered =
        |object: &Value| again || object["status"]["observedGeneration"] != object["metadata"]["generation"];
    let asked = until("a request", &requests, name, unanswered).await;
    let csr = asked["spec"]["certificateSigningRequest"].as_str().unwrap();
    let requested = request::check(csr, &[ID.to_owned()]).unwrap();
    let status = json!({
        "observedGeneration": asked["metadata"]["generation"],
        "state": "FINISHED",
        "signedCertificate": root.sign(&requested, &terms()).unwrap(),
        "signingRootCa": trusted.iter().map(|root| root.root_pem()).collect::<String>(),
    });
    world.status(&requests, name, status).await;
}

fn is_in(state: &'static str) -> impl FnMut(&Value) -> bool {
    move |object| object["status"]["state"] == state
}

fn text(secret: &Value, key: &str) -> String {
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret.clone()).unwrap();
    String::from_utf8(secret.data.unwrap()[key].0.clone()).unwrap()
}

#[tokio::test]
async fn issued_deleted_and_issued_again() {
    let world = World::start().await;
    let _agent = world.agent();
    let certificates = world.hub(Kind::IssuedCertificate);
    let secrets = world.api("v1", "Secret", "istio-system");
    world.create(CERTIFICATES, "IssuedCertificate", "meshproof-hub", certificate(false)).await;
    let root = root();
    sign(&world, &root, &[&root], false).await;
    let done = until("the certificate", &certificates, "mesh1", is_in("FINISHED")).await;
    assert_eq!(done["status"]["rootFingerprint"], root.root_fingerprint());
    let secret = until("cacerts", &secrets, "cacerts", |_| true).await;
    assert_eq!(text(&secret, "root-cert.pem"), root.root_pem());
    assert!(text(&secret, "ca-key.pem").contains("PRIVATE KEY"));
    let no_key = |value: &Value| !value.to_string().contains("PRIVATE KEY");
    assert!(no_key(&done));
    let waited = eventually::poll(
        "the waiting key to be dropped",
        Duration::from_secs(10),
        Duration::from_millis(20),
        async || {
            let left = secrets.get_opt("key--cacerts").await.unwrap();
            if left.is_none() { Ok(()) } else { Err("it is there") }
        },
    );
    waited.await.unwrap();
    secrets.delete("cacerts", &DeleteParams::default()).await.unwrap();
    sign(&world, &root, &[&root], false).await;
    until("the certificate", &certificates, "mesh1", is_in("FINISHED")).await;
    let anew = until("cacerts", &secrets, "cacerts", |_| true).await;
    assert_ne!(text(&anew, "ca-key.pem"), text(&secret, "ca-key.pem"));
}

#[tokio::test]
async fn a_foreign_authority_stays_until_it_is_handed_over() {
    let world = World::start().await;
    let _agent = world.agent();
    let certificates = world.hub(Kind::IssuedCertificate);
    let secrets = world.api("v1", "Secret", "istio-system");
    let foreign = root();
    let foreign = json!({
        "metadata": { "name": "cacerts" },
        "stringData": { "root-cert.pem": foreign.root_pem(), "ca-cert.pem": foreign.chain_pem(), "ca-key.pem": foreign.key_pem() },
    });
    world.create("v1", "Secret", "istio-system", foreign).await;
    let before = until("cacerts", &secrets, "cacerts", |_| true).await;
    world.create(CERTIFICATES, "IssuedCertificate", "meshproof-hub", certificate(false)).await;
    let refused = until("the refusal", &certificates, "mesh1", is_in("FAILED")).await;
    assert!(refused["status"]["error"].as_str().unwrap().contains("istio-system/cacerts"), "{refused}");
    let after = until("cacerts", &secrets, "cacerts", |_| true).await;
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    let adopt = json!({ "metadata": { "annotations": { "certificates.meshproof.dev/adopt": "true" } } });
    secrets.patch("cacerts", &PatchParams::default(), &Patch::Merge(adopt)).await.unwrap();
    let root = root();
    sign(&world, &root, &[&root], false).await;
    until("the certificate", &certificates, "mesh1", is_in("FINISHED")).await;
    let adopted = until("cacerts", &secrets, "cacerts", |_| true).await;
    assert!(text(&adopted, "root-cert.pem").starts_with(&root.root_pem()));
}

/// The root changes with overlap while the test restarts what the agent restarts, with an agent that is another one each time.
#[tokio::test]
async fn workloads_are_restarted_for_a_new_root_and_for_no_other_reason() {
    let world = World::start().await;
    let certificates = world.hub(Kind::IssuedCertificate);
    let restarts = world.hub(Kind::WorkloadRestart);
    let after = json!({ "name": "istio-ca-root-cert", "key": "root-cert.pem" });
    let steps = json!([
        { "namespace": "istio-system", "labels": { "app": "istiod" } },
        { "afterRootIn": after },
    ]);
    let restart = json!({ "metadata": { "name": "mesh1" }, "spec": { "steps": steps } });
    world.create(CERTIFICATES, "WorkloadRestart", "meshproof-hub", restart).await;
    world.create(CERTIFICATES, "IssuedCertificate", "meshproof-hub", certificate(true)).await;
    workload(&world, "istio-system", "istiod", "discovery").await;
    workload(&world, "bookinfo", "reviews", "istio-proxy").await;
    let (old, new) = (root(), root());
    let answers: [(&Authority, &[&Authority], bool); 4] =
        [(&old, &[&old], true), (&old, &[&old, &new], true), (&new, &[&old, &new], true), (&new, &[&new], false)];
    for (place, (signer, trusted, restarted)) in answers.into_iter().enumerate() {
        let _agent = world.agent();
        let before =
            [annotation(&world, "istio-system", "istiod").await, annotation(&world, "bookinfo", "reviews").await];
        sign(&world, signer, trusted, place > 0).await;
        let wanted: Vec<String> = trusted.iter().map(|root| root.root_fingerprint()).collect();
        let installed = |object: &Value| {
            let status = &object["status"];
            let found = status["trustedRoots"].as_array().map_or(0, Vec::len);
            status["rootFingerprint"] == signer.root_fingerprint() && found == wanted.len()
        };
        until("the roots to be installed", &certificates, "mesh1", installed).await;
        if restarted {
            rolled_out(&world, "istio-system", "istiod", &before[0]).await;
            publish(&world).await;
            rolled_out(&world, "bookinfo", "reviews", &before[1]).await;
        } else {
            publish(&world).await;
        }
        until("the certificate", &certificates, "mesh1", is_in("FINISHED")).await;
        let done = until("the restart", &restarts, "mesh1", is_in("FINISHED")).await;
        assert_eq!(done["status"]["stepsDone"], 2);
        assert_eq!(done["status"]["rootFingerprint"], signer.root_fingerprint());
        let after = annotation(&world, "bookinfo", "reviews").await;
        assert_eq!(after != before[1], restarted, "answer {place}");
    }
}

async fn workload(world: &World, namespace: &str, name: &str, container: &str) {
    let labels = json!({ "app": name });
    let containers = json!([{ "name": container, "image": "image:1" }]);
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": containers } });
    let deployment = json!({ "metadata": { "name": name }, "spec": { "selector": { "matchLabels": labels }, "template": template } });
    world.create("apps/v1", "Deployment", namespace, deployment).await;
    pod(world, namespace, name, container, Value::Null).await;
    settled(world, namespace, name).await;
}

async fn pod(world: &World, namespace: &str, name: &str, container: &str, annotations: Value) {
    let metadata = json!({ "name": format!("{name}-1"), "labels": { "app": name }, "annotations": annotations });
    let account = json!({ "metadata": { "name": "default" } });
    if world.api("v1", "ServiceAccount", namespace).get_opt("default").await.unwrap().is_none() {
        world.create("v1", "ServiceAccount", namespace, account).await;
    }
    let spec = json!({ "containers": [{ "name": container, "image": "image:1" }] });
    world.create("v1", "Pod", namespace, json!({ "metadata": metadata, "spec": spec })).await;
}

async fn annotation(world: &World, namespace: &str, name: &str) -> Value {
    let deployment = world.api("apps/v1", "Deployment", namespace).get(name).await.unwrap();
    deployment.data["spec"]["template"]["metadata"]["annotations"].clone()
}

/// What the controllers of Deployments do when a template changes.
async fn rolled_out(world: &World, namespace: &str, name: &str, before: &Value) {
    let deployments = world.api("apps/v1", "Deployment", namespace);
    let annotations = |object: &Value| object["spec"]["template"]["metadata"]["annotations"].clone();
    let changed = |object: &Value| annotations(object) != *before;
    let deployment = until("a restart", &deployments, name, changed).await;
    assert!(annotations(&deployment)["kubectl.kubernetes.io/restartedAt"].is_string());
    let container = if name == "istiod" { "discovery" } else { "istio-proxy" };
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    world.api("v1", "Pod", namespace).delete(&format!("{name}-1"), &now).await.unwrap();
    pod(world, namespace, name, container, annotations(&deployment)).await;
    settled(world, namespace, name).await;
}

async fn settled(world: &World, namespace: &str, name: &str) {
    let deployments = world.api("apps/v1", "Deployment", namespace);
    let generation = deployments.get(name).await.unwrap().metadata.generation;
    let status = json!({
        "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
    });
    world.status(&deployments, name, status).await;
}

/// What istiod does when its authority changes.
async fn publish(world: &World) {
    let secret = until("cacerts", &world.api("v1", "Secret", "istio-system"), "cacerts", |_| true).await;
    for namespace in ["istio-system", "bookinfo"] {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "istio-ca-root-cert", "namespace": namespace },
            "data": { "root-cert.pem": text(&secret, "root-cert.pem") },
        });
        let maps = world.api("v1", "ConfigMap", namespace);
        maps.patch("istio-ca-root-cert", &PatchParams::apply("istiod").force(), &Patch::Apply(map)).await.unwrap();
    }
}

//! Shared trust, with the agents that run in real clusters: keys stay where they are made, and a root changes while the manager is
//! another one.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use hub_agent::pods::Pods;
use hub_agent::run::Settings;
use mesh_certificates::{Authority, Terms, pem};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::Cluster;
use crate::world::{HUB, NETWORKING, bookinfo, management, manager, reason, register, status, until};

const CERTIFICATES: &str = "certificates.meshproof.dev/v1";
const CLUSTERS: [&str; 2] = ["cluster1", "cluster2"];

/// A registered cluster with an agent that works.
struct Member {
    cluster: Cluster,
    _agent: DropGuard,
}

async fn member(management: &Cluster, name: &str, number: usize) -> Member {
    let cluster = bookinfo(name, number).await;
    let labels = json!({ "app.kubernetes.io/name": "meshproof-hub-agent" });
    let containers = json!([{ "name": "agent", "image": "meshproof/hub-agent:dev" }]);
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": containers } });
    cluster
        .create(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "hub-agent", "namespace": HUB, "labels": labels },
            "spec": { "selector": { "matchLabels": labels }, "template": template },
        }))
        .await;
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    cluster
        .create(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "hub-agent-0", "namespace": HUB, "labels": labels },
            "spec": { "containers": containers },
            "status": { "phase": "Running", "conditions": ready },
        }))
        .await;
    register(management, name, &cluster.kubeconfig()).await;
    let cancel = CancellationToken::new();
    let pods = Pods::watch(cluster.client.clone(), &cancel);
    let settings = Settings { namespace: HUB.to_owned(), cluster: name.to_owned() };
    tokio::spawn(hub_agent::run::run(cluster.client.clone(), pods, settings, cancel.clone()));
    Member { cluster, _agent: cancel.drop_guard() }
}

async fn trust(management: &Cluster, authority: Value) {
    let meshes: Vec<Value> = CLUSTERS
        .iter()
        .map(|cluster| json!({ "name": format!("istiod--istio-system--{cluster}"), "namespace": HUB }))
        .collect();
    let shared = json!({ "rootCertificateAuthority": authority });
    let spec = json!({ "meshes": meshes, "mtlsConfig": { "shared": shared } });
    let metadata = json!({ "name": "all", "namespace": HUB });
    management
        .create(json!({ "apiVersion": NETWORKING, "kind": "VirtualMesh", "metadata": metadata, "spec": spec }))
        .await;
}

/// The roots in `cacerts`, the own one first.
async fn roots(cluster: &Cluster) -> Vec<String> {
    let Some(secret) = cluster.get("v1", "Secret", "istio-system", "cacerts").await else { return Vec::new() };
    let text = text(&secret, "root-cert.pem");
    pem::certificates(&text).unwrap().iter().map(pem::fingerprint).collect()
}

fn text(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_default();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap()
}

/// Waits until both clusters sign under one root, and trust it alone; not under a root of before.
async fn one_root(members: &[&Member], before: &[String]) -> Vec<String> {
    until("one root in both clusters", async || {
        let mut found = Vec::new();
        for member in members {
            found.push(roots(&member.cluster).await);
        }
        let same = found.iter().all(|roots| roots.len() == 1 && *roots == found[0]);
        if same && found[0] != before { Ok(found.remove(0)) } else { Err(format!("{found:?}")) }
    })
    .await
}

#[tokio::test]
async fn members_sign_under_one_root_and_keys_stay_where_they_are() {
    let management = management().await;
    let _manager = manager(&management).await;
    let (one, two) = (member(&management, CLUSTERS[0], 1).await, member(&management, CLUSTERS[1], 2).await);
    trust(&management, json!({ "generated": { "ttlDays": 30 } })).await;
    let root = one_root(&[&one, &two], &[]).await;
    let settled = |status: &Value| reason(status, "Trusted") == "Settled";
    let told = status(&management, (NETWORKING, "VirtualMesh", HUB, "all"), settled).await;
    let of_one = &told["trust"]["meshes"]["istiod--istio-system--cluster1.meshproof-hub"];
    assert_eq!((&told["trust"]["rootFingerprint"], &of_one["trustedRoots"]), (&json!(root[0]), &json!(root)));
    assert!(of_one["notAfter"].is_string(), "{told}");
    let secret = management.get("v1", "Secret", HUB, "root--all--meshproof-hub").await.unwrap();
    assert_eq!(
        pem::certificates(&text(&secret, "ca.crt")).unwrap().iter().map(pem::fingerprint).collect::<Vec<_>>(),
        root
    );
    let own = [&one, &two].map(|member| member.cluster.get("v1", "Secret", "istio-system", "cacerts"));
    let [first, second] = own.map(async |secret| text(&secret.await.unwrap(), "ca-key.pem"));
    let (first, second) = (first.await, second.await);
    assert_ne!(first, second);
    let everything = format!("{:?}", management.list("v1", "Secret").await);
    let encoded = |key: &str| base64::engine::general_purpose::STANDARD.encode(key);
    assert!(!everything.contains(&encoded(&first)) && !everything.contains(&encoded(&second)));
}

#[tokio::test]
async fn a_root_changes_while_the_manager_is_another_one() {
    let management = management().await;
    let first = manager(&management).await;
    let (one, two) = (member(&management, CLUSTERS[0], 1).await, member(&management, CLUSTERS[1], 2).await);
    trust(&management, json!({ "generated": {} })).await;
    let old = one_root(&[&one, &two], &[]).await;
    let annotation = json!({ "metadata": { "annotations": { "certificates.meshproof.dev/rotate-root": "1" } } });
    management.patch(NETWORKING, "VirtualMesh", HUB, "all", annotation).await;
    until("the change to begin", async || {
        let secret = management.get("v1", "Secret", HUB, "root--all--meshproof-hub").await.unwrap();
        let rotation = &secret["metadata"]["annotations"]["certificates.meshproof.dev/rotate-root"];
        if rotation == "1" { Ok(()) } else { Err(rotation.to_string()) }
    })
    .await;
    first.stop().await;
    let _second = manager(&management).await;
    let new = one_root(&[&one, &two], &old).await;
    assert_ne!(new, old);
    let secret = management.get("v1", "Secret", HUB, "root--all--meshproof-hub").await.unwrap();
    assert!(secret["data"]["next-tls.key"].is_null(), "only the new root is kept");
    assert_eq!(
        pem::certificates(&text(&secret, "ca.crt")).unwrap().iter().map(pem::fingerprint).collect::<Vec<_>>(),
        new
    );
}

#[tokio::test]
async fn an_authority_that_is_brought_in_is_waited_for_and_used() {
    let management = management().await;
    let _manager = manager(&management).await;
    let (one, two) = (member(&management, CLUSTERS[0], 1).await, member(&management, CLUSTERS[1], 2).await);
    trust(&management, json!({ "secret": { "name": "own", "namespace": HUB } })).await;
    let name = "istiod--istio-system--cluster1";
    let waits = |status: &Value| status["trust"]["waiting"] == format!("Secret {HUB}/own is missing");
    status(&management, (NETWORKING, "VirtualMesh", HUB, "all"), waits).await;
    until("the reason", async || {
        let request = one.cluster.get(CERTIFICATES, "CertificateRequest", HUB, name).await.unwrap_or_default();
        let error = request["status"]["error"].as_str().unwrap_or_default().to_owned();
        if error == format!("Secret {HUB}/own is missing") { Ok(()) } else { Err(request["status"].to_string()) }
    })
    .await;
    let terms =
        Terms { organisation: "somebody".to_owned(), life: Duration::from_secs(86_400), now: SystemTime::now() };
    let own = Authority::generate(&terms).unwrap();
    let data = json!({ "tls.crt": own.chain_pem(), "tls.key": own.key_pem() });
    management
        .create(json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": "own", "namespace": HUB }, "stringData": data }))
        .await;
    assert_eq!(one_root(&[&one, &two], &[]).await, [own.root_fingerprint()]);
    let secret = management.get("v1", "Secret", HUB, "root--all--meshproof-hub").await.unwrap();
    assert_eq!(text(&secret, "tls.key"), "", "its key is in its owner's Secret only");
}

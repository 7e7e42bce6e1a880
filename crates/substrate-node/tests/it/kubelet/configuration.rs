//! What containers find inside: environment, volumes, tokens, names; and what happens when something is missing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams};
use requirements::{Capability, require};
use serde_json::{Value, json};
use std::time::Duration;

use super::cluster::Cluster;

fn pod_with_everything() -> Value {
    json!({
        "metadata": {"name": "curious", "labels": {"color": "red"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "hostname": "db-0", "subdomain": "db",
            "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["elsewhere.test"]}],
            "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
            "containers": [{
                "name": "main", "image": "server:1", "args": ["8080"], "workingDir": "/config",
                "env": [
                    {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
                    {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                    {"name": "GREETING", "value": "$(NAME) from $(FROM_IMAGE)"},
                ],
                "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "SET_"}],
                "resources": {"limits": {"cpu": "3"}},
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}},
                "volumeMounts": [
                    {"name": "config", "mountPath": "/config"},
                    {"name": "config", "mountPath": "/etc/one", "subPath": "size"},
                    {"name": "keys", "mountPath": "/keys"},
                    {"name": "about", "mountPath": "/about"},
                    {"name": "scratch", "mountPath": "/scratch"},
                ],
            }],
            "volumes": [
                {"name": "config", "configMap": {"name": "settings"}},
                {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
                {"name": "scratch", "emptyDir": {}},
                {"name": "about", "projected": {"sources": [
                    {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    {"serviceAccountToken": {"path": "token", "audience": "somebody", "expirationSeconds": 600}},
                ]}},
            ],
        },
    })
}

#[tokio::test]
async fn a_container_finds_what_its_pod_says() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "settings"}, "data": {"color": "red", "size": "3"}})).await;
    cluster.create::<Secret>(json!({"metadata": {"name": "keys"}, "stringData": {"key": "s3cret"}})).await;
    cluster.create::<Pod>(pod_with_everything()).await;
    let pod = cluster.ready("curious").await;
    let address = pod.status.unwrap().pod_ip.unwrap();

    let script =
        "echo $NAME,$ADDRESS,$KEY,$CPUS,$GREETING,$SET_color,$FROM_IMAGE,$KUBERNETES_SERVICE_HOST; pwd; hostname";
    let environment = cluster.shell("curious", "main", script).await;
    let expected = format!("curious,{address},s3cret,3,curious from yes,red,yes,10.96.0.1\n/config\ndb-0\n");
    assert_eq!(environment, expected);
    let script = "cat color size /etc/one /keys/key /about/labels; stat -Lc %a /keys/key; touch /scratch/x && echo written; \
                  touch /config/x 2>/dev/null || echo read-only";
    let files = cluster.shell("curious", "main", script).await;
    assert_eq!(files, "red33s3cretcolor=\"red\"400\nwritten\nread-only\n");
    let names = cluster.shell("curious", "main", "cat /etc/hosts /etc/resolv.conf").await;
    assert!(names.contains(&format!("{address}\tdb-0.db.default.svc.cluster.local\tdb-0\n")), "{names}");
    assert!(names.contains("192.0.2.7\telsewhere.test\n") && names.contains("options ndots:2\n"), "{names}");
    let capabilities = cluster.shell("curious", "main", "grep CapBnd /proc/self/status").await;
    assert_eq!(capabilities.split_whitespace().last(), Some("0000000000001000"), "NET_ADMIN and nothing else");

    let token = cluster.shell("curious", "main", "cat /about/token").await;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], json!(["somebody"]));
    assert_eq!(claims["sub"], "system:serviceaccount:default:default");
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], "curious");
}

#[tokio::test]
async fn files_follow_their_sources() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "settings"}, "data": {"color": "red", "size": "3"}})).await;
    cluster.create::<Secret>(json!({"metadata": {"name": "keys"}, "stringData": {"key": "s3cret"}})).await;
    cluster.create::<Pod>(pod_with_everything()).await;
    cluster.ready("curious").await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "default");
    let patch = json!({"data": {"color": "blue", "size": null, "shape": "round"}});
    maps.patch("settings", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let patch = json!({"metadata": {"labels": {"color": "green"}}});
    cluster.pods().patch("curious", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let step = Duration::from_millis(20);
    let followed = eventually::poll("the files to follow", Duration::from_secs(20), step, async || {
        let seen = cluster.shell("curious", "main", "cd /config; echo * $(cat color) $(cat /about/labels)").await;
        if seen == "color shape blue color=\"green\"\n" { Ok(()) } else { Err(seen) }
    });
    followed.await.unwrap();
    assert_eq!(cluster.shell("curious", "main", "cat /etc/one").await, "3", "a subPath keeps what it was mounted with");
}

#[tokio::test]
async fn what_is_missing_is_named_and_waited_for() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let pod = |name: &str, container: Value, volumes: Value| {
        let mut container = container;
        container["name"] = json!("main");
        container["image"] = container.get("image").cloned().unwrap_or(json!("shell:1"));
        container["command"] = container.get("command").cloned().unwrap_or(json!(["sleep", "1000"]));
        json!({"metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes}})
    };
    let variable = json!([{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}]);
    let mount = json!([{"name": "v", "mountPath": "/v"}]);
    cluster.create::<Pod>(pod("variable", json!({"env": variable}), json!([]))).await;
    cluster
        .create::<Pod>(pod(
            "volume",
            json!({"volumeMounts": mount}),
            json!([{"name": "v", "configMap": {"name": "late"}}]),
        ))
        .await;
    cluster.create::<Pod>(pod("image", json!({"image": "unknown:1"}), json!([]))).await;
    cluster.create::<Pod>(pod("program", json!({"command": ["no-such-program"]}), json!([]))).await;
    cluster.create::<Pod>(pod("host", json!({}), json!([{"name": "v", "hostPath": {"path": "/"}}]))).await;
    cluster.create::<Pod>(pod("power", json!({"securityContext": {"privileged": true}}), json!([]))).await;
    let waiting = |reason: &'static str, words: &'static str| {
        move |pod: Option<&Pod>| {
            let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.clone()).unwrap_or_default();
            let state = statuses.first().and_then(|status| status.state.clone()?.waiting).unwrap_or_default();
            state.reason.as_deref() == Some(reason) && state.message.is_some_and(|message| message.contains(words))
        }
    };
    for (name, reason, words) in [
        ("variable", "CreateContainerConfigError", "create it in namespace \"default\""),
        ("volume", "ContainerCreating", "configmap \"late\" not found"),
        ("image", "ErrImagePull", "add to `images`"),
        ("program", "RunContainerError", "add the program to `files`"),
        ("host", "CreateContainerConfigError", "use an emptyDir"),
        ("power", "CreateContainerConfigError", "securityContext.capabilities.add"),
    ] {
        cluster.until(name, reason, waiting(reason, words)).await;
    }
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "late"}, "data": {"x": "1"}})).await;
    cluster.ready("variable").await;
    cluster.ready("volume").await;
    assert_eq!(
        cluster.shell("variable", "main", "echo $X $(cat /proc/1/cmdline | tr '\\0' ' ')").await,
        "1 sleep 1000\n"
    );
}

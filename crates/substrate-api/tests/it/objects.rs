//! Create, read, update, patch: what is stored, what is refused, and in which words.

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::{World, pod, raw, refusal, try_create, value};

#[tokio::test]
async fn a_new_cluster_has_namespaces_roles_and_its_own_service() {
    let world = World::start().await;
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let namespace = value(&world.api("v1", "Namespace", "").get(name).await.unwrap());
        assert_eq!(namespace["status"]["phase"], "Active");
        assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
        assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], name);
    }
    world.api("rbac.authorization.k8s.io/v1", "ClusterRole", "").get("cluster-admin").await.unwrap();
    let service = value(&world.api("v1", "Service", "default").get("kubernetes").await.unwrap());
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
}

#[tokio::test]
async fn a_stale_update_is_a_conflict() {
    let world = World::start().await;
    let created =
        world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": "a"}, "data": {"x": "1"}})).await;
    let api = world.api("v1", "ConfigMap", "default");
    let mut changed = created.clone();
    changed["data"]["x"] = json!("2");
    let fresh =
        api.replace("a", &PostParams::default(), &serde_json::from_value(changed.clone()).unwrap()).await.unwrap();
    assert_ne!(
        fresh.metadata.resource_version,
        serde_json::from_value(created["metadata"]["resourceVersion"].clone()).unwrap()
    );
    changed["data"]["x"] = json!("3");
    let outcome = api.replace("a", &PostParams::default(), &serde_json::from_value(changed).unwrap()).await;
    let (code, reason, message) = refusal(outcome);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_keeps_the_revision() {
    let world = World::start().await;
    let created =
        world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": "a"}, "data": {"x": "1"}})).await;
    let api = world.api("v1", "ConfigMap", "default");
    let patch = Patch::Merge(json!({"data": {"x": "1"}}));
    let same = api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(json!(same.metadata.resource_version), created["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn refusals_have_kubernetes_words() {
    let world = World::start().await;
    let missing = world.api("apps/v1", "Deployment", "default").get("nope").await;
    assert_eq!(refusal(missing), (404, "NotFound".into(), "deployments.apps \"nope\" not found".into()));
    world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": "a"}})).await;
    let again = try_create(&world.client, "v1", "ConfigMap", "default", json!({"metadata": {"name": "a"}})).await;
    assert_eq!(refusal(again), (409, "AlreadyExists".into(), "configmaps \"a\" already exists".into()));
    let nowhere = try_create(&world.client, "v1", "ConfigMap", "nowhere", json!({"metadata": {"name": "a"}})).await;
    assert_eq!(refusal(nowhere), (404, "NotFound".into(), "namespaces \"nowhere\" not found".into()));
    let empty = try_create(&world.client, "v1", "Pod", "default", json!({"metadata": {"name": "p"}, "spec": {}})).await;
    assert_eq!(refusal(empty), (422, "Invalid".into(), "Pod \"p\" is invalid: spec.containers: Required value".into()));
    let name = try_create(&world.client, "v1", "ConfigMap", "default", json!({"metadata": {"name": "A_"}})).await;
    assert!(
        refusal(name)
            .2
            .starts_with("ConfigMap \"A_\" is invalid: metadata.name: Invalid value: \"A_\": a lowercase RFC 1123")
    );
    let (code, status) = raw(
        &world.client,
        "POST",
        "/api/v1/namespaces/default/configmaps",
        "application/json",
        json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "b"}}),
    )
    .await;
    assert_eq!(code, 400);
    assert_eq!(status["message"], "the API version in the data (v2) does not match the expected API version (v1)");
    let (code, status) =
        raw(&world.client, "POST", "/api/v1/namespaces/default/configmaps", "text/html", json!({})).await;
    assert_eq!((code, &status["reason"]), (415, &json!("UnsupportedMediaType")));
    let causes = raw(
        &world.client,
        "POST",
        "/api/v1/namespaces/default/services",
        "application/json",
        json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 0}, {"port": 70000}]}}),
    )
    .await
    .1;
    assert_eq!(causes["details"]["causes"].as_array().unwrap().len(), 6, "{causes}");
}

#[tokio::test]
async fn names_are_generated_and_namespaces_agree() {
    let world = World::start().await;
    let created = world.create("v1", "ConfigMap", "default", json!({"metadata": {"generateName": "web-"}})).await;
    let name = created["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    let (code, status) = raw(
        &world.client,
        "POST",
        "/api/v1/namespaces/default/configmaps",
        "application/json",
        json!({"metadata": {"name": "b", "namespace": "other"}}),
    )
    .await;
    assert_eq!(code, 400);
    assert_eq!(
        status["message"],
        "the namespace of the provided object does not match the namespace sent on the request"
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_reported_or_dropped() {
    let world = World::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let body = json!({"metadata": {"name": "a"}, "dta": {"x": "1"}});
    let (code, status) =
        raw(&world.client, "POST", &format!("{path}?fieldValidation=Strict"), "application/json", body.clone()).await;
    assert_eq!(code, 400);
    assert!(status["message"].as_str().unwrap().ends_with("strict decoding error: unknown field \"dta\""), "{status}");
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes().into())
        .unwrap();
    let response = world.client.send(request).await.unwrap();
    assert_eq!(response.headers()["warning"], "299 - \"unknown field \\\"dta\\\"\"");
    assert_eq!(world.api("v1", "ConfigMap", "default").get("a").await.unwrap().data.get("dta"), None);
}

#[tokio::test]
async fn status_and_specification_are_written_apart_and_counted() {
    let world = World::start().await;
    let deployment = json!({"metadata": {"name": "d"}, "status": {"replicas": 7}, "spec": {
        "selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let created = world.create("apps/v1", "Deployment", "default", deployment).await;
    assert_eq!((&created["metadata"]["generation"], &created["status"]), (&json!(1), &json!({})));
    let api = world.api("apps/v1", "Deployment", "default");
    let status = Patch::Merge(json!({"spec": {"replicas": 9}, "status": {"replicas": 1}}));
    let patched = value(&api.patch_status("d", &PatchParams::default(), &status).await.unwrap());
    assert_eq!(
        (&patched["spec"]["replicas"], &patched["status"]["replicas"], &patched["metadata"]["generation"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let spec = Patch::Merge(json!({"spec": {"replicas": 3}, "status": {"replicas": 5}}));
    let patched = value(&api.patch("d", &PatchParams::default(), &spec).await.unwrap());
    assert_eq!(
        (&patched["spec"]["replicas"], &patched["status"]["replicas"], &patched["metadata"]["generation"]),
        (&json!(3), &json!(1), &json!(2))
    );
    let selector = Patch::Merge(json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}));
    assert_eq!(refusal(api.patch("d", &PatchParams::default(), &selector).await).0, 422);
}

#[tokio::test]
async fn the_scale_subresource_reads_and_writes_replicas() {
    let world = World::start().await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    world.create("apps/v1", "Deployment", "default", deployment).await;
    let api = world.api("apps/v1", "Deployment", "default");
    let scale = api.get_scale("d").await.unwrap();
    assert_eq!((scale.spec.unwrap().replicas, scale.status.unwrap().selector.as_deref()), (Some(1), Some("app=d")));
    let scale =
        api.patch_scale("d", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 4}}))).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(4));
    assert_eq!(value(&api.get("d").await.unwrap())["spec"]["replicas"], 4);
}

#[tokio::test]
async fn services_get_addresses_and_give_them_back() {
    let world = World::start().await;
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"port": 80}]);
    let created = world.create("v1", "Service", "default", service("a", json!({"ports": ports}))).await;
    let address = created["spec"]["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.96."));
    assert_eq!(created["spec"]["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
    let taken = try_create(
        &world.client,
        "v1",
        "Service",
        "default",
        service("b", json!({"clusterIP": address, "ports": ports})),
    )
    .await;
    assert!(refusal(taken).2.ends_with("provided IP is already allocated"));
    world.api("v1", "Service", "default").delete("a", &Default::default()).await.unwrap();
    let again =
        world.create("v1", "Service", "default", service("b", json!({"clusterIP": address, "ports": ports}))).await;
    assert_eq!(again["spec"]["clusterIP"], json!(address));
    let headless = world.create("v1", "Service", "default", service("c", json!({"clusterIP": "None"}))).await;
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let balanced =
        world.create("v1", "Service", "default", service("d", json!({"type": "LoadBalancer", "ports": ports}))).await;
    assert!(balanced["spec"]["ports"][0]["nodePort"].as_u64().unwrap() >= 30000);
    let immutable = world
        .api("v1", "Service", "default")
        .patch("b", &PatchParams::default(), &Patch::Merge(json!({"spec": {"clusterIP": "10.96.9.9"}})))
        .await;
    assert_eq!(refusal(immutable).0, 422);
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let world = World::start().await;
    let path = "/api/v1/namespaces/default/configmaps?dryRun=All";
    let (code, object) = raw(&world.client, "POST", path, "application/json", json!({"metadata": {"name": "a"}})).await;
    assert_eq!((code, &object["metadata"]["name"]), (201, &json!("a")));
    assert_eq!(refusal(world.api("v1", "ConfigMap", "default").get("a").await).0, 404);
}

#[tokio::test]
async fn pods_get_an_account_a_token_and_defaults() {
    let world = World::start().await;
    let created = world.create("v1", "Pod", "default", pod("p")).await;
    let spec = &created["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"));
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(created["status"]["phase"], "Pending");
    let mut other = pod("q");
    other["spec"]["serviceAccountName"] = json!("nobody");
    let (code, _, message) = refusal(try_create(&world.client, "v1", "Pod", "default", other).await);
    assert_eq!(code, 403);
    assert!(message.contains("serviceaccount \"nobody\" not found"), "{message}");
}

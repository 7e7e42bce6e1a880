//! With an API server of a few objects.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use kube::client::Body;
use serde_json::json;

use super::*;

/// A cluster with these objects by path; tokens say what they were asked for.
fn client(objects: &[(&str, Value)]) -> Client {
    let objects: Arc<BTreeMap<String, Value>> =
        Arc::new(objects.iter().map(|(path, object)| ((*path).to_owned(), object.clone())).collect());
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let objects = Arc::clone(&objects);
        async move {
            let (parts, body) = request.into_parts();
            let body: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap_or_default();
            let (code, answer) = match objects.get(parts.uri.path()) {
                Some(object) => (200, object.clone()),
                None if parts.uri.path().ends_with("/token") => {
                    let spec = &body["spec"];
                    let token = format!("{} for {} s", spec["audiences"][0], spec["expirationSeconds"]);
                    (
                        201,
                        json!({"metadata": {}, "spec": spec, "status": {"token": token, "expirationTimestamp": "2026-01-01T00:00:00Z"}}),
                    )
                }
                None => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404});
                    (404, status)
                }
            };
            let response = http::Response::builder().status(code).header("content-type", "application/json");
            Ok::<_, Infallible>(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
        }
    });
    Client::new(service, "default")
}

const GROUPS: &str = "/apis/networking.istio.io/v1/namespaces/bookinfo/workloadgroups";

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

/// Everything that is needed.
fn whole() -> Vec<(&'static str, Value)> {
    vec![
        ("/api/v1/namespaces/bookinfo", named("bookinfo")),
        (
            "/apis/networking.istio.io/v1/namespaces/bookinfo/workloadgroups/details-vm",
            json!({"apiVersion": "networking.istio.io/v1", "kind": "WorkloadGroup",
                "metadata": {"name": "details-vm", "namespace": "bookinfo"},
                "spec": {"template": {"serviceAccount": "details", "network": "vms"}}}),
        ),
        (
            "/api/v1/namespaces/bookinfo/configmaps/istio-ca-root-cert",
            json!({"metadata": {"name": "istio-ca-root-cert"}, "data": {"root-cert.pem": "ROOT"}}),
        ),
        (
            "/api/v1/namespaces/istio-system/configmaps/istio",
            json!({"metadata": {"name": "istio"}, "data": {"mesh": "trustDomain: td.example\ndefaultConfig:\n  meshId: mesh1\n"}}),
        ),
        (
            "/api/v1/namespaces/istio-system/services/istio-eastwestgateway",
            json!({"metadata": {"name": "istio-eastwestgateway"}, "spec": {}, "status": {"loadBalancer": {"ingress": [{"ip": "172.30.1.100"}]}}}),
        ),
        ("/api/v1/namespaces/bookinfo/serviceaccounts/details", named("details")),
    ]
}

fn wanted() -> Wanted {
    Wanted {
        group_file: None,
        group: "details-vm".to_owned(),
        namespace: "bookinfo".to_owned(),
        cluster: "cluster1".to_owned(),
        ingress_address: None,
        ingress_service: "istio-eastwestgateway".to_owned(),
        address: None,
        automatic_registration: true,
        capture_dns: true,
        hosts: Vec::new(),
        audience: AUDIENCE.to_owned(),
        token_seconds: 3600,
    }
}

#[tokio::test]
async fn files_come_from_what_the_cluster_says() {
    let files = configure(&client(&whole()), &wanted()).await.unwrap();
    assert_eq!(files.token, "\"istio-ca\" for 3600 s");
    assert_eq!(files.root_certificate, "ROOT");
    assert_eq!(files.hosts, "172.30.1.100 istiod.istio-system.svc\n");
    for line in [
        "ISTIO_META_NETWORK='vms'",
        "TRUST_DOMAIN='td.example'",
        "ISTIO_META_MESH_ID='mesh1'",
        "SERVICE_ACCOUNT='details'",
    ] {
        assert!(files.cluster_env.lines().any(|one| one == line), "{line}: {}", files.cluster_env);
    }
    let given = Wanted { ingress_address: Some("192.0.2.1".parse().unwrap()), ..wanted() };
    assert_eq!(configure(&client(&whole()), &given).await.unwrap().hosts, "192.0.2.1 istiod.istio-system.svc\n");
}

/// Each thing that can be missing is named, with what to do.
#[tokio::test]
async fn what_is_missing_is_named() {
    let expected = [
        "the namespace bookinfo is not there; create it",
        "WorkloadGroup bookinfo/details-vm is not there; the namespace has others",
        "ConfigMap bookinfo/istio-ca-root-cert is not there; is the mesh installed",
        "ConfigMap istio-system/istio is not there; is the mesh installed",
        "Service istio-system/istio-eastwestgateway is not there; install an east-west gateway",
        "ServiceAccount bookinfo/details is not there; create it",
    ];
    for (index, words) in expected.into_iter().enumerate() {
        let mut objects = whole();
        objects.remove(index);
        objects.push((GROUPS, json!({"apiVersion": "networking.istio.io/v1", "kind": "WorkloadGroupList", "metadata": {}, "items": [named("others")]})));
        let error = configure(&client(&objects), &wanted()).await.unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
    let mut objects = whole();
    objects[4].1["status"] = json!({});
    let error = configure(&client(&objects), &wanted()).await.unwrap_err().to_string();
    assert!(error.starts_with("an address of Service istio-system/istio-eastwestgateway is not there"), "{error}");
}

#[tokio::test]
async fn a_group_that_is_none_is_refused_where_it_stands() {
    let mut objects = whole();
    objects[1].1["spec"]["template"]["ports"] = json!({"http": 0});
    let error = configure(&client(&objects), &wanted()).await.unwrap_err().to_string();
    assert!(error.starts_with("WorkloadGroup bookinfo/details-vm: spec.template.ports.http"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(directory.path().join("group.yaml")).unwrap();
    std::fs::write(&path, "kind: Service\nmetadata: {name: a}\n").unwrap();
    let of_file = Wanted { group_file: Some(path.clone()), ..wanted() };
    let error = configure(&client(&whole()), &of_file).await.unwrap_err().to_string();
    assert!(error.starts_with(path.as_str()) && error.contains("WorkloadGroup"), "{error}");
    std::fs::write(
        &path,
        "kind: WorkloadGroup\nmetadata: {name: other}\nspec: {template: {serviceAccount: details}}\n",
    )
    .unwrap();
    let files = configure(&client(&whole()), &of_file).await.unwrap();
    assert!(files.cluster_env.contains("ISTIO_SERVICE='other.bookinfo'"), "{}", files.cluster_env);
}

#[test]
fn the_token_is_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let folder = Utf8PathBuf::from_path_buf(directory.path().join("new")).unwrap();
    let text = |text: &str| text.to_owned();
    let files = Files {
        cluster_env: text("A='1'\n"),
        mesh: text("defaultConfig: {}\n"),
        root_certificate: text("ROOT"),
        token: text("TOKEN"),
        hosts: text("192.0.2.1 istiod.istio-system.svc\n"),
    };
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("istio-token"), "an older one that everybody may read").unwrap();
    write(&folder, &files).unwrap();
    for (name, mode, content) in files.list() {
        let path = folder.join(name);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content, "{name}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
}

//! Injection by example: which pods get a proxy, what it looks like, and that twice is the same as once.

use serde_json::{Value, json};

use super::*;

fn settings() -> MeshSettings {
    MeshSettings {
        cluster_id: "cluster1".to_owned(),
        network: Some("network1".to_owned()),
        mesh_id: "mesh1".to_owned(),
        ..MeshSettings::default()
    }
}

fn manifest(yaml: &str) -> (String, Vec<String>) {
    let mut notices = Vec::new();
    let text = inject_manifest(yaml, &settings(), &mut notices).unwrap();
    (text, notices)
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple_with_options(yaml, serde_saphyr::options! { legacy_octal_numbers: true }).unwrap()
}

const REVIEWS: &str = include_str!("fixtures/reviews.yaml");
const GATEWAY: &str = include_str!("fixtures/gateway.yaml");

/// The pod that a ReplicaSet of the Deployment in `yaml` would create.
fn pod_of_deployment(yaml: &str) -> Value {
    let deployment = documents(yaml).into_iter().find(|document| document["kind"] == "Deployment").unwrap();
    let mut pod = deployment.pointer("/spec/template").unwrap().clone();
    let name = deployment["metadata"]["name"].as_str().unwrap();
    pod["kind"] = "Pod".into();
    pod["metadata"]["labels"]["pod-template-hash"] = "abc123".into();
    pod["metadata"]["generateName"] = format!("{name}-abc123-").into();
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-abc123"), "controller": true}]);
    pod
}

fn inject_pod(pod: &Value, namespace: &str) -> Value {
    let context = NamespaceContext { name: namespace, labels: None };
    match inject(pod, context, &Workload::of_pod(pod), &settings()).unwrap() {
        Outcome::Injected(injected) => injected.pod,
        Outcome::Skipped(reason) => panic!("not injected: {reason}"),
    }
}

#[test]
fn a_deployment_with_probes_volumes_and_exclusions() {
    let (text, notices) = manifest(REVIEWS);
    insta::assert_snapshot!(text);
    assert_eq!(
        notices,
        [
            "Deployment reviews-v1: annotation sidecar.istio.io/statsInclusionPrefixes has no effect on this control plane"
        ]
    );
}

#[test]
fn a_gateway() {
    insta::assert_snapshot!(manifest(GATEWAY).0);
}

#[test]
fn webhook_and_file_give_the_same() {
    for (yaml, namespace) in [(REVIEWS, "bookinfo"), (GATEWAY, "istio-system")] {
        let by_file =
            documents(&manifest(yaml).0).into_iter().find(|document| document["kind"] == "Deployment").unwrap();
        let by_file = by_file.pointer("/spec/template").unwrap();
        let mut by_webhook = inject_pod(&pod_of_deployment(yaml), namespace);
        assert_eq!(by_webhook["spec"], by_file["spec"]);
        let labels = by_webhook["metadata"]["labels"].as_object_mut().unwrap();
        labels.remove("pod-template-hash");
        assert_eq!(&by_webhook["metadata"]["labels"], &by_file["metadata"]["labels"]);
        assert_eq!(by_webhook["metadata"]["annotations"], by_file["metadata"]["annotations"]);
    }
}

#[test]
fn a_second_injection_changes_nothing() {
    let (once, _) = manifest(REVIEWS);
    let (twice, notices) = manifest(&once);
    assert_eq!(documents(&once), documents(&twice));
    assert_eq!(notices, ["Deployment reviews-v1: not injected: the pod has a proxy already"]);
}

#[test]
fn all_kinds_of_workloads_are_injected() {
    let pod = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let template = json!({"template": pod});
    for (kind, spec, pointer) in [
        ("StatefulSet", template.clone(), "/spec/template"),
        ("DaemonSet", template.clone(), "/spec/template"),
        ("ReplicaSet", template.clone(), "/spec/template"),
        ("Job", template.clone(), "/spec/template"),
        ("CronJob", json!({"jobTemplate": {"spec": template}}), "/spec/jobTemplate/spec/template"),
        ("Pod", pod["spec"].clone(), ""),
    ] {
        let object = json!({"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "x/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}]});
        let (text, _) = manifest(&object.to_string());
        let list = documents(&text).remove(0);
        let containers = list["items"][0].pointer(&format!("{pointer}/spec/containers")).unwrap();
        assert_eq!(containers[1]["name"], PROXY_CONTAINER, "{kind}");
    }
}

#[test]
fn the_application_can_wait_for_its_proxy() {
    let pod = json!({"metadata": {"annotations": {"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true\nterminationDrainDuration: 2s"}},
        "spec": {"containers": [{"name": "a"}]}});
    let injected = inject_pod(&pod, "ns");
    let proxy = &injected["spec"]["containers"][0];
    assert_eq!(proxy["lifecycle"]["postStart"]["exec"]["command"], json!(["pilot-agent", "wait"]));
    let config = proxy["env"].as_array().unwrap().iter().find(|entry| entry["name"] == "PROXY_CONFIG").unwrap();
    let config: Value = serde_json::from_str(config["value"].as_str().unwrap()).unwrap();
    assert_eq!(config["terminationDrainDuration"], "2s");
    assert_eq!(injected["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], "a");
}

#[test]
fn what_a_pod_says_of_its_proxy_goes_before_what_the_mesh_says() {
    let settings = MeshSettings {
        default_proxy_config: Map::from_iter([
            ("drainDuration".to_owned(), json!("1s")),
            ("terminationDrainDuration".to_owned(), json!("9s")),
        ]),
        ..MeshSettings::default()
    };
    let pod = json!({"metadata": {"annotations": {"proxy.istio.io/config": "terminationDrainDuration: 2s"}}});
    let config = Annotations::read(&pod, &settings.default_proxy_config).unwrap().proxy_config;
    assert_eq!(config, json!({"drainDuration": "1s", "terminationDrainDuration": "2s"}));
}

#[test]
fn the_pods_own_labels_stay() {
    let pod = json!({"metadata": {"labels": {"topology.istio.io/network": "other", "service.istio.io/canonical-revision": "7"}}, "spec": {"containers": []}});
    let labels = &inject_pod(&pod, "ns")["metadata"]["labels"];
    assert_eq!(
        (&labels["topology.istio.io/network"], &labels["service.istio.io/canonical-revision"]),
        (&json!("other"), &json!("7"))
    );
}

#[test]
fn bad_annotations_are_named() {
    for (name, value) in [
        ("inject.istio.io/templates", "waypoint"),
        ("proxy.istio.io/config", "[1]"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "80; drop"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/64"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "maybe"),
    ] {
        let pod = json!({"metadata": {"annotations": {name: value}}, "spec": {"containers": []}});
        let context = NamespaceContext { name: "ns", labels: None };
        let error = inject(&pod, context, &Workload::of_pod(&pod), &settings()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_has_no_pod_is_an_error_and_not_a_panic() {
    let context = NamespaceContext { name: "ns", labels: None };
    for pod in [json!(null), json!({}), json!({"spec": 1}), json!([])] {
        assert!(inject(&pod, context, &Workload::of_pod(&pod), &settings()).is_err(), "{pod}");
    }
    for odd in
        [json!({"spec": {}}), json!({"metadata": 3, "spec": {"containers": {}, "volumes": 1, "initContainers": "x"}})]
    {
        assert!(inject(&odd, context, &Workload::of_pod(&odd), &settings()).is_ok(), "{odd}");
    }
}

/// The manifests of the gateways as they are shipped, with one value for every placeholder.
#[test]
fn the_shipped_gateways_can_be_injected() {
    for yaml in [
        include_str!("../../../../manifests/istio/40-ingressgateway.yaml"),
        include_str!("../../../../manifests/istio/41-eastwestgateway.yaml"),
    ] {
        let (text, _) = manifest(&yaml.replace("${NETWORK}", "network7"));
        let deployment = documents(&text).into_iter().find(|document| document["kind"] == "Deployment").unwrap();
        let pod = deployment.pointer("/spec/template/spec").unwrap();
        let proxy = &pod["containers"][0];
        assert_eq!((&proxy["image"], &proxy["args"][1]), (&json!("meshproof/proxy:dev"), &json!("router")));
        assert_eq!(pod.get("initContainers"), None, "a gateway captures nothing");
        assert_eq!(proxy["readinessProbe"]["httpGet"]["port"], 15021);
    }
}

#[test]
fn every_shipped_manifest_is_yaml_with_names() {
    for yaml in [
        include_str!("../../../../manifests/istio/00-namespace.yaml"),
        include_str!("../../../../manifests/istio/10-rbac.yaml"),
        include_str!("../../../../manifests/istio/11-reader.yaml"),
        include_str!("../../../../manifests/istio/20-istiod.yaml"),
        include_str!("../../../../manifests/istio/30-webhooks.yaml"),
        include_str!("../../../../manifests/istio/50-expose-services.yaml"),
    ] {
        for document in documents(yaml) {
            assert!(document["kind"].is_string() && document["metadata"]["name"].is_string(), "{document}");
            assert_eq!(crate::validation::judge(&document).refusal(), None);
        }
    }
}

#[test]
fn the_path_of_a_webhook_says_which_cluster_it_is_of() {
    let elsewhere = settings().elsewhere("cluster/west--slash--1/net/network2/unknown/thing");
    assert_eq!((elsewhere.cluster_id.as_str(), elsewhere.network.as_deref()), ("west/1", Some("network2")));
    assert_eq!(elsewhere.mesh_id, "mesh1", "the mesh is the same");
    assert_eq!(settings().elsewhere("cluster"), settings(), "a key without a value says nothing");
}

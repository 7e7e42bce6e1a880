//! What is refused, and at which place.

use serde_json::{Value, json};

use super::{validate, validate_in};
use crate::hub::Kind;

fn errors(kind: Kind, spec: Value) -> Vec<String> {
    let result = validate(&json!({ "apiVersion": kind.api_version(), "kind": kind.name(), "spec": spec }));
    result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn target(weight: u32) -> Value {
    json!({ "weight": weight, "kubeService": { "name": "reviews", "namespace": "bookinfo", "clusterName": "cluster1" } })
}

#[test]
fn a_good_traffic_policy_passes() {
    let spec = json!({
        "sourceSelector": [{ "kubeWorkloadMatcher": { "labels": { "app": "productpage" }, "clusters": ["cluster1"] } }],
        "destinationSelector": [{ "kubeServiceRefs": { "services": [{ "name": "reviews", "namespace": "bookinfo", "clusterName": "cluster1" }] } }],
        "httpRequestMatchers": [{ "uri": { "prefix": "/reviews" }, "method": "GET", "headers": [{ "name": "end-user", "value": "j.*", "regex": true }] }],
        "policy": {
            "trafficShift": { "destinations": [target(75), target(25)] },
            "faultInjection": { "fixedDelay": "1.5s", "percentage": 50 },
            "requestTimeout": "3s",
            "retries": { "attempts": 3, "perTryTimeout": "500ms" },
            "mirror": { "kubeService": { "name": "a", "namespace": "b", "clusterName": "c" }, "percentage": 10 },
        },
    });
    assert_eq!(errors(Kind::TrafficPolicy, spec), Vec::<String>::new());
    let outlier = json!({ "policy": { "outlierDetection": { "consecutiveErrors": 1 } } });
    assert_eq!(errors(Kind::TrafficPolicy, outlier), Vec::<String>::new());
}

#[test]
fn broken_traffic_policies_name_the_place() {
    let of = |policy: Value| errors(Kind::TrafficPolicy, json!({ "policy": policy }));
    let shift = |destinations: Value| of(json!({ "trafficShift": { "destinations": destinations } }));
    let at = "spec.policy.trafficShift.destinations";
    assert_eq!(shift(json!([target(75), target(15)])), [format!("{at}: the weights sum to 90, not 100")]);
    assert_eq!(
        shift(json!([{ "weight": 100 }])),
        [format!("{at}[0]: needs exactly one of kubeService, virtualDestination")]
    );
    assert_eq!(
        shift(json!([{ "weight": 100, "kubeService": { "name": "a", "namespace": "b" } }])),
        [format!("{at}[0].kubeService.clusterName: is required")]
    );
    assert_eq!(of(json!({})), ["spec.policy: does nothing: needs at least one field"]);
    assert_eq!(
        of(json!({ "mtls": { "istio": { "tlsMode": "PLAIN" } } })),
        ["spec.policy.mtls.istio.tlsMode: \"PLAIN\" is not one of DISABLE, SIMPLE, ISTIO_MUTUAL"]
    );
    assert_eq!(
        of(json!({ "faultInjection": { "fixedDelay": "1s", "abort": { "httpStatus": 500 } } })),
        ["spec.policy.faultInjection: only one of fixedDelay, abort can be set"]
    );
    assert_eq!(
        of(json!({ "faultInjection": { "abort": { "httpStatus": 99 }, "percentage": 101 } })),
        [
            "spec.policy.faultInjection.percentage: must be between 0 and 100",
            "spec.policy.faultInjection.abort.httpStatus: is not an HTTP status from 200 to 599"
        ]
    );
    assert_eq!(
        of(json!({ "headerManipulation": { "appendRequestHeaders": { ":path": "/" } } })),
        ["spec.policy.headerManipulation.appendRequestHeaders: header `:path` cannot be changed"]
    );
    let everywhere = json!({ "sourceSelector": [{}], "policy": { "outlierDetection": {} } });
    assert_eq!(
        errors(Kind::TrafficPolicy, everywhere),
        ["spec.policy.outlierDetection: holds for every caller: needs an empty spec.sourceSelector"]
    );
    let text = json!({ "httpRequestMatchers": [{ "uri": { "exact": "/", "prefix": "/" } }, { "uri": { "regex": "(" } }, { "method": "get" }],
        "policy": { "requestTimeout": "1s" } });
    let found = errors(Kind::TrafficPolicy, text);
    for (found, place) in found.iter().zip(["[0].uri:", "[1].uri.regex:", "[2].method:"]) {
        assert!(found.starts_with(&format!("spec.httpRequestMatchers{place}")), "{found}");
    }
    assert_eq!(found.len(), 3);
}

#[test]
fn a_field_at_the_wrong_place_is_an_error_with_a_hint() {
    let spec =
        json!({ "destinationSelector": [{ "kubeServiceRefs": { "services": [] }, "trafficShift": {} }], "polizy": {} });
    assert_eq!(
        errors(Kind::TrafficPolicy, spec)[..2],
        [
            "spec.destinationSelector[0].trafficShift: unknown field; known here: kubeServiceMatcher, kubeServiceRefs",
            "spec.polizy: unknown field; known here: destinationSelector, httpRequestMatchers, policy, sourceSelector",
        ]
    );
}

#[test]
fn virtual_meshes_are_checked() {
    let of = |spec: Value| errors(Kind::VirtualMesh, spec);
    let mesh = json!({ "name": "istiod-istio-system-cluster1", "namespace": "hub" });
    assert_eq!(of(json!({ "meshes": [mesh], "federation": { "permissive": {} } })), Vec::<String>::new());
    assert_eq!(of(json!({})), ["spec.meshes: needs at least one mesh"]);
    assert_eq!(
        of(json!({ "meshes": [mesh, mesh] })),
        ["spec.meshes[1]: mesh istiod-istio-system-cluster1.hub is named twice"]
    );
    assert_eq!(
        of(json!({ "meshes": [mesh], "federation": { "permissive": {}, "selectors": [{}] } })),
        ["spec.federation: only one of permissive, selectors can be set"]
    );
    assert_eq!(
        of(
            json!({ "meshes": [mesh], "federation": { "selectors": [{ "meshes": [{ "name": "x", "namespace": "hub" }] }], "hostnameSuffix": "Global" } })
        ),
        [
            "spec.federation.hostnameSuffix: `Global` is not a DNS name in lower case",
            "spec.federation.selectors[0].meshes[0]: mesh x.hub is not in spec.meshes"
        ]
    );
    assert_eq!(
        of(json!({ "meshes": [mesh], "mtlsConfig": { "autoRestartPods": true } })),
        ["spec.mtlsConfig.shared: is required: members that do not share a root cannot call each other"]
    );
    assert_eq!(
        of(json!({ "meshes": [mesh], "globalAccessPolicy": "ON" })),
        ["spec.globalAccessPolicy: \"ON\" is not one of MESH_DEFAULT, ENABLED, DISABLED"]
    );
    assert_eq!(
        of(
            json!({ "meshes": [mesh], "mtlsConfig": { "shared": { "rootCertificateAuthority": { "generated": { "ttlDays": 0 }, "secret": {} },
            "intermediateCertOptions": { "secretRotationGracePeriodRatio": 1 } } } })
        )[0],
        "spec.mtlsConfig.shared.rootCertificateAuthority: only one of generated, secret can be set"
    );
}

#[test]
fn virtual_destinations_need_what_failover_needs() {
    let of = |spec: Value| errors(Kind::VirtualDestination, spec);
    let backend = |cluster: &str| json!({ "kubeService": { "name": "reviews", "namespace": "bookinfo", "clusterName": cluster } });
    let good = json!({ "hostname": "reviews.global", "port": { "number": 9080, "protocol": "http" },
        "virtualMesh": { "name": "vm", "namespace": "hub" }, "outlierDetection": {},
        "static": { "destinations": [backend("cluster1"), backend("cluster2")] } });
    assert_eq!(of(good.clone()), Vec::<String>::new());
    let without = |field: &str| {
        let mut spec = good.clone();
        spec.as_object_mut().unwrap().remove(field);
        of(spec)
    };
    assert_eq!(
        without("outlierDetection"),
        ["spec.outlierDetection: is required: without it no backend ever takes over; `{}` takes the defaults"]
    );
    assert_eq!(without("virtualMesh"), ["spec: needs exactly one of virtualMesh, meshList"]);
    assert_eq!(without("static"), ["spec: needs exactly one of static, localized"]);
    assert_eq!(without("hostname"), ["spec.hostname: `` is not a DNS name in lower case"]);
    assert_eq!(
        without("port"),
        ["spec.port.number: is required", "spec.port.protocol: `` is not one of http, http2, grpc, tcp, tls"]
    );
}

#[test]
fn access_policies_are_checked() {
    let of = |spec: Value| errors(Kind::AccessPolicy, spec);
    assert_eq!(of(json!({})), Vec::<String>::new());
    assert_eq!(
        of(json!({
            "sourceSelector": [{ "kubeServiceAccountRefs": { "serviceAccounts": [{ "name": "a" }] } }, { "kubeIdentityMatcher": { "namespaces": ["*"] } }],
            "allowedPaths": ["x", "/a{*}"], "allowedMethods": ["get"], "allowedPorts": [0],
        }))
        .iter()
        .map(|error| error.split_once(": ").unwrap().0)
        .collect::<Vec<_>>(),
        [
            "spec.sourceSelector[0].kubeServiceAccountRefs.serviceAccounts[0].namespace",
            "spec.sourceSelector[1].kubeIdentityMatcher.namespaces[0]",
            "spec.allowedPaths[0]",
            "spec.allowedPaths[1]",
            "spec.allowedMethods[0]",
            "spec.allowedPorts[0]",
        ]
    );
}

#[test]
fn other_kinds_are_not_judged() {
    assert!(validate(&json!({ "apiVersion": "networking.mesh.gloo.solo.io/v1", "kind": "TrafficPolicy" })).is_ok());
}

#[test]
fn a_root_is_where_the_plane_may_read_it() {
    let virtual_mesh = |namespace: &str| {
        let secret = json!({ "name": "root", "namespace": namespace });
        json!({ "apiVersion": Kind::VirtualMesh.api_version(), "kind": "VirtualMesh", "spec": {
            "meshes": [{ "name": "m", "namespace": "hub" }],
            "mtlsConfig": { "shared": { "rootCertificateAuthority": { "secret": secret } } } } })
    };
    assert_eq!(validate_in(&virtual_mesh("hub"), "hub"), Ok(()));
    let errors = validate_in(&virtual_mesh("vault"), "hub").unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "spec.mtlsConfig.shared.rootCertificateAuthority.secret.namespace: must be hub, the only one whose Secrets the \
         management plane may read, and is vault"
    );
}

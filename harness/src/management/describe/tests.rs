//! Each kind of page, of resources in sound and in broken cases.

use serde_json::json;

use super::*;

fn page(kind: Kind, value: Value) -> String {
    resource(kind, value).expect("it can be read")
}

#[test]
fn a_destination_shows_its_names_and_its_policies() {
    let text = page(
        Kind::Destination,
        json!({
            "metadata": { "namespace": "meshproof-hub", "name": "reviews--bookinfo--east", "generation": 1 },
            "spec": {
                "mesh": { "namespace": "meshproof-hub", "name": "istiod--istio-system--east" },
                "kubeService": {
                    "ref": { "clusterName": "east", "namespace": "bookinfo", "name": "reviews" },
                    "ports": [{ "port": 9080, "name": "http", "protocol": "TCP", "targetPort": 9080 }],
                    "subsets": { "version": ["v1", "v2"] },
                    "serviceAccounts": ["bookinfo-reviews"],
                    "endpoints": [{ "ipAddress": "10.244.0.7", "locality": "region1/zone1", "labels": { "version": "v1" } }],
                },
            },
            "status": {
                "observedGeneration": 1, "localFqdn": "reviews.bookinfo.svc.cluster.local",
                "appliedTrafficPolicies": [
                    { "ref": { "namespace": "bookinfo", "name": "shift" }, "observedGeneration": 2, "acceptanceOrder": 1, "accepted": true },
                ],
                "federation": {
                    "virtualMesh": { "namespace": "meshproof-hub", "name": "one" }, "toAllMeshes": true,
                    "hostname": "reviews.bookinfo.svc.east.global", "address": "243.1.2.3",
                },
            },
        }),
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_policy_says_what_became_of_it_on_each_target() {
    let text = page(
        Kind::TrafficPolicy,
        json!({
            "metadata": { "namespace": "bookinfo", "name": "shift", "generation": 3 },
            "spec": { "policy": { "requestTimeout": "2s" } },
            "status": {
                "observedGeneration": 2, "state": "INVALID", "targets": 2,
                "errors": ["on reviews.bookinfo.east: it conflicts with TrafficPolicy other.bookinfo"],
                "destinations": {
                    "reviews.bookinfo.east": { "state": "INVALID", "acceptanceOrder": 2, "errors": ["it conflicts with TrafficPolicy other.bookinfo"] },
                    "reviews.bookinfo.west": { "state": "ACTIVE", "acceptanceOrder": 1 },
                },
                "conditions": [{ "type": "Accepted", "status": "False", "reason": "Invalid", "message": "it conflicts" }],
            },
        }),
    );
    insta::assert_snapshot!(text);
}

#[test]
fn meshes_and_virtual_meshes_show_their_gateways_and_members() {
    let mesh = json!({
        "metadata": { "namespace": "meshproof-hub", "name": "istiod--istio-system--east", "generation": 1 },
        "spec": {
            "agentInfo": { "agentNamespace": "meshproof-hub" },
            "istio": {
                "trustDomain": "cluster.local", "smartDnsProxyingEnabled": true,
                "installation": { "cluster": "east", "namespace": "istio-system", "version": "dev" },
                "ingressGateways": [{
                    "name": "istio-eastwestgateway", "namespace": "istio-system", "externalAddresses": ["172.30.1.2"],
                    "tlsPorts": [{ "name": "tls", "number": 15443, "externalNumber": 15443 }],
                }],
            },
        },
        "status": {
            "observedGeneration": 1, "state": "ACTIVE", "virtualMesh": { "namespace": "meshproof-hub", "name": "one" },
            "eastWestGateways": [{ "namespace": "istio-system", "name": "istio-eastwestgateway" }],
        },
    });
    let joined = json!({
        "metadata": { "namespace": "meshproof-hub", "name": "one", "generation": 1 },
        "spec": { "federation": { "permissive": {} }, "globalAccessPolicy": "ENABLED" },
        "status": {
            "observedGeneration": 1, "state": "INVALID", "federatedDestinations": 4,
            "meshes": {
                "istiod--istio-system--east.meshproof-hub": { "state": "ACTIVE", "acceptanceOrder": 1 },
                "istiod--istio-system--west.meshproof-hub": { "state": "INVALID", "errors": ["it has no gateway"] },
            },
        },
    });
    insta::assert_snapshot!(format!("{}\n{}", page(Kind::Mesh, mesh), page(Kind::VirtualMesh, joined)));
}

#[test]
fn clusters_without_a_mesh_are_listed_too() {
    let cluster = |name: &str| {
        let value =
            json!({ "metadata": { "namespace": "meshproof-hub", "name": name }, "status": { "state": "ACTIVE" } });
        Object::from_value(value).expect("a cluster")
    };
    let mesh = json!({
        "metadata": { "name": "istiod--istio-system--east" },
        "spec": { "istio": { "trustDomain": "cluster.local", "installation": { "cluster": "east", "version": "dev" } } },
    });
    let meshes = [Object::from_value(mesh).expect("a mesh")];
    insta::assert_snapshot!(clusters(&[cluster("east"), cluster("west")], &meshes), @r"
    CLUSTER   STATE    MESH                         VERSION   TRUST DOMAIN    VIRTUAL MESH   AGENT
    east      ACTIVE   istiod--istio-system--east   dev       cluster.local   -              no
    west      ACTIVE   -                            -         -               -              -
    ");
    assert!(clusters(&[], &[]).contains("no cluster is registered"));
}

//! Which scenarios may run at once, and which may not.

use super::*;
use crate::scenario::samples::whole;

const PROBE: &str = "{cluster: cluster1, workload: probe, namespace: bookinfo}";

fn footprint(steps: &str) -> Footprint {
    Footprint::of(&whole(&format!("name: one\n{steps}\n")))
}

/// Requests from a probe of the mesh, with one expectation.
fn calls(cluster: &str, url: &str, expectation: &str) -> String {
    format!(
        "- traffic: {{from: {{cluster: {cluster}, workload: probe, namespace: bookinfo}}, url: \"{url}\"}}\n  expect: [{expectation}]"
    )
}

fn call(service: &str) -> Footprint {
    footprint(&format!("steps:\n{}", calls("cluster1", &format!("http://{service}:9080/x"), "{answered: all}")))
}

/// An object is applied on a cluster, and deleted at the end.
fn applied(cluster: &str, kind: &str, group: &str, namespace: &str, spec: &str) -> Footprint {
    footprint(&format!(
        "steps:\n- apply:\n    clusters: [{cluster}]\n    objects:\n    - {{apiVersion: {group}/v1, kind: {kind}, metadata: {{name: one, namespace: {namespace}}}, spec: {spec}}}\n  \
         cleanup:\n  - delete: {{clusters: [{cluster}], objects: [{{apiVersion: {group}/v1, kind: {kind}, namespace: {namespace}, name: one}}]}}"
    ))
}

fn route(cluster: &str, spec: &str) -> Footprint {
    applied(cluster, "VirtualService", "networking.istio.io", "bookinfo", spec)
}

fn rule(cluster: &str, host: &str) -> Footprint {
    applied(cluster, "DestinationRule", "networking.istio.io", "bookinfo", &format!("{{host: {host}}}"))
}

fn policy(selector: &str) -> Footprint {
    let spec = format!("{{{selector}mtls: {{mode: STRICT}}}}");
    applied("cluster1", "PeerAuthentication", "security.istio.io", "bookinfo", &spec)
}

fn change(verb: &str, cluster: &str, workload: &str, more: &str) -> Footprint {
    footprint(&format!("steps:\n- {verb}: {{cluster: {cluster}, workload: {workload}{more}}}"))
}

#[track_caller]
fn apart(one: &Footprint, other: &Footprint) {
    assert!(!one.may_run_beside(other) && !other.may_run_beside(one), "{one:#?}\n{other:#?}");
}

#[track_caller]
fn together(one: &Footprint, other: &Footprint) {
    assert!(one.may_run_beside(other) && other.may_run_beside(one), "{one:#?}\n{other:#?}");
}

#[test]
fn calls_to_different_services_go_together_and_calls_of_one_caller_to_one_service_do_not() {
    together(&call("details"), &call("ratings"));
    apart(&call("details"), &call("details"));
    // The same service by another name.
    apart(&call("details"), &call("details.bookinfo.svc.cluster.local"));
    let of_cluster2 = footprint(&format!("steps:\n{}", calls("cluster2", "http://details:9080/x", "{answered: all}")));
    together(&call("details"), &of_cluster2);
}

#[test]
fn routes_disturb_callers_of_their_cluster_and_of_whatever_they_name() {
    let to_ratings = route("cluster1", "{hosts: [ratings], http: [{route: [{destination: {host: ratings}}]}]}");
    apart(&to_ratings, &call("ratings"));
    together(&to_ratings, &call("details"));
    // Pods of reviews call ratings, pods of productpage call reviews.
    apart(&to_ratings, &call("reviews"));
    apart(&to_ratings, &call("productpage"));
    let on_cluster2 = route("cluster2", "{hosts: [details], http: [{route: [{destination: {host: details}}]}]}");
    together(&on_cluster2, &call("details"));
    apart(
        &route("cluster1", "{hosts: [details], http: [{route: [{destination: {host: reviews}}]}]}"),
        &call("reviews"),
    );
    // Gateways of the other cluster know subsets.
    apart(&rule("cluster2", "details"), &call("details"));
    together(&rule("cluster2", "details"), &call("ratings"));
}

#[test]
fn policies_disturb_whom_they_select() {
    let ratings = policy("selector: {matchLabels: {app: ratings}}, ");
    apart(&ratings, &call("ratings"));
    together(&ratings, &call("details"));
    apart(&policy(""), &call("details"));
    assert_eq!(
        policy("selector: {matchLabels: {version: v1}}, ").alone(),
        Some("it changes PeerAuthentication/bookinfo/one")
    );
}

#[test]
fn pods_that_come_and_go_disturb_who_calls_them_and_who_they_are() {
    let scaled = change("scale", "cluster2", "reviews-v3", ", replicas: 2");
    apart(&scaled, &call("reviews"));
    apart(&scaled, &call("productpage"));
    together(&scaled, &call("details"));
    let restarted = change("restart", "cluster1", "probe", ", namespace: bookinfo");
    apart(&restarted, &call("details"));
    assert_eq!(change("kill", "cluster1", "istiod", "").alone(), Some("it changes istiod of cluster1"));
    assert_eq!(
        change("kill", "cluster2", "istio-eastwestgateway", "").alone(),
        Some("it changes istio-eastwestgateway of cluster2")
    );
}

#[test]
fn whoever_reads_counters_must_be_the_only_one_who_makes_them_grow() {
    let refused = |at: &str| {
        footprint(&format!(
            "steps:\n- connect: {{from: {{cluster: cluster1, workload: probe, namespace: outside}}, to: {{cluster: cluster1, workload: ratings-v1}}}}\n  \
             expect: [{{denied: {{at: {at}, reason: tls-handshake}}}}]"
        ))
    };
    let by_server = refused("{cluster: cluster1, workload: ratings-v1}");
    apart(&by_server, &call("ratings"));
    apart(&by_server, &call("reviews"));
    together(&by_server, &call("details"));
    apart(&refused(PROBE), &call("details"));
    let mtls = "{mtls: {client: spiffe://cluster.local/ns/bookinfo/sa/probe, server: spiffe://cluster.local/ns/bookinfo/sa/bookinfo-details, through: [{cluster: cluster2, gateway: eastwest}]}}";
    let through = footprint(&format!(
        "steps:\n{}",
        calls("cluster1", "http://details:9080/x", &format!("{{answered: all}}, {mtls}"))
    ));
    apart(&through, &call("ratings"));
}

#[test]
fn what_a_proxy_holds_comes_from_everybody() {
    let config = footprint(&format!(
        "steps:\n- config: {{of: {PROBE}, path: \"/clusters?format=json\"}}\n  expect: [{{cel: \"has(config.a)\"}}]"
    ));
    together(&config, &call("details"));
    apart(&config, &rule("cluster1", "ratings"));
    apart(&config, &change("scale", "cluster2", "details-v1", ", replicas: 2"));
    together(&config, &route("cluster2", "{hosts: [details], http: [{route: [{destination: {host: details}}]}]}"));
}

#[test]
fn what_is_not_known_to_keep_to_its_corner_runs_alone() {
    let steps = [
        ("steps:\n- unlink: {clusters: [cluster1, cluster2]}", "it creates or removes remote secrets"),
        ("budget: {time: 10s}\nsteps:\n- note: Nothing.", "it has a time budget"),
        (
            "steps:\n- {name: cut, fault: {cut: {from: network1, to: network2}}}\n- heal: {fault: cut}",
            "fault: network1 <-> network2 cut",
        ),
        (
            "steps:\n- delete: {clusters: [cluster1], objects: [{apiVersion: networking.istio.io/v1, kind: VirtualService, namespace: bookinfo, name: old}]}",
            "it changes VirtualService/bookinfo/old, which another may have applied",
        ),
    ];
    for (text, reason) in steps {
        let alone = footprint(text);
        assert_eq!(alone.alone(), Some(reason));
        apart(&alone, &Footprint::default());
    }
    let latency = footprint(&format!(
        "steps:\n{}",
        calls("cluster1", "http://details:9080/x", "{cel: \"latencyMs.min >= 1.0\"}")
    ));
    assert_eq!(latency.alone(), Some("`cel` needs the machine to itself"));
    let everywhere = route("cluster1", "{hosts: ['*'], http: [{route: [{destination: {host: details}}]}]}");
    assert_eq!(everywhere.alone(), Some("it changes VirtualService/bookinfo/one"));
    let of_mesh =
        applied("cluster1", "PeerAuthentication", "security.istio.io", "istio-system", "{mtls: {mode: STRICT}}");
    assert_eq!(of_mesh.alone(), Some("it changes PeerAuthentication/istio-system/one"));
    let other = applied("cluster1", "Sidecar", "networking.istio.io", "bookinfo", "{}");
    assert_eq!(other.alone(), Some("it changes Sidecar/bookinfo/one"));
}

#[test]
fn a_patch_that_moves_an_object_runs_alone() {
    let patched = |patch: &str| {
        footprint(&format!(
            "steps:\n- apply:\n    clusters: [cluster1]\n    objects:\n    - {{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: one, namespace: bookinfo}}, spec: {{hosts: [details], http: [{{route: [{{destination: {{host: details}}}}]}}]}}}}\n\
             - patch: {{clusters: [cluster1], object: {{apiVersion: networking.istio.io/v1, kind: VirtualService, namespace: bookinfo, name: one}}, {patch}}}"
        ))
    };
    together(&patched("json: [{op: remove, path: /spec/http/0}]"), &call("ratings"));
    let moved = Some("it changes what VirtualService/bookinfo/one is about");
    assert_eq!(patched("merge: {spec: {hosts: [ratings]}}").alone(), moved);
    assert_eq!(patched("json: [{op: add, path: /spec/hosts/1, value: ratings}]").alone(), moved);
}

#[test]
fn what_is_applied_under_a_shared_control_plane_is_applied_everywhere() {
    let mut plan = whole(
        "name: one\nsteps:\n- apply:\n    clusters: [cluster1]\n    objects:\n    - {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: one, namespace: bookinfo}, spec: {host: details}}\n  \
         cleanup:\n  - delete: {clusters: [cluster1], objects: [{apiVersion: networking.istio.io/v1, kind: DestinationRule, namespace: bookinfo, name: one}]}\n",
    );
    assert_eq!(Footprint::of(&plan).alone(), None);
    plan.topology.clusters[1].control_plane = Some("cluster1".to_owned());
    assert!(Footprint::of(&plan).alone().is_some_and(|why| why.contains("share a control plane")));
}

#[test]
fn who_makes_pods_that_send_is_alone() {
    let steps = calls("cluster1", "http://ratings:9080/x", "{answered: all}").replace("url:", "workers: 2, url:");
    let alone = footprint(&format!("steps:\n{steps}"));
    assert_eq!(alone.alone(), Some("it makes pods that send requests"));
}

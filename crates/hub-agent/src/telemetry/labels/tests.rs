//! Entries as Envoy sends them, and the labels that they become.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{SocketAddress, socket_address};
use envoy_types::pb::google::protobuf::{UInt32Value, Value};
use log::tls_properties::CertificateProperties;
use log::tls_properties::certificate_properties::SubjectAltName;
use log::tls_properties::certificate_properties::subject_alt_name::San;

use super::*;

const PRODUCTPAGE: &str = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage";
const REVIEWS: &str = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews";

fn workload(name: &str) -> Workload {
    let labels = BTreeMap::from([("app".to_owned(), name.to_owned()), ("version".to_owned(), "v1".to_owned())]);
    Workload { name: format!("{name}-v1"), namespace: "bookinfo".to_owned(), labels }
}

fn node(name: &str) -> Node {
    Node { workload: workload(name), cluster: "cluster1".to_owned() }
}

fn find(address: &str) -> Option<Workload> {
    match address {
        "10.0.0.1" => Some(workload("productpage")),
        "10.0.0.2" => Some(workload("reviews")),
        "10.0.0.9" => Some(Workload { namespace: "istio-system".to_owned(), ..workload("gateway") }),
        _ => None,
    }
}

fn address(ip: &str) -> Option<Address> {
    let port_specifier = Some(socket_address::PortSpecifier::PortValue(1));
    let socket = SocketAddress { address: ip.to_owned(), port_specifier, ..SocketAddress::default() };
    Some(Address { address: Some(address::Address::SocketAddress(socket)) })
}

fn certificate(uri: &str) -> Option<CertificateProperties> {
    let name = SubjectAltName { san: Some(San::Uri(uri.to_owned())) };
    Some(CertificateProperties { subject_alt_name: vec![name], ..CertificateProperties::default() })
}

fn tags(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn request(common: log::AccessLogCommon, code: u32) -> log::HttpAccessLogEntry {
    log::HttpAccessLogEntry {
        common_properties: Some(common),
        request: Some(log::HttpRequestProperties {
            request_method: 1,
            authority: "reviews:9080".to_owned(),
            path: "/reviews/1?token=secret".to_owned(),
            ..Default::default()
        }),
        response: Some(log::HttpResponseProperties {
            response_code: Some(UInt32Value { value: code }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn inbound(peer: Option<&str>, from: &str) -> log::HttpAccessLogEntry {
    let tls = peer.map(|peer| log::TlsProperties {
        local_certificate_properties: certificate(REVIEWS),
        peer_certificate_properties: certificate(peer),
        ..Default::default()
    });
    let common = log::AccessLogCommon {
        tls_properties: tls,
        downstream_direct_remote_address: address(from),
        upstream_cluster: "inbound|9080||".to_owned(),
        custom_tags: tags(&[
            ("reporter", "destination"),
            ("destination_service", "reviews.bookinfo.svc.cluster.local"),
        ]),
        duration: Some(protobuf::Duration { seconds: 0, nanos: 7_000_000 }),
        ..Default::default()
    };
    request(common, 200)
}

fn labels(observed: &Observed, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| observed.labels[name].clone()).collect()
}

#[test]
fn the_server_side_of_a_call_in_the_cluster() {
    let observed = observe_http(&inbound(Some(PRODUCTPAGE), "10.0.0.1"), &node("reviews"), find);
    let mut names: Vec<&str> = observed.labels.keys().copied().collect();
    names.sort_unstable();
    let standard = [
        "connection_security_policy",
        "destination_app",
        "destination_canonical_revision",
        "destination_canonical_service",
        "destination_cluster",
        "destination_principal",
        "destination_service",
        "destination_service_name",
        "destination_service_namespace",
        "destination_version",
        "destination_workload",
        "destination_workload_namespace",
        "reporter",
        "request_protocol",
        "response_code",
        "response_flags",
        "source_app",
        "source_canonical_revision",
        "source_canonical_service",
        "source_cluster",
        "source_principal",
        "source_version",
        "source_workload",
        "source_workload_namespace",
    ];
    assert_eq!(names, standard);
    let wanted = ["destination", "productpage-v1", "cluster1", PRODUCTPAGE, "reviews-v1", REVIEWS, "mutual_tls", "200"];
    let names = [
        "reporter",
        "source_workload",
        "source_cluster",
        "source_principal",
        "destination_workload",
        "destination_principal",
        "connection_security_policy",
        "response_code",
    ];
    assert_eq!(labels(&observed, &names), wanted);
    assert_eq!(
        labels(&observed, &["destination_service_name", "destination_service_namespace"]),
        ["reviews", "bookinfo"]
    );
    assert_eq!(observed.duration, Some(Duration::from_millis(7)));
    assert_eq!((observed.method.as_str(), observed.path.as_str()), ("GET", "/reviews/1"), "queries may hold secrets");
}

#[test]
fn behind_a_gateway_the_identity_is_known_and_the_workload_is_not() {
    let names = ["source_workload", "source_workload_namespace", "source_principal", "source_cluster"];
    for from in ["10.0.0.9", "172.30.1.1"] {
        let observed = observe_http(&inbound(Some(PRODUCTPAGE), from), &node("reviews"), find);
        assert_eq!(labels(&observed, &names), [UNKNOWN, "bookinfo", PRODUCTPAGE, UNKNOWN], "{from}");
    }
}

#[test]
fn plain_text_is_told_as_such() {
    let observed = observe_http(&inbound(None, "10.9.9.9"), &node("reviews"), find);
    let names = ["source_workload", "source_principal", "connection_security_policy"];
    assert_eq!(labels(&observed, &names), [UNKNOWN, UNKNOWN, "none"]);
}

fn outbound(peer: &str, cluster: &str) -> log::HttpAccessLogEntry {
    let flags =
        log::ResponseFlags { upstream_connection_failure: true, no_healthy_upstream: true, ..Default::default() };
    let common = log::AccessLogCommon {
        upstream_remote_address: address("10.0.0.2"),
        upstream_cluster: cluster.to_owned(),
        custom_tags: tags(&[
            ("reporter", "source"),
            ("destination_principal", peer),
            ("source_principal", PRODUCTPAGE),
        ]),
        response_flags: Some(flags),
        ..Default::default()
    };
    request(common, 503)
}

#[test]
fn the_client_side_of_a_call() {
    let entry = outbound(REVIEWS, "outbound|9080|v1|reviews.bookinfo.svc.cluster.local");
    let observed = observe_http(&entry, &node("productpage"), find);
    let names = ["reporter", "source_workload", "source_principal", "destination_workload", "destination_principal"];
    assert_eq!(labels(&observed, &names), ["source", "productpage-v1", PRODUCTPAGE, "reviews-v1", REVIEWS]);
    let names = ["destination_service", "response_flags", "connection_security_policy", "response_code"];
    let wanted = ["reviews.bookinfo.svc.cluster.local", "UH,UF", "mutual_tls", "503"];
    assert_eq!(labels(&observed, &names), wanted);
    let observed = observe_http(&outbound("", "PassthroughCluster"), &node("productpage"), find);
    let names = ["destination_service", "destination_service_namespace", "connection_security_policy"];
    assert_eq!(labels(&observed, &names), ["reviews:9080", UNKNOWN, UNKNOWN]);
}

#[test]
fn without_tags_of_ours_the_cluster_tells_the_side() {
    let mut entry = inbound(Some(PRODUCTPAGE), "10.0.0.1");
    entry.common_properties.as_mut().unwrap().custom_tags.clear();
    let observed = observe_http(&entry, &node("reviews"), find);
    assert_eq!(labels(&observed, &["reporter", "destination_service"]), ["destination", "reviews:9080"]);
}

#[test]
fn a_connection_has_its_bytes() {
    let entry = log::TcpAccessLogEntry {
        common_properties: inbound(Some(PRODUCTPAGE), "10.0.0.1").common_properties,
        connection_properties: Some(log::ConnectionProperties { received_bytes: 3, sent_bytes: 5 }),
    };
    let observed = observe_tcp(&entry, &node("reviews"), find);
    assert_eq!((observed.received, observed.sent), (3, 5));
    assert_eq!(labels(&observed, &["request_protocol", "source_workload"]), ["tcp", "productpage-v1"]);
}

#[test]
fn a_node_says_what_its_proxy_was_started_with() {
    let text = |text: &str| Value { kind: Some(ValueKind::StringValue(text.to_owned())) };
    let labels = Struct { fields: HashMap::from([("app".to_owned(), text("reviews"))]) };
    let fields = HashMap::from([
        ("NAME".to_owned(), text("reviews-v1-1")),
        ("NAMESPACE".to_owned(), text("bookinfo")),
        ("CLUSTER_ID".to_owned(), text("cluster1")),
        ("LABELS".to_owned(), Value { kind: Some(ValueKind::StructValue(labels)) }),
    ]);
    let envoy = EnvoyNode { metadata: Some(Struct { fields }), ..EnvoyNode::default() };
    let node = Node::read(&envoy, None);
    assert_eq!((node.workload.name.as_str(), node.cluster.as_str()), ("reviews-v1-1", "cluster1"));
    assert_eq!(node.workload.labels["app"], "reviews");
    assert_eq!(Node::read(&envoy, Some(workload("reviews"))).workload.name, "reviews-v1");
}

//! What single fields of routes and destination rules mean to Envoy, beyond that they have an effect.

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3::{Route, route};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{HttpFault, fault_abort::ErrorType};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::google::protobuf::Duration;
use pilot::translate::Translation;
use prost::Message as _;

use crate::fixture::Fixture;
use crate::print;
use crate::translate::BOOKINFO;

/// Fields that no other fixture has, for Envoy's acceptance too.
pub(crate) const POLICIES: &str = r#"
cluster: cluster1
---
kind: VirtualService
metadata: {name: reviews, namespace: bookinfo}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /grpc}}]
    fault: {abort: {grpcStatus: UNAVAILABLE}}
    corsPolicy: {allowOrigins: [{exact: "https://example.org"}], unmatchedPreflights: IGNORE}
    route: [{destination: {host: reviews}}]
  - match: [{uri: {prefix: /port}}]
    redirect: {uri: /new, derivePort: FROM_REQUEST_PORT}
  - match: [{uri: {prefix: /default}}]
    redirect: {uri: /new, derivePort: FROM_PROTOCOL_DEFAULT}
  - match: [{uri: {prefix: /bytes}}]
    directResponse: {status: 418, body: {bytes: dGVhcG90}}
  - route: [{destination: {host: reviews}}]
---
kind: DestinationRule
metadata: {name: reviews, namespace: bookinfo}
spec:
  host: reviews
  trafficPolicy:
    connectionPool: {tcp: {maxConnectionDuration: 90s}}
    outlierDetection: {consecutive5xxErrors: 1}
    tls: {mode: MUTUAL, clientCertificate: /etc/own.pem, privateKey: /etc/own.key, caCertificates: /etc/ca.pem, subjectAltNames: [reviews.example.org]}
  subsets:
  - name: system
    labels: {version: v1}
    trafficPolicy: {tls: {mode: SIMPLE, sni: reviews.example.org}, outlierDetection: {maxEjectionPercent: 100}}
"#;

fn productpage(texts: &[&str]) -> Translation {
    Fixture::read(texts).translate("sidecar", "cluster1", "bookinfo", "productpage-v1")
}

fn routes() -> Vec<Route> {
    let translation = productpage(&[BOOKINFO, POLICIES]);
    let port = translation.routes.into_iter().find(|one| one.name == "9080").unwrap();
    let host = port.virtual_hosts.into_iter().find(|one| one.name.starts_with("reviews.")).unwrap();
    host.routes
}

#[test]
fn a_grpc_status_is_an_abort_and_preflights_may_be_ignored() {
    let first = &routes()[0];
    let fault = &first.typed_per_filter_config["envoy.filters.http.fault"];
    let abort = HttpFault::decode(fault.value.as_slice()).unwrap().abort.unwrap();
    assert_eq!(abort.error_type, Some(ErrorType::GrpcStatus(14)));
    let cors = &first.typed_per_filter_config["envoy.filters.http.cors"];
    let forwards = CorsPolicy::decode(cors.value.as_slice()).unwrap().forward_not_matching_preflights;
    assert_eq!(forwards.map(|forwards| forwards.value), Some(false));
}

#[test]
fn redirections_derive_their_port_and_bodies_may_be_bytes() {
    let routes = routes();
    let port = |index: usize| match routes[index].action.as_ref().unwrap() {
        route::Action::Redirect(redirect) => redirect.port_redirect,
        other => panic!("{other:?}"),
    };
    assert_eq!((port(1), port(2)), (9080, 0));
    let body = match routes[3].action.clone().unwrap() {
        route::Action::DirectResponse(response) => response.body.unwrap().specifier,
        other => panic!("{other:?}"),
    };
    assert_eq!(body, Some(Specifier::InlineBytes(b"teapot".to_vec())));
}

#[test]
fn outliers_are_out_at_once_and_a_share_that_ejects_nobody_is_named() {
    let translation = productpage(&[BOOKINFO, POLICIES]);
    let window = |name: &str| {
        let cluster = translation.clusters.iter().find(|one| one.name == name).unwrap();
        cluster.common_lb_config.as_ref().unwrap().update_merge_window
    };
    let reviews = "outbound|9080||reviews.bookinfo.svc.cluster.local";
    assert_eq!(window(reviews), Some(Duration { seconds: 0, nanos: 0 }));
    assert_eq!(window("outbound|9080||productpage.bookinfo.svc.cluster.local"), None);
    let said: Vec<&str> = translation.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        said,
        [format!("outlierDetection of {reviews}: maxEjectionPercent 10 lets none of its 4 endpoints be ejected")]
    );
}

#[test]
fn mutual_tls_with_files_and_tls_by_the_authorities_of_the_system() {
    let mut translation = productpage(&[BOOKINFO, POLICIES]);
    translation.clusters.retain(|one| one.name.contains("|reviews."));
    let durations: Vec<_> = translation
        .clusters
        .iter()
        .flat_map(|one| one.typed_extension_protocol_options.values())
        .map(|any| HttpProtocolOptions::decode(any.value.as_slice()).unwrap().common_http_protocol_options.unwrap())
        .map(|common| common.max_connection_duration.unwrap().seconds)
        .collect();
    assert_eq!(durations, [90, 90]);
    translation.endpoints.clear();
    translation.listeners.clear();
    translation.routes.clear();
    translation.problems.clear();
    insta::assert_snapshot!(print::translation(&translation));
}

/// By the policy of a pool: what is spoken with a service whose port says HTTP/1.1.
#[test]
fn a_pool_may_say_what_is_spoken() {
    let spoken = |http: &str| {
        let rule = format!(
            "cluster: cluster1\n---\nkind: DestinationRule\nmetadata: {{name: r, namespace: bookinfo}}\nspec: {{host: reviews, trafficPolicy: {{connectionPool: {{http: {{{http}}}}}}}}}\n"
        );
        let mut translation = productpage(&[BOOKINFO, &rule]);
        translation.clusters.retain(|one| one.name == "outbound|9080||reviews.bookinfo.svc.cluster.local");
        let any = translation.clusters[0].typed_extension_protocol_options.values().next().unwrap().clone();
        let streams = HttpProtocolOptions::decode(any.value.as_slice()).unwrap().upstream_protocol_options;
        translation.endpoints.clear();
        translation.listeners.clear();
        translation.routes.clear();
        let text = print::translation(&translation);
        let http = text.split("http=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        (http, format!("{streams:?}").contains("max_concurrent_streams: Some(UInt32Value { value: 9 })"))
    };
    let expected = |http: &str, limited: bool| (http.to_owned(), limited);
    assert_eq!(spoken(""), expected("1", false));
    assert_eq!(spoken("maxConcurrentStreams: 9"), expected("1", false));
    assert_eq!(spoken("h2UpgradePolicy: DO_NOT_UPGRADE"), expected("1", false));
    assert_eq!(spoken("h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 9"), expected("2", true));
    assert_eq!(spoken("useClientProtocol: true, maxConcurrentStreams: 9"), expected("as-downstream", true));
}

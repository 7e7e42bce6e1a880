//! Each sign from the counters that show it.

use serde_json::json;

use super::*;

fn proxy(role: Role, counters: &[(&str, u64)]) -> Proxy {
    let growth = counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    Proxy { role, cluster: "cluster2".into(), pod: "details-v1-x".into(), growth }
}

fn kinds(proxies: &[Proxy], sends: &Sends) -> Vec<SignKind> {
    signs(proxies, sends).into_iter().map(|sign| sign.kind).collect()
}

const INBOUND: &str = "listener.0.0.0.0_15006.no_filter_chain_match";

#[test]
fn a_certificate_that_is_refused_is_told_with_its_reason() {
    let client =
        proxy(Role::Client, &[("cluster.outbound|9080||details.a.svc.cluster.local;.ssl.fail_verify_san", 12)]);
    let found = signs(&[client], &Sends::OwnName);
    let told: Vec<&str> = found.iter().map(|sign| sign.what.as_str()).collect();
    assert_eq!(
        told,
        [
            "the proxy of details-v1-x of cluster2 ended 12 TLS handshakes: the server's certificate has none of the names \
            that it expects (ssl.fail_verify_san)"
        ]
    );
    let server = proxy(Role::Server, &[("listener.0.0.0.0_15006.ssl.fail_verify_no_cert", 3)]);
    assert_eq!(kinds(&[server], &Sends::OwnName), [SignKind::CertificateRefused]);
}

#[test]
fn a_connection_without_a_filter_chain_is_explained_by_what_the_client_sends() {
    let server = || [proxy(Role::Server, &[(INBOUND, 4)])];
    let gateway = || [proxy(Role::Gateway, &[("listener.0.0.0.0_15443.no_filter_chain_match", 4)])];
    let other = Sends::AnotherName("wrong".into());
    assert_eq!(kinds(&server(), &Sends::PlainText), [SignKind::PlaintextRefused]);
    assert_eq!(kinds(&gateway(), &Sends::PlainText), [SignKind::PlaintextRefused]);
    assert_eq!(kinds(&gateway(), &other), [SignKind::ServerNameWrong]);
    assert_eq!(kinds(&gateway(), &Sends::OwnName), [SignKind::ServerNameUnknown]);
    // That does not say what was wrong.
    assert_eq!(kinds(&gateway(), &Sends::Unknown), []);
    assert_eq!(kinds(&server(), &Sends::OwnName), []);
}

#[test]
fn a_handshake_that_broke_off_counts_where_nothing_else_is_told() {
    let client = || proxy(Role::Client, &[("cluster.outbound|9080||a;.ssl.connection_error", 4)]);
    assert_eq!(kinds(&[client()], &Sends::OwnName), [SignKind::HandshakeBroken]);
    let server = proxy(Role::Server, &[(INBOUND, 4)]);
    assert_eq!(kinds(&[client(), server], &Sends::PlainText), [SignKind::PlaintextRefused]);
}

#[test]
fn counters_that_did_not_grow_and_those_of_a_clients_callers_say_nothing() {
    let still = proxy(Role::Server, &[(INBOUND, 0)]);
    let callers = proxy(Role::Client, &[(INBOUND, 7), ("listener.0.0.0.0_15006.ssl.fail_verify_error", 7)]);
    assert_eq!(kinds(&[still, callers], &Sends::PlainText), []);
}

#[test]
fn what_a_client_sends_is_read_from_its_clusters() {
    let tls = |sni: &str| {
        json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": sni,
        } })
    };
    let own = "outbound_.9080_._.details.a.svc.cluster.local";
    let dump = |fields: Value| {
        let mut cluster = json!({ "name": "outbound|9080||details.a.svc.cluster.local" });
        cluster.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        json!({ "configs": [{ "cluster": cluster }] })
    };
    let read = |dump: &Value, port: &str| Sends::read(dump, "details.a.", port);
    assert_eq!(read(&dump(json!({})), "9080"), Sends::PlainText);
    assert_eq!(read(&dump(json!({ "transport_socket": tls(own) })), "9080"), Sends::OwnName);
    let matched =
        json!({ "transport_socket_matches": [{ "transport_socket": tls(own) }, { "name": "tlsMode-disabled" }] });
    assert_eq!(read(&dump(matched), "9080"), Sends::OwnName);
    assert_eq!(read(&dump(json!({ "transport_socket": tls("wrong") })), "9080"), Sends::AnotherName("wrong".into()));
    assert_eq!(read(&dump(json!({})), "80"), Sends::Unknown, "another port");
}

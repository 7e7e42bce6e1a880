//! Groups of answers: which server gave them, and which identities that server saw. Pure.

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hop::{Hop, Peer};
use crate::identity::ServedBy;

/// Answers of one kind, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// HTTP status of the answers. 200 for answers of protocols without one; for a gRPC status the HTTP status that
    /// stands for it.
    pub status: u16,
    /// gRPC status of the answers; absent for other protocols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    /// Envoy's response flags, where the answers tell them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_flags: Option<String>,
    /// Status of the hop that was asked for with `--hop`; absent without it, `null` when the hop got no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop_status: Option<Option<u16>>,
    /// Service that gave them.
    pub service: Option<String>,
    /// Version of that service.
    pub version: Option<String>,
    /// Cluster it runs in.
    pub cluster: Option<String>,
    /// Network of that cluster.
    pub network: Option<String>,
    /// Namespace of its pod.
    pub namespace: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
    /// The caller's identity that it saw; `None` without mutual TLS.
    pub peer: Option<String>,
    /// Its own identity, as its certificate says; `None` without mutual TLS.
    pub server: Option<String>,
    /// Hexadecimal SHA-256 of the caller's certificate that it saw; absent without mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// How many answers.
    pub count: u64,
}

/// What a group is told apart by, as cheaply as each answer gives it; headers are parsed once, at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) status: u16,
    pub(super) grpc_status: Option<u16>,
    pub(super) flags: Option<String>,
    pub(super) server: ServerKey,
}

/// Who answered and what it saw of its caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ServerKey {
    /// The identity headers of the answer.
    Headers { served_by: Option<HeaderValue>, peer: Option<HeaderValue> },
    /// What the body says, of the server or of one hop.
    Body { hop_status: Option<Option<u16>>, served_by: Box<ServedBy>, peer: Box<Peer> },
}

impl ServerKey {
    /// Reads the body of an answer that has no identity headers: `servedBy`, else the fields of Istio's own reviews.
    pub(super) fn from_body(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
        let served_by = match part::<ServedBy>(&body, "servedBy") {
            Some(served_by) => served_by,
            None => ServedBy { pod: text("podname"), cluster: text("clustername"), ..ServedBy::default() },
        };
        let peer = part(&body, "peer").unwrap_or_default();
        Self::Body { hop_status: None, served_by: Box::new(served_by), peer: Box::new(peer) }
    }

    /// Finds a service's hop in the body. An answer without it makes a group without a server.
    pub(super) fn from_hop(service: &str, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let hops: Vec<Hop> = part(&body, "upstreams").unwrap_or_default();
        let hop = hops.iter().flat_map(Hop::flatten).find(|hop| hop.service == service).cloned().unwrap_or_default();
        let served_by = hop.served_by.unwrap_or_default();
        let peer = hop.peer.unwrap_or_default();
        Self::Body { hop_status: Some(hop.status), served_by: Box::new(served_by), peer: Box::new(peer) }
    }
}

impl GroupKey {
    /// The group of this key with its count.
    pub(super) fn into_group(self, count: u64) -> Group {
        let text = |value: Option<HeaderValue>| value.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let (hop_status, served_by, peer) = match self.server {
            ServerKey::Headers { served_by, peer } => (
                None,
                text(served_by).map(|header| ServedBy::from_header(&header)).unwrap_or_default(),
                text(peer).map(|header| Peer::from_header(&header)).unwrap_or_default(),
            ),
            ServerKey::Body { hop_status, served_by, peer } => (hop_status, *served_by, *peer),
        };
        Group {
            status: self.status,
            grpc_status: self.grpc_status,
            response_flags: self.flags,
            hop_status,
            service: served_by.service,
            version: served_by.version,
            cluster: served_by.cluster,
            network: served_by.network,
            namespace: served_by.namespace,
            pod: served_by.pod,
            peer: peer.uri,
            server: peer.by,
            certificate: peer.hash,
            count,
        }
    }
}

fn part<T: serde::de::DeserializeOwned>(body: &Value, field: &str) -> Option<T> {
    serde_json::from_value(body.get(field)?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(status: u16, server: ServerKey) -> Group {
        GroupKey { status, grpc_status: None, flags: None, server }.into_group(7)
    }

    #[test]
    fn headers_become_a_group() {
        let group = group(
            200,
            ServerKey::Headers {
                served_by: Some(HeaderValue::from_static("version=v3;pod=p;cluster=cluster2;network=network2")),
                peer: Some(HeaderValue::from_static("uri=spiffe://a;by=spiffe://b;hash=ab12")),
            },
        );
        assert_eq!((group.version.as_deref(), group.cluster.as_deref()), (Some("v3"), Some("cluster2")));
        assert_eq!((group.peer.as_deref(), group.server.as_deref()), (Some("spiffe://a"), Some("spiffe://b")));
        assert_eq!((group.certificate.as_deref(), group.count, group.hop_status), (Some("ab12"), 7, None));
    }

    #[test]
    fn istios_own_reviews_are_recognised_by_their_body() {
        let body = br#"{"id":"0","podname":"reviews-v2-x","clustername":"west"}"#;
        let group = group(200, ServerKey::from_body(body));
        assert_eq!((group.pod.as_deref(), group.cluster.as_deref()), (Some("reviews-v2-x"), Some("west")));
        assert_eq!(group.peer, None);
    }

    #[test]
    fn a_hop_deep_in_the_answer_is_found() {
        let body = br#"{"upstreams":[{"service":"details","status":200},{"service":"reviews","status":200,
            "servedBy":{"version":"v3"},"upstreams":[{"service":"ratings","status":503,"servedBy":null}]}]}"#;
        let reviews = group(200, ServerKey::from_hop("reviews", body));
        assert_eq!((reviews.version.as_deref(), reviews.hop_status), (Some("v3"), Some(Some(200))));
        let ratings = group(200, ServerKey::from_hop("ratings", body));
        assert_eq!((ratings.status, ratings.hop_status), (200, Some(Some(503))));
        let none = group(503, ServerKey::from_hop("ratings", b"no healthy upstream"));
        assert_eq!((none.status, none.hop_status, none.version), (503, Some(None), None));
    }
}

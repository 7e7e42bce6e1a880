//! One hop of a request: who answered it, and what that server saw of its caller. Plain data.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::identity::ServedBy;
use crate::xfcc;

/// Response header that carries [`Peer`] in its header form.
pub const PEER_HEADER: &str = "x-peer-identity";

/// The identities that the server's proxy vouched for. Both are `None` when no mutual TLS was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// Identity of the caller, a `spiffe://` URI.
    pub uri: Option<String>,
    /// Identity of the server, as its own certificate says.
    pub by: Option<String>,
    /// Hexadecimal SHA-256 of the caller's certificate, which tells certificates with the same identity apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Why the proxy's header could not be read, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Peer {
    /// Reads `x-forwarded-client-cert` of a request. The last element is about the direct peer.
    pub fn from_request(headers: &HeaderMap) -> Self {
        let lines: Vec<_> = headers.get_all("x-forwarded-client-cert").iter().map(|value| value.to_str()).collect();
        let Ok(lines) = lines.into_iter().collect::<Result<Vec<_>, _>>() else {
            return Self { problem: Some("x-forwarded-client-cert is not text".to_owned()), ..Self::default() };
        };
        match xfcc::parse(&lines.join(",")) {
            Ok(elements) => elements.into_iter().next_back().map_or_else(Self::default, |element| Self {
                uri: element.uri.into_iter().next(),
                by: element.by.into_iter().next(),
                hash: element.hash,
                problem: None,
            }),
            Err(error) => Self { problem: Some(error.to_string()), ..Self::default() },
        }
    }

    /// The header form: `uri=spiffe://…;by=spiffe://…;hash=…`, or `none` when nothing is known.
    pub fn to_header(&self) -> String {
        let fields = [("uri", &self.uri), ("by", &self.by), ("hash", &self.hash)];
        let known: Vec<_> =
            fields.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?))).collect();
        if known.is_empty() { "none".to_owned() } else { known.join(";") }
    }

    /// Reads the header form.
    pub fn from_header(header: &str) -> Self {
        let mut peer = Self::default();
        for (key, value) in header.split(';').filter_map(|field| field.split_once('=')) {
            match key.trim() {
                "uri" => peer.uri = Some(value.trim().to_owned()),
                "by" => peer.by = Some(value.trim().to_owned()),
                "hash" => peer.hash = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        peer
    }
}

/// What a server saw of a request, apart from the caller's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Version of HTTP on the last stretch, such as `HTTP/1.1`.
    pub protocol: String,
    /// `x-request-id`.
    pub request_id: Option<String>,
    /// `traceparent`, else `x-b3-traceid`.
    pub trace: Option<String>,
    /// `end-user`.
    pub end_user: Option<String>,
}

/// A call to another service and what came of it, with that service's own calls nested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// Name of the service that was called.
    pub service: String,
    /// URL that was called.
    #[serde(default)]
    pub url: String,
    /// Status of the answer; `None` when none came.
    pub status: Option<u16>,
    /// Why the answer could not be used, if it could not.
    #[serde(default)]
    pub error: Option<String>,
    /// Who answered, if the answer said so.
    #[serde(default)]
    pub served_by: Option<ServedBy>,
    /// Which identities the server saw, if the answer said so.
    #[serde(default)]
    pub peer: Option<Peer>,
    /// What else the server saw, if the answer said so.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// Calls that the server made in its turn.
    #[serde(default)]
    pub upstreams: Vec<Hop>,
}

impl Hop {
    /// This hop and all below it, depth first.
    pub fn flatten(&self) -> Vec<&Hop> {
        let mut hops = vec![self];
        hops.extend(self.upstreams.iter().flat_map(Hop::flatten));
        hops
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-client-cert", HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn without_the_header_no_identity_was_seen() {
        assert_eq!(Peer::from_request(&headers(&[])), Peer::default());
        assert_eq!(Peer::default().to_header(), "none");
        assert_eq!(Peer::from_header("none"), Peer::default());
    }

    #[test]
    fn the_last_element_is_the_direct_peer() {
        let peer = Peer::from_request(&headers(&[
            "By=spiffe://gw;URI=spiffe://outside",
            "By=spiffe://b;Hash=ab12;URI=spiffe://a",
        ]));
        assert_eq!(peer.to_header(), "uri=spiffe://a;by=spiffe://b;hash=ab12");
        assert_eq!(Peer::from_header(&peer.to_header()), peer);
    }

    #[test]
    fn a_header_that_cannot_be_read_is_a_problem_and_not_plaintext() {
        let peer = Peer::from_request(&headers(&["By=\"spiffe"]));
        assert_eq!(peer.problem.as_deref(), Some("a quoted value does not end"));
    }
}

//! Calls from one service to another: which address, over kept connections, and what came of the call.
//!
//! A call is made once. There is no retry: a failing service is what the harness wants to see.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::hop::Hop;
use crate::respond::ENVELOPE;

/// An answer that is longer than this is an error.
const BODY_LIMIT: usize = 1 << 20;
/// Characters of an error page that a hop quotes.
const QUOTED: usize = 200;

/// Address of a service, as the environment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the service, also the first part of the path.
    pub service: &'static str,
    /// `host:port`.
    pub authority: String,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Endpoint {
    /// Reads `<SERVICE>_HOSTNAME`, `<SERVICE>_SERVICE_PORT` and `SERVICES_DOMAIN`, as Istio's bookinfo does.
    pub fn from_environment(service: &'static str, timeout: Duration, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let prefix = service.to_ascii_uppercase();
        let host = variable(&format!("{prefix}_HOSTNAME")).unwrap_or_else(|| service.to_owned());
        let domain = variable("SERVICES_DOMAIN").map_or_else(String::new, |domain| format!(".{domain}"));
        let port = variable(&format!("{prefix}_SERVICE_PORT")).unwrap_or_else(|| "9080".to_owned());
        Self { service, authority: format!("{host}{domain}:{port}"), timeout }
    }
}

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The call as the caller's own answer reports it.
    pub hop: Hop,
    /// The service's own fields, when it answered 200 with a JSON object.
    pub fields: Option<Map<String, Value>>,
}

impl Answer {
    /// Status for a caller that passes the failure on: the upstream's, or 500 where there was no usable answer.
    pub fn failure_status(&self) -> StatusCode {
        let status = self.hop.status.filter(|status| *status != 200);
        status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A client with kept connections.
#[derive(Clone, Debug)]
pub struct UpstreamClient {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Default for UpstreamClient {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(16)
            .build(connector);
        Self { client }
    }
}

impl UpstreamClient {
    /// `GET /<service>/<id>`. Never fails: what went wrong is in the hop.
    pub async fn get(&self, endpoint: &Endpoint, id: u64, headers: HeaderMap) -> Answer {
        let url = format!("http://{}/{}/{id}", endpoint.authority, endpoint.service);
        let hop = Hop { service: endpoint.service.to_owned(), url: url.clone(), ..Hop::default() };
        match tokio::time::timeout(endpoint.timeout, self.exchange(&url, headers)).await {
            Ok(Ok((status, body))) => read(hop, status, &body),
            Ok(Err(error)) => failed(hop, chain(error.as_ref())),
            Err(_) => failed(hop, format!("no answer within {:?}", endpoint.timeout)),
        }
    }

    async fn exchange(
        &self,
        url: &str,
        headers: HeaderMap,
    ) -> Result<(StatusCode, Bytes), Box<dyn Error + Send + Sync>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url.parse::<Uri>()?;
        *request.headers_mut() = headers;
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await?.to_bytes();
        Ok((status, body))
    }
}

fn failed(mut hop: Hop, error: String) -> Answer {
    tracing::warn!(service = hop.service, url = hop.url, error, "a call failed");
    hop.error = Some(error);
    Answer { hop, fields: None }
}

/// Sorts an answer into the service's own fields and what it says of itself.
fn read(mut hop: Hop, status: StatusCode, body: &[u8]) -> Answer {
    hop.status = Some(status.as_u16());
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else {
        let text: String = String::from_utf8_lossy(body).chars().take(QUOTED).collect();
        return failed(hop, format!("answered {status} without a JSON object: {text}"));
    };
    let [served_by, peer, seen, upstreams] = ENVELOPE.map(|field| fields.shift_remove(field).unwrap_or(Value::Null));
    hop.served_by = Option::deserialize(served_by).unwrap_or_default();
    hop.peer = Option::deserialize(peer).unwrap_or_default();
    hop.seen = Option::deserialize(seen).unwrap_or_default();
    hop.upstreams = Option::deserialize(upstreams).unwrap_or_default().unwrap_or_default();
    if status == StatusCode::OK {
        return Answer { hop, fields: Some(fields) };
    }
    let error = fields.get("error").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
    failed(hop, format!("answered {status}: {error}"))
}

/// An error with its causes: the outermost alone says only that a request failed.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(variables: &[(&str, &str)]) -> Endpoint {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Endpoint::from_environment("ratings", Duration::from_secs(3), lookup)
    }

    #[test]
    fn the_address_follows_the_environment() {
        assert_eq!(endpoint(&[]).authority, "ratings:9080");
        let all = [("RATINGS_HOSTNAME", "stars"), ("RATINGS_SERVICE_PORT", "80"), ("SERVICES_DOMAIN", "shop.svc")];
        assert_eq!(endpoint(&all).authority, "stars.shop.svc:80");
        assert_eq!(endpoint(&[("RATINGS_SERVICE_PORT", "")]).authority, "ratings:9080");
    }

    #[test]
    fn an_answer_is_sorted_into_fields_and_hop() {
        let body = br#"{"id":0,"servedBy":{"version":"v1"},"peer":{"uri":"spiffe://a","by":null},"upstreams":[{"service":"x","status":200}]}"#;
        let answer = read(Hop::default(), StatusCode::OK, body);
        assert_eq!(answer.fields.map(Value::Object), Some(serde_json::json!({"id": 0})));
        assert_eq!(answer.hop.served_by.and_then(|served_by| served_by.version).as_deref(), Some("v1"));
        assert_eq!(answer.hop.peer.and_then(|peer| peer.uri).as_deref(), Some("spiffe://a"));
        assert_eq!(answer.hop.upstreams.len(), 1);
    }

    #[test]
    fn an_error_page_is_quoted_and_its_status_kept() {
        let answer = read(Hop::default(), StatusCode::SERVICE_UNAVAILABLE, b"no healthy upstream");
        assert!(answer.fields.is_none());
        assert_eq!(answer.failure_status(), 503);
        assert!(answer.hop.error.is_some_and(|error| error.contains("no healthy upstream")));
    }

    #[test]
    fn a_body_that_is_no_object_fails_with_500_for_the_caller() {
        let answer = read(Hop::default(), StatusCode::OK, b"[1]");
        assert_eq!((answer.hop.status, answer.failure_status().as_u16()), (Some(200), 500));
    }
}

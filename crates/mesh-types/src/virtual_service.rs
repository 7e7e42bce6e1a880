//! VirtualService: how requests to hosts are matched, changed and routed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::IstioDuration;
use crate::kind::Kind;
use crate::object::Resource;

/// Specification of a VirtualService.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualService {
    /// Hosts whose traffic it routes: Service names, or hosts of a gateway.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Gateways it applies to; none means every sidecar (`mesh`).
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Routes for HTTP, the first that matches wins.
    #[serde(default)]
    pub http: Vec<HttpRoute>,
    /// Routes for TLS that a gateway passes through, the first that matches wins.
    #[serde(default)]
    pub tls: Vec<TlsRoute>,
    /// Namespaces that see it: `.`, `*` or names; none means all.
    #[serde(default)]
    pub export_to: Vec<String>,
}

/// A route for TLS that is passed through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TlsRoute {
    /// Conditions, one of which has to hold.
    #[serde(rename = "match")]
    pub matches: Vec<TlsMatch>,
    /// Destinations with their weights.
    #[serde(default)]
    pub route: Vec<RouteDestination>,
}

/// A condition on a TLS connection; every field that is given has to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsMatch {
    /// Server names, which the resource's hosts have to cover.
    pub sni_hosts: Vec<String>,
    /// Port of the gateway.
    pub port: Option<u32>,
    /// Gateways it applies to, instead of the resource's.
    #[serde(default)]
    pub gateways: Vec<String>,
}

/// A destination of connections and its share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteDestination {
    /// Where connections go.
    pub destination: Destination,
    /// Share relative to the sum of all weights of the route.
    #[serde(default)]
    pub weight: i32,
}

/// A rule: conditions and what happens to requests that meet one of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// Name for logs.
    pub name: Option<String>,
    /// Conditions, one of which has to hold; none matches everything.
    #[serde(default, rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Destinations with their weights.
    #[serde(default)]
    pub route: Vec<HttpRouteDestination>,
    /// Answers with a redirection.
    pub redirect: Option<HttpRedirect>,
    /// Answers with a fixed response.
    pub direct_response: Option<HttpDirectResponse>,
    /// Changes path or authority before forwarding.
    pub rewrite: Option<HttpRewrite>,
    /// Longest time for a request with all its retries; none means no limit.
    pub timeout: Option<IstioDuration>,
    /// When and how often a failed request is tried again.
    pub retries: Option<HttpRetry>,
    /// Faults injected on purpose.
    pub fault: Option<HttpFault>,
    /// A destination that gets a copy of each request.
    pub mirror: Option<Destination>,
    /// Share of requests copied to `mirror`; none means all.
    pub mirror_percentage: Option<Percent>,
    /// Destinations that get copies of requests.
    #[serde(default)]
    pub mirrors: Vec<HttpMirror>,
    /// Cross-origin policy.
    pub cors_policy: Option<CorsPolicy>,
    /// Header changes for every destination.
    pub headers: Option<Headers>,
}

/// A condition; every field that is given has to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// Name for logs, appended to the route's.
    pub name: Option<String>,
    /// Path of the request.
    pub uri: Option<StringMatch>,
    /// Compare `uri` without regard to case (not for `regex`).
    pub ignore_uri_case: Option<bool>,
    /// Scheme of the request.
    pub scheme: Option<StringMatch>,
    /// Method of the request.
    pub method: Option<StringMatch>,
    /// Authority of the request.
    pub authority: Option<StringMatch>,
    /// Headers by lower-case name; an empty condition asks for presence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, StringMatch>,
    /// Headers that must not match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Query parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query_params: BTreeMap<String, StringMatch>,
    /// Port of the addressed host.
    pub port: Option<u32>,
    /// Labels of the calling workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the calling workload.
    pub source_namespace: Option<String>,
    /// Gateways it applies to, instead of the resource's.
    #[serde(default)]
    pub gateways: Vec<String>,
}

/// Compares a text; at most one of the fields is given, none asks only for presence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_of(&["exact", "prefix", "regex"])))]
pub struct StringMatch {
    /// Equal to this.
    pub exact: Option<String>,
    /// Starts with this.
    pub prefix: Option<String>,
    /// Matches this RE2 expression as a whole.
    pub regex: Option<String>,
}

/// The structural form of "at most one of these fields".
pub(crate) fn one_of(fields: &[&str]) -> serde_json::Value {
    let required: Vec<_> = fields.iter().map(|field| serde_json::json!({ "required": [field] })).collect();
    let mut alternatives = vec![serde_json::json!({ "not": { "anyOf": required } })];
    alternatives.extend(required);
    serde_json::Value::Array(alternatives)
}

/// A destination and its share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpRouteDestination {
    /// Where requests go.
    pub destination: Destination,
    /// Share relative to the sum of all weights of the route.
    #[serde(default)]
    pub weight: i32,
    /// Header changes for this destination only.
    pub headers: Option<Headers>,
}

/// A service, or a subset of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Destination {
    /// Host of the service.
    pub host: String,
    /// Subset that a DestinationRule defines.
    pub subset: Option<String>,
    /// Port; needed where the service has several.
    pub port: Option<PortSelector>,
}

/// A port by its number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortSelector {
    /// Port number of the Service.
    #[serde(default)]
    pub number: u32,
}

/// A redirection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = one_of(&["port", "derivePort"])))]
pub struct HttpRedirect {
    /// New path.
    pub uri: Option<String>,
    /// New authority.
    pub authority: Option<String>,
    /// New port.
    pub port: Option<u32>,
    /// New port, from what is known of the request.
    #[schemars(extend("nullable" = true))]
    pub derive_port: Option<DerivePort>,
    /// New scheme.
    pub scheme: Option<String>,
    /// Status: 301 (default), 302, 303, 307 or 308.
    pub redirect_code: Option<u32>,
}

/// Where the port of a redirection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DerivePort {
    /// The port that is usual for the new scheme.
    FromProtocolDefault,
    /// The port that the request came to.
    FromRequestPort,
}

/// A fixed response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpDirectResponse {
    /// HTTP status.
    pub status: u32,
    /// Body; none is empty.
    pub body: Option<HttpBody>,
}

/// Body of a fixed response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = one_of(&["string", "bytes"])))]
pub struct HttpBody {
    /// The text.
    pub string: Option<String>,
    /// Bytes in base64.
    pub bytes: Option<String>,
}

/// Changes of path and authority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRewrite {
    /// Replaces the matched prefix, or the whole path of an exact or regex match.
    pub uri: Option<String>,
    /// Replaces the authority.
    pub authority: Option<String>,
    /// Replaces parts of the path by a regular expression.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// Replacement by a regular expression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RegexRewrite {
    /// RE2 expression.
    #[serde(default, rename = "match")]
    pub pattern: String,
    /// Replacement, with `\1` for groups.
    #[serde(default)]
    pub rewrite: String,
}

/// When and how often a failed request is tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRetry {
    /// Retries; 0 switches them off.
    #[serde(default)]
    pub attempts: i32,
    /// Longest time for one try.
    pub per_try_timeout: Option<IstioDuration>,
    /// Envoy's conditions, separated by commas; numbers are status codes.
    pub retry_on: Option<String>,
    /// Also try endpoints of other localities.
    #[schemars(extend("nullable" = true))]
    pub retry_remote_localities: Option<bool>,
    /// Avoid the endpoints tried before (default).
    #[schemars(extend("nullable" = true))]
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Least time between two tries.
    pub backoff: Option<IstioDuration>,
}

/// Faults injected on purpose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpFault {
    /// Delays before forwarding.
    pub delay: Option<FaultDelay>,
    /// Aborts instead of forwarding.
    pub abort: Option<FaultAbort>,
}

/// A delay before forwarding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = one_of(&["fixedDelay", "exponentialDelay"])))]
pub struct FaultDelay {
    /// The delay.
    pub fixed_delay: Option<IstioDuration>,
    /// Share of requests; none means all.
    pub percentage: Option<Percent>,
}

/// An abort instead of forwarding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = one_of(&["httpStatus", "grpcStatus", "http2Error"])))]
pub struct FaultAbort {
    /// Status of the answer.
    pub http_status: Option<i32>,
    /// Status of the answer to gRPC, by its name (`UNAVAILABLE`).
    pub grpc_status: Option<String>,
    /// Share of requests; none means all.
    pub percentage: Option<Percent>,
}

/// A share in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percent {
    /// 0.0 to 100.0.
    #[serde(default)]
    pub value: f64,
}

/// A destination of copies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpMirror {
    /// Where copies go.
    pub destination: Destination,
    /// Share of requests; none means all.
    pub percentage: Option<Percent>,
}

/// Cross-origin policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CorsPolicy {
    /// Origins that may call.
    #[serde(default)]
    pub allow_origins: Vec<StringMatch>,
    /// Methods that may be used.
    #[serde(default)]
    pub allow_methods: Vec<String>,
    /// Headers that may be sent.
    #[serde(default)]
    pub allow_headers: Vec<String>,
    /// Headers that a browser may read.
    #[serde(default)]
    pub expose_headers: Vec<String>,
    /// How long a preflight may be cached.
    pub max_age: Option<IstioDuration>,
    /// What happens to preflights of origins that may not call: forwarded by default.
    #[serde(default, skip_serializing_if = "crate::object::is_default")]
    pub unmatched_preflights: UnmatchedPreflights,
    /// Whether credentials may be sent.
    #[schemars(extend("nullable" = true))]
    pub allow_credentials: Option<bool>,
}

/// What happens to preflights of origins that may not call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum UnmatchedPreflights {
    /// They are forwarded.
    #[default]
    Unspecified,
    /// They are forwarded.
    Forward,
    /// They are answered without permission.
    Ignore,
}

/// gRPC's status codes by name, in the order of their numbers.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The number of a status of gRPC.
pub fn grpc_status(name: &str) -> Option<u32> {
    GRPC_STATUSES.iter().position(|known| *known == name).and_then(|index| u32::try_from(index).ok())
}

/// Header changes on the way there and back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Headers {
    /// Of the request.
    pub request: Option<HeaderOperations>,
    /// Of the response.
    pub response: Option<HeaderOperations>,
}

/// Header changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderOperations {
    /// Replaces or adds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Adds beside values that are there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
    /// Removes.
    #[serde(default)]
    pub remove: Vec<String>,
}

impl Resource for VirtualService {
    const KIND: Kind = Kind::VirtualService;
}

//! From an entry of an access log to Istio's standard labels. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{Address, Node as EnvoyNode, address};
use envoy_types::pb::envoy::data::accesslog::v3 as log;
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{self, Struct};
use mesh_types::SpiffeId;
use mesh_types::telemetry::{TAG_OWN, TAG_PEER, TAG_REPORTER, TAG_SERVICE};

const UNKNOWN: &str = "unknown";

/// Labels of a series, in the order of their names.
pub type Labels = BTreeMap<&'static str, String>;

/// A workload as labels name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Name of its controller.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Labels of its pods.
    pub labels: BTreeMap<String, String>,
}

/// The proxy that tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its workload.
    pub workload: Workload,
    /// Its cluster.
    pub cluster: String,
}

/// Which side of a request a proxy is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Source,
    /// The server's.
    Destination,
}

/// One request or connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its labels.
    pub labels: Labels,
    /// How long it took, where it is told.
    pub duration: Option<Duration>,
    /// Method, empty for a connection.
    pub method: String,
    /// Path without its query, which may hold secrets.
    pub path: String,
    /// Host that was called.
    pub authority: String,
    /// Id of the request.
    pub request_id: String,
    /// When it began, milliseconds since 1970.
    pub start: i64,
    /// Bytes that the client sent.
    pub received: u64,
    /// Bytes that the client got.
    pub sent: u64,
}

impl Node {
    /// The proxy that introduces itself.
    pub fn read(node: &EnvoyNode, workload: Option<Workload>) -> Self {
        let metadata = node.metadata.as_ref();
        let text = |key: &str| metadata.and_then(|metadata| field(metadata, key)).unwrap_or_default();
        let told = Workload {
            name: non_empty(text("WORKLOAD_NAME")).unwrap_or_else(|| text("NAME")),
            namespace: text("NAMESPACE"),
            labels: metadata.map(labels_of).unwrap_or_default(),
        };
        Self { workload: workload.unwrap_or(told), cluster: text("CLUSTER_ID") }
    }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn field(object: &Struct, key: &str) -> Option<String> {
    match object.fields.get(key)?.kind.as_ref()? {
        ValueKind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn labels_of(metadata: &Struct) -> BTreeMap<String, String> {
    let Some(ValueKind::StructValue(labels)) = metadata.fields.get("LABELS").and_then(|value| value.kind.as_ref())
    else {
        return BTreeMap::new();
    };
    labels.fields.keys().filter_map(|key| Some((key.clone(), field(labels, key)?))).collect()
}

/// A request that a proxy tells of. `find` knows the workload that has an address in this cluster.
pub fn observe_http(entry: &log::HttpAccessLogEntry, node: &Node, find: impl Fn(&str) -> Option<Workload>) -> Observed {
    let (request, response) = (entry.request.clone().unwrap_or_default(), entry.response.clone().unwrap_or_default());
    let mut observed = common(entry.common_properties.as_ref(), node, find);
    let grpc = request.request_headers.get("content-type").is_some_and(|kind| kind.starts_with("application/grpc"));
    let code = response.response_code.map_or(0, |code| code.value);
    observed.labels.insert("request_protocol", if grpc { "grpc" } else { "http" }.to_owned());
    observed.labels.insert("response_code", code.to_string());
    observed.authority.clone_from(&request.authority);
    observed.method = log_method(request.request_method);
    observed.path = request.path.split('?').next().unwrap_or_default().to_owned();
    observed.request_id = request.request_id;
    observed.received = request.request_body_bytes;
    observed.sent = response.response_body_bytes;
    let service = observed.labels.get("destination_service").cloned().unwrap_or_default();
    if service == UNKNOWN && !observed.authority.is_empty() {
        observed.labels.insert("destination_service", observed.authority.clone());
    }
    observed
}

/// A connection that a proxy tells of.
pub fn observe_tcp(entry: &log::TcpAccessLogEntry, node: &Node, find: impl Fn(&str) -> Option<Workload>) -> Observed {
    let mut observed = common(entry.common_properties.as_ref(), node, find);
    let bytes = entry.connection_properties.unwrap_or_default();
    observed.labels.insert("request_protocol", "tcp".to_owned());
    (observed.received, observed.sent) = (bytes.received_bytes, bytes.sent_bytes);
    observed
}

fn log_method(method: i32) -> String {
    use envoy_types::pb::envoy::config::core::v3::RequestMethod;
    RequestMethod::try_from(method).map(|method| method.as_str_name().to_owned()).unwrap_or_default()
}

fn common(properties: Option<&log::AccessLogCommon>, node: &Node, find: impl Fn(&str) -> Option<Workload>) -> Observed {
    let nothing = log::AccessLogCommon::default();
    let properties = properties.unwrap_or(&nothing);
    let side = side(properties);
    let tls = properties.tls_properties.as_ref();
    let (own, peer) = match side {
        Side::Destination => (
            spiffe(tls.and_then(|tls| tls.local_certificate_properties.as_ref())),
            spiffe(tls.and_then(|tls| tls.peer_certificate_properties.as_ref())),
        ),
        Side::Source => (tag(properties, TAG_OWN), tag(properties, TAG_PEER)),
    };
    let address = match side {
        Side::Destination => properties.downstream_direct_remote_address.as_ref(),
        Side::Source => properties.upstream_remote_address.as_ref(),
    };
    let found = address.and_then(ip).and_then(|address| find(&address));
    // An address behind which somebody else speaks: that of a gateway, whose identity is another.
    let found = found
        .filter(|found| peer.parse::<SpiffeId>().is_ok_and(|id| id.namespace == found.namespace) || peer.is_empty());
    let other =
        Other { workload: found.as_ref(), principal: &peer, cluster: found.as_ref().map(|_| node.cluster.as_str()) };
    let own = Other { workload: Some(&node.workload), principal: &own, cluster: Some(&node.cluster) };
    let (source, destination) = if side == Side::Source { (own, other) } else { (other, own) };
    let mut labels = Labels::new();
    source.write(&mut labels, &SOURCE);
    destination.write(&mut labels, &DESTINATION);
    let reporter = if side == Side::Source { "source" } else { "destination" };
    labels.insert("reporter", reporter.to_owned());
    labels.insert("response_flags", flags(properties.response_flags.as_ref()));
    labels.insert("connection_security_policy", security(side, &peer).to_owned());
    service(properties, side, &mut labels);
    Observed {
        labels,
        duration: properties.duration.as_ref().or(properties.time_to_last_downstream_tx_byte.as_ref()).map(duration),
        start: properties.start_time.as_ref().map_or(0, |time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000),
        ..Observed::default()
    }
}

fn side(properties: &log::AccessLogCommon) -> Side {
    let inbound = properties.upstream_cluster.starts_with("inbound|")
        || properties.upstream_cluster == "InboundPassthroughCluster";
    match tag(properties, TAG_REPORTER).as_str() {
        "destination" => Side::Destination,
        "source" => Side::Source,
        _ if inbound => Side::Destination,
        _ => Side::Source,
    }
}

/// Istio's words; the client's side says what its proxy verified.
fn security(side: Side, peer: &str) -> &'static str {
    match (side, peer.is_empty()) {
        (_, false) => "mutual_tls",
        (Side::Destination, true) => "none",
        (Side::Source, true) => UNKNOWN,
    }
}

fn tag(properties: &log::AccessLogCommon, name: &str) -> String {
    properties.custom_tags.get(name).cloned().unwrap_or_default()
}

/// The host of the service, its name and namespace.
fn service(properties: &log::AccessLogCommon, side: Side, labels: &mut Labels) {
    let told = tag(properties, TAG_SERVICE);
    // outbound|9080|v1|reviews.bookinfo.svc.cluster.local
    let mut parts = properties.upstream_cluster.split('|');
    let outbound = (parts.next() == Some("outbound")).then(|| parts.nth(2)).flatten().unwrap_or_default();
    let host = if !told.is_empty() {
        told.as_str()
    } else if side == Side::Source {
        outbound
    } else {
        ""
    };
    let host = if host.is_empty() { UNKNOWN } else { host };
    let mut names = host.split('.');
    let name = names.next().unwrap_or(UNKNOWN).to_owned();
    let (namespace, is_service) = (names.next().unwrap_or(UNKNOWN).to_owned(), names.next() == Some("svc"));
    labels.insert("destination_service", host.to_owned());
    labels.insert("destination_service_name", if is_service { name } else { host.to_owned() });
    labels.insert("destination_service_namespace", if is_service { namespace } else { UNKNOWN.to_owned() });
}

/// Names of the labels of one side.
struct Names {
    workload: &'static str,
    namespace: &'static str,
    principal: &'static str,
    app: &'static str,
    version: &'static str,
    canonical_service: &'static str,
    canonical_revision: &'static str,
    cluster: &'static str,
}

const SOURCE: Names = Names {
    workload: "source_workload",
    namespace: "source_workload_namespace",
    principal: "source_principal",
    app: "source_app",
    version: "source_version",
    canonical_service: "source_canonical_service",
    canonical_revision: "source_canonical_revision",
    cluster: "source_cluster",
};

const DESTINATION: Names = Names {
    workload: "destination_workload",
    namespace: "destination_workload_namespace",
    principal: "destination_principal",
    app: "destination_app",
    version: "destination_version",
    canonical_service: "destination_canonical_service",
    canonical_revision: "destination_canonical_revision",
    cluster: "destination_cluster",
};

/// What is known of one side.
struct Other<'a> {
    workload: Option<&'a Workload>,
    principal: &'a str,
    cluster: Option<&'a str>,
}

impl Other<'_> {
    fn write(&self, labels: &mut Labels, names: &Names) {
        let id = self.principal.parse::<SpiffeId>().ok();
        let known = |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or(UNKNOWN).to_owned();
        let label = |name: &str| self.workload.and_then(|workload| workload.labels.get(name)).map(String::as_str);
        let namespace = self.workload.map(|workload| workload.namespace.as_str());
        let namespace = namespace.or_else(|| id.as_ref().map(|id| id.namespace.as_str()));
        let name = self.workload.map(|workload| workload.name.as_str());
        let app = label("app").or_else(|| label("app.kubernetes.io/name"));
        let version = label("version").or_else(|| label("app.kubernetes.io/version"));
        labels.insert(names.workload, known(name));
        labels.insert(names.namespace, known(namespace));
        labels.insert(names.principal, known(Some(self.principal)));
        labels.insert(names.app, known(app));
        labels.insert(names.version, known(version));
        labels.insert(names.canonical_service, known(label("service.istio.io/canonical-name").or(app).or(name)));
        let revision = label("service.istio.io/canonical-revision").or(version);
        labels.insert(
            names.canonical_revision,
            revision.unwrap_or(if name.is_some() { "latest" } else { UNKNOWN }).to_owned(),
        );
        labels.insert(names.cluster, known(self.cluster));
    }
}

fn spiffe(certificate: Option<&log::tls_properties::CertificateProperties>) -> String {
    use log::tls_properties::certificate_properties::subject_alt_name::San;
    let names = certificate.into_iter().flat_map(|certificate| &certificate.subject_alt_name);
    let uri = names.filter_map(|name| match &name.san {
        Some(San::Uri(uri)) if uri.starts_with("spiffe://") => Some(uri.clone()),
        _ => None,
    });
    uri.into_iter().next().unwrap_or_default()
}

fn ip(address: &Address) -> Option<String> {
    match address.address.as_ref()? {
        address::Address::SocketAddress(socket) => Some(socket.address.clone()),
        _ => None,
    }
}

fn duration(duration: &protobuf::Duration) -> Duration {
    let seconds = Duration::from_secs(duration.seconds.try_into().unwrap_or_default());
    seconds + Duration::from_nanos(duration.nanos.try_into().unwrap_or_default())
}

/// Envoy's short forms, as in its text logs.
fn flags(flags: Option<&log::ResponseFlags>) -> String {
    let Some(flags) = flags else { return "-".to_owned() };
    let all = [
        (flags.failed_local_healthcheck, "LH"),
        (flags.no_healthy_upstream, "UH"),
        (flags.upstream_request_timeout, "UT"),
        (flags.local_reset, "LR"),
        (flags.upstream_remote_reset, "UR"),
        (flags.upstream_connection_failure, "UF"),
        (flags.upstream_connection_termination, "UC"),
        (flags.upstream_overflow, "UO"),
        (flags.no_route_found, "NR"),
        (flags.delay_injected, "DI"),
        (flags.fault_injected, "FI"),
        (flags.rate_limited, "RL"),
        (flags.unauthorized_details.is_some(), "UAEX"),
        (flags.rate_limit_service_error, "RLSE"),
        (flags.downstream_connection_termination, "DC"),
        (flags.upstream_retry_limit_exceeded, "URX"),
        (flags.stream_idle_timeout, "SI"),
        (flags.invalid_envoy_request_headers, "IH"),
        (flags.downstream_protocol_error, "DPE"),
        (flags.upstream_max_stream_duration_reached, "UMSDR"),
        (flags.no_filter_config_found, "NFCF"),
        (flags.duration_timeout, "DT"),
        (flags.upstream_protocol_error, "UPE"),
        (flags.no_cluster_found, "NC"),
        (flags.overload_manager, "OM"),
        (flags.dns_resolution_failure, "DF"),
        (flags.downstream_remote_reset, "DR"),
    ];
    let set: Vec<&str> = all.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    if set.is_empty() { "-".to_owned() } else { set.join(",") }
}

#[cfg(test)]
mod tests;

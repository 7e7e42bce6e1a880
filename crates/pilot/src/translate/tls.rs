//! TLS contexts: mutual TLS of the mesh with certificates from the agent, and plain TLS to the outside.

use envoy_types::pb::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf::Struct;
use mesh_types::names;

use super::pb;

const SOCKET: &str = "envoy.transport_sockets.tls";

/// The cipher suites of TLS 1.2 that Istio's servers accept.
const CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// What a client of the mesh expects of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expectation {
    /// Server name to send.
    pub(super) sni: String,
    /// Identities that the server may have; none accepts every identity of the mesh's roots.
    pub(super) identities: Vec<String>,
    /// Whether HTTP/2 is spoken inside.
    pub(super) http2: bool,
}

/// The server's side of mutual TLS, for clients of the mesh's trust domains.
pub(super) fn server(trust_domains: &[String], http: bool) -> core::TransportSocket {
    let alpn: &[&str] = if http { &["h2", "http/1.1"] } else { &["istio-peer-exchange", "h2", "http/1.1"] };
    let of_domain = |domain: &String| san(matcher::string_matcher::MatchPattern::Prefix(format!("spiffe://{domain}/")));
    let mut common = common(alpn, trust_domains.iter().map(of_domain).collect());
    if let Some(params) = &mut common.tls_params {
        params.cipher_suites = CIPHERS.map(str::to_owned).to_vec();
    }
    pb::transport_socket(
        SOCKET,
        tls::DownstreamTlsContext {
            common_tls_context: Some(common),
            require_client_certificate: Some(pb::boolean(true)),
            ..Default::default()
        },
    )
}

/// The client's side of mutual TLS.
pub(super) fn client(expectation: &Expectation) -> core::TransportSocket {
    let alpn: &[&str] =
        if expectation.http2 { &["istio-peer-exchange", "istio", "h2"] } else { &["istio-peer-exchange", "istio"] };
    let exact = |id: &String| san(matcher::string_matcher::MatchPattern::Exact(id.clone()));
    let common = common(alpn, expectation.identities.iter().map(exact).collect());
    pb::transport_socket(
        SOCKET,
        tls::UpstreamTlsContext {
            common_tls_context: Some(common),
            sni: expectation.sni.clone(),
            ..Default::default()
        },
    )
}

/// TLS to a server outside the mesh. Its certificate is not verified, as Istio does without `caCertificates`.
pub(super) fn simple(sni: &str, identities: &[String], http2: bool) -> core::TransportSocket {
    let exact = |name: &String| {
        let matcher = matcher::StringMatcher {
            match_pattern: Some(matcher::string_matcher::MatchPattern::Exact(name.clone())),
            ..Default::default()
        };
        [tls::subject_alt_name_matcher::SanType::Dns, tls::subject_alt_name_matcher::SanType::Uri].map(|san_type| {
            tls::SubjectAltNameMatcher {
                san_type: san_type as i32,
                matcher: Some(matcher.clone()),
                ..Default::default()
            }
        })
    };
    let validation = tls::CertificateValidationContext {
        match_typed_subject_alt_names: identities.iter().flat_map(exact).collect(),
        ..Default::default()
    };
    let common = tls::CommonTlsContext {
        alpn_protocols: if http2 { vec!["h2".to_owned()] } else { vec!["http/1.1".to_owned()] },
        validation_context_type: Some(tls::common_tls_context::ValidationContextType::ValidationContext(validation)),
        ..Default::default()
    };
    pb::transport_socket(
        SOCKET,
        tls::UpstreamTlsContext {
            common_tls_context: Some(common),
            sni: sni.to_owned(),
            auto_host_sni: sni.is_empty(),
            ..Default::default()
        },
    )
}

/// Mutual TLS to endpoints that take it, plain text to the others.
pub(super) fn matches(expectation: &Expectation) -> Vec<TransportSocketMatch> {
    let takes = pb::text_struct("tlsMode", names::TLS_MODE_ISTIO);
    let entry = |name: &str, criteria: Struct, socket| TransportSocketMatch {
        name: name.to_owned(),
        r#match: Some(criteria),
        transport_socket: Some(socket),
    };
    vec![
        entry("tlsMode-istio", takes, client(expectation)),
        entry("tlsMode-disabled", Struct::default(), pb::raw_buffer()),
    ]
}

/// Says of an endpoint that it takes mutual TLS.
pub(super) fn endpoint_metadata() -> core::Metadata {
    pb::metadata("envoy.transport_socket_match", "tlsMode", names::TLS_MODE_ISTIO)
}

fn san(pattern: matcher::string_matcher::MatchPattern) -> tls::SubjectAltNameMatcher {
    tls::SubjectAltNameMatcher {
        san_type: tls::subject_alt_name_matcher::SanType::Uri as i32,
        matcher: Some(matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }),
        ..Default::default()
    }
}

fn common(alpn: &[&str], identities: Vec<tls::SubjectAltNameMatcher>) -> tls::CommonTlsContext {
    use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(tls::CertificateValidationContext {
            match_typed_subject_alt_names: identities,
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(secret(names::SDS_ROOT)),
        ..Default::default()
    };
    tls::CommonTlsContext {
        tls_params: Some(tls::TlsParameters {
            tls_minimum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv12 as i32,
            tls_maximum_protocol_version: tls::tls_parameters::TlsProtocol::TlSv13 as i32,
            ..Default::default()
        }),
        alpn_protocols: alpn.iter().map(|name| (*name).to_owned()).collect(),
        tls_certificate_sds_secret_configs: vec![secret(names::SDS_CERTIFICATE)],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..Default::default()
    }
}

/// A secret from the agent beside the proxy, waited for without a limit.
fn secret(name: &str) -> tls::SdsSecretConfig {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    let envoy = EnvoyGrpc { cluster_name: names::CLUSTER_SDS.to_owned(), ..Default::default() };
    let service = core::GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(envoy)), ..Default::default() };
    let api = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::Grpc as i32,
        transport_api_version: core::ApiVersion::V3 as i32,
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    let source = core::ConfigSource {
        initial_fetch_timeout: Some(pb::seconds(0)),
        resource_api_version: core::ApiVersion::V3 as i32,
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::ApiConfigSource(api)),
        ..Default::default()
    };
    tls::SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
}

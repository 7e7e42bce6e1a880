//! TLS contexts: mutual TLS of the mesh with certificates from the agent, and plain TLS to the outside.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf::Struct;
use mesh_types::destination_rule::{ClientTls, ClientTlsMode};
use mesh_types::gateway::{ServerTls, ServerTlsMode, TlsVersion};
use mesh_types::names;

use super::pb;
use crate::model::credentials::Credential;

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

/// The server's side of mutual TLS, for clients of trust domains; where none is given, of every one that the mesh's roots vouch for.
pub(super) fn server(trust_domains: &[String], http: bool) -> core::TransportSocket {
    let alpn: &[&str] = if http { &["h2", "http/1.1"] } else { &["istio-peer-exchange", "h2", "http/1.1"] };
    let of_domain = |domain: &String| san(matcher::string_matcher::MatchPattern::Prefix(format!("spiffe://{domain}/")));
    let mut common = common(alpn, trust_domains.iter().map(of_domain).collect());
    if let Some(params) = &mut common.tls_params {
        params.cipher_suites = CIPHERS.map(str::to_owned).to_vec();
    }
    pb::transport_socket(SOCKET, asking(common, true))
}

/// A server that asks its clients for certificates. It resumes no session: who resumes one is not verified again, so that a
/// certificate that has expired meanwhile, or a root that is trusted no longer, would go on to be accepted.
fn asking(common: tls::CommonTlsContext, required: bool) -> tls::DownstreamTlsContext {
    use tls::downstream_tls_context::SessionTicketKeysType;
    tls::DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: Some(pb::boolean(required)),
        disable_stateful_session_resumption: true,
        session_ticket_keys_type: Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)),
        ..Default::default()
    }
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

/// TLS to a server outside the mesh, with a certificate of the client's own where the settings name one. The server's is
/// verified by the authorities that they name, and otherwise by those of the proxy's system, as Istio does by default
/// (`VERIFY_CERTIFICATE_AT_CLIENT`); for the given identities, and otherwise for the name that it is called by.
pub(super) fn outside(settings: &ClientTls, identities: &[String], host: &str, http2: bool) -> core::TransportSocket {
    use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let expected = if identities.is_empty() {
        vec![dns_name(given(&settings.sni).as_deref().unwrap_or(host))]
    } else {
        let exact = |name: &String| {
            let pattern = matcher::string_matcher::MatchPattern::Exact(name.clone());
            [tls::SubjectAltNameMatcher { san_type: DNS, ..san(pattern.clone()) }, san(pattern)]
        };
        identities.iter().flat_map(exact).collect()
    };
    let authorities = given(&settings.ca_certificates).unwrap_or_else(|| names::SYSTEM_AUTHORITIES.to_owned());
    let validation = ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(tls::CertificateValidationContext {
            match_typed_subject_alt_names: expected,
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(secret(&format!("file-root:{authorities}"))),
        ..Default::default()
    });
    let own = given(&settings.client_certificate)
        .zip(given(&settings.private_key))
        .filter(|_| settings.mode == ClientTlsMode::Mutual);
    let common = tls::CommonTlsContext {
        alpn_protocols: if http2 { vec!["h2".to_owned()] } else { vec!["http/1.1".to_owned()] },
        tls_certificate_sds_secret_configs: own
            .map(|(certificate, key)| secret(&format!("file-cert:{certificate}~{key}")))
            .into_iter()
            .collect(),
        validation_context_type: Some(validation),
        ..Default::default()
    };
    let sni = settings.sni.clone().unwrap_or_default();
    pb::transport_socket(
        SOCKET,
        tls::UpstreamTlsContext {
            common_tls_context: Some(common),
            auto_host_sni: sni.is_empty(),
            sni,
            ..Default::default()
        },
    )
}

const DNS: i32 = tls::subject_alt_name_matcher::SanType::Dns as i32;

/// The name of a server; `*.` stands for all names below. A wildcard in the certificate itself covers what it says.
fn dns_name(host: &str) -> tls::SubjectAltNameMatcher {
    use matcher::string_matcher::MatchPattern;
    let pattern = match host.strip_prefix('*') {
        Some(below) => MatchPattern::Suffix(below.to_owned()),
        None => MatchPattern::Exact(host.to_owned()),
    };
    tls::SubjectAltNameMatcher { san_type: DNS, ..san(pattern) }
}

/// The server's side of TLS with a certificate from a Secret, and the secrets that it asks for. An error says what is
/// missing: without a certificate Envoy would hold the whole listener back.
pub(super) fn credential(
    settings: &ServerTls,
    credentials: &BTreeMap<String, Credential>,
) -> Result<(core::TransportSocket, Vec<tls::Secret>), String> {
    let name =
        settings.credential_name.as_deref().filter(|name| !name.is_empty()).ok_or("credentialName is missing")?;
    let own = credentials.get(name).filter(|one| !one.certificate.is_empty() && !one.key.is_empty());
    let own = own.ok_or_else(|| format!("there is no Secret {name} with certificate and key"))?;
    let mut secrets = vec![tls::Secret {
        name: format!("kubernetes://{name}"),
        r#type: Some(tls::secret::Type::TlsCertificate(tls::TlsCertificate {
            certificate_chain: Some(inline(&own.certificate)),
            private_key: Some(inline(&own.key)),
            ..Default::default()
        })),
    }];
    let mut common = tls::CommonTlsContext {
        tls_params: Some(tls::TlsParameters {
            tls_minimum_protocol_version: version(
                settings.min_protocol_version,
                tls::tls_parameters::TlsProtocol::TlSv12,
            ),
            tls_maximum_protocol_version: version(
                settings.max_protocol_version,
                tls::tls_parameters::TlsProtocol::TlSv13,
            ),
            cipher_suites: settings.cipher_suites.clone(),
            ..Default::default()
        }),
        alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
        tls_certificate_sds_secret_configs: vec![served(&format!("kubernetes://{name}"))],
        ..Default::default()
    };
    let asks = matches!(settings.mode, Some(ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual));
    if asks {
        let apart = credentials.get(&format!("{name}-cacert")).map(|one| one.authority.as_str());
        let authority = apart.unwrap_or(&own.authority);
        if authority.is_empty() {
            return Err(format!("neither Secret {name} nor {name}-cacert has the authority of clients"));
        }
        secrets.push(authorities(&format!("kubernetes://{name}-cacert"), authority));
        common.validation_context_type =
            Some(verified(&format!("kubernetes://{name}-cacert"), &settings.subject_alt_names));
    }
    let context = match asks {
        true => asking(common, settings.mode == Some(ServerTlsMode::Mutual)),
        false => tls::DownstreamTlsContext { common_tls_context: Some(common), ..Default::default() },
    };
    Ok((pb::transport_socket(SOCKET, context), secrets))
}

fn authorities(name: &str, pem: &str) -> tls::Secret {
    let trusted = tls::CertificateValidationContext { trusted_ca: Some(inline(pem)), ..Default::default() };
    tls::Secret { name: name.to_owned(), r#type: Some(tls::secret::Type::ValidationContext(trusted)) }
}

fn verified(secret: &str, names: &[String]) -> tls::common_tls_context::ValidationContextType {
    let name = |name: &String| {
        let pattern = matcher::string_matcher::MatchPattern::Exact(name.clone());
        [tls::SubjectAltNameMatcher { san_type: DNS, ..san(pattern.clone()) }, san(pattern)]
    };
    let wanted = tls::CertificateValidationContext {
        match_typed_subject_alt_names: names.iter().flat_map(name).collect(),
        ..Default::default()
    };
    let combined = tls::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(wanted),
        validation_context_sds_secret_config: Some(served(secret)),
        ..Default::default()
    };
    tls::common_tls_context::ValidationContextType::CombinedValidationContext(combined)
}

fn version(version: TlsVersion, automatic: tls::tls_parameters::TlsProtocol) -> i32 {
    use tls::tls_parameters::TlsProtocol;
    let chosen = match version {
        TlsVersion::Auto => automatic,
        TlsVersion::V10 => TlsProtocol::TlSv10,
        TlsVersion::V11 => TlsProtocol::TlSv11,
        TlsVersion::V12 => TlsProtocol::TlSv12,
        TlsVersion::V13 => TlsProtocol::TlSv13,
    };
    chosen as i32
}

fn inline(pem: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(pem.to_owned())),
        ..Default::default()
    }
}

/// A secret that the control plane serves.
fn served(name: &str) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig { name: name.to_owned(), sds_config: Some(pb::ads()) }
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

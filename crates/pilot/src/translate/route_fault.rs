//! Parts of a route that answer in place of a service or disturb it: redirections, fixed responses, faults, and the
//! cross-origin policy.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3 as envoy;
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as fault;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use mesh_types::virtual_service::{
    CorsPolicy, DerivePort, HttpDirectResponse, HttpFault, HttpRedirect, HttpRoute, Percent, UnmatchedPreflights,
    grpc_status,
};

use super::{http, pb, route_match};

/// Settings of filters for one route.
pub(super) fn filters(route: &HttpRoute) -> Result<HashMap<String, Any>, String> {
    let mut entries = Vec::new();
    if let Some(policy) = &route.cors_policy {
        entries.push((http::CORS, pack_any(cross_origin(policy)?)));
    }
    if let Some(injected) = &route.fault {
        entries.push((http::FAULT, pack_any(injection(injected))));
    }
    Ok(pb::ordered(&entries))
}

fn share(percentage: Option<Percent>) -> f64 {
    percentage.map_or(100.0, |percentage| percentage.value)
}

fn injection(injected: &HttpFault) -> fault::HttpFault {
    let delay = injected.delay.as_ref().and_then(|delay| {
        Some(common::FaultDelay {
            percentage: Some(pb::percent(share(delay.percentage))),
            fault_delay_secifier: Some(common::fault_delay::FaultDelaySecifier::FixedDelay(pb::duration(
                delay.fixed_delay?.0,
            ))),
        })
    });
    let abort = injected.abort.as_ref().and_then(|abort| {
        let http = abort.http_status.and_then(|status| u32::try_from(status).ok());
        let grpc = || abort.grpc_status.as_deref().and_then(grpc_status);
        let error_type = http.map(ErrorType::HttpStatus).or_else(|| grpc().map(ErrorType::GrpcStatus))?;
        Some(fault::FaultAbort {
            percentage: Some(pb::percent(share(abort.percentage))),
            error_type: Some(error_type),
            ..Default::default()
        })
    });
    fault::HttpFault { delay, abort, ..Default::default() }
}

fn cross_origin(policy: &CorsPolicy) -> Result<cors::CorsPolicy, String> {
    let origins: Result<Vec<_>, String> = policy.allow_origins.iter().map(route_match::string).collect();
    Ok(cors::CorsPolicy {
        allow_origin_string_match: origins?.into_iter().flatten().collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy.max_age.map(|age| age.0.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: policy.allow_credentials.map(pb::boolean),
        forward_not_matching_preflights: match policy.unmatched_preflights {
            UnmatchedPreflights::Unspecified => None,
            UnmatchedPreflights::Forward => Some(pb::boolean(true)),
            UnmatchedPreflights::Ignore => Some(pb::boolean(false)),
        },
        filter_enabled: Some(pb::runtime_percent(100.0)),
        ..Default::default()
    })
}

/// A redirection of requests that came to `port`.
pub(super) fn redirect(redirect: &HttpRedirect, port: u16) -> envoy::RedirectAction {
    // What is usual for a scheme is what Envoy takes where it is told nothing.
    let derived = redirect.derive_port == Some(DerivePort::FromRequestPort);
    let derived = derived.then(|| u32::from(port));
    let code = match redirect.redirect_code {
        Some(302) => RedirectResponseCode::Found,
        Some(303) => RedirectResponseCode::SeeOther,
        Some(307) => RedirectResponseCode::TemporaryRedirect,
        Some(308) => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    envoy::RedirectAction {
        host_redirect: redirect.authority.clone().unwrap_or_default(),
        port_redirect: redirect.port.or(derived).unwrap_or_default(),
        response_code: code as i32,
        scheme_rewrite_specifier: redirect.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        path_rewrite_specifier: redirect.uri.clone().map(PathRewriteSpecifier::PathRedirect),
        ..Default::default()
    }
}

/// A fixed response; an error names what Envoy would refuse.
pub(super) fn direct_response(response: &HttpDirectResponse) -> Result<envoy::DirectResponseAction, String> {
    let body = response.body.clone().unwrap_or_default();
    let bytes = body.bytes.map(|text| BASE64.decode(text)).transpose();
    let bytes = bytes.map_err(|error| format!("directResponse.body.bytes is not base64: {error}"))?;
    let specifier = body.string.map(Specifier::InlineString).or(bytes.map(Specifier::InlineBytes));
    let body = specifier.map(|specifier| core::DataSource { specifier: Some(specifier), ..Default::default() });
    Ok(envoy::DirectResponseAction { status: response.status, body, ..Default::default() })
}

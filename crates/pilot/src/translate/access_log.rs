//! What proxies log on their standard output: requests that an authorization policy refused, with the rule, and TCP
//! connections to the application, with the certificates. Other requests are not logged.

use envoy_types::pb::envoy::config::accesslog::v3 as log;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3::{StdoutAccessLog, stdout_access_log};
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::envoy::r#type::matcher::v3::metadata_matcher::{PathSegment, path_segment};
use envoy_types::util::pack_any;

use super::{pb, rbac};

/// The beginning of Istio's own format, and who called.
const REFUSED: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% \
%RESPONSE_CODE_DETAILS% peer=\"%DOWNSTREAM_PEER_URI_SAN%\" authority=\"%REQ(:AUTHORITY)%\" request=\"%REQ(X-REQUEST-ID)%\"\n";

/// One connection as an object of JSON. A TCP server is not told who its client is, so that its proxy's word is the only
/// one; Istio gives the same with `accessLogFormat`.
const ACCEPTED: &str = "{\"connection\":\"inbound\",\"start\":\"%START_TIME%\",\"port\":\"%DOWNSTREAM_LOCAL_PORT%\",\
\"peer\":\"%DOWNSTREAM_PEER_URI_SAN%\",\"server\":\"%DOWNSTREAM_LOCAL_URI_SAN%\",\
\"certificate\":\"%DOWNSTREAM_PEER_FINGERPRINT_256%\",\"flags\":\"%RESPONSE_FLAGS%\"}\n";

/// A line for every TCP connection to the application, when it ends.
pub(super) fn accepted() -> log::AccessLog {
    stdout(ACCEPTED, None)
}

/// A line for every request that was refused.
pub(super) fn refused() -> log::AccessLog {
    let denied = matcher::ValueMatcher {
        match_pattern: Some(matcher::value_matcher::MatchPattern::StringMatch(matcher::StringMatcher {
            match_pattern: Some(matcher::string_matcher::MatchPattern::Exact("denied".to_owned())),
            ..Default::default()
        })),
    };
    let verdict = PathSegment { segment: Some(path_segment::Segment::Key("enforced_engine_result".to_owned())) };
    let filter = log::MetadataFilter {
        matcher: Some(matcher::MetadataMatcher {
            filter: rbac::HTTP_FILTER.to_owned(),
            path: vec![verdict],
            value: Some(denied),
            ..Default::default()
        }),
        match_if_key_not_found: Some(pb::boolean(false)),
    };
    let filter = log::AccessLogFilter {
        filter_specifier: Some(log::access_log_filter::FilterSpecifier::MetadataFilter(filter)),
    };
    stdout(REFUSED, Some(filter))
}

fn stdout(format: &str, filter: Option<log::AccessLogFilter>) -> log::AccessLog {
    let text = core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(format.to_owned())),
        ..Default::default()
    };
    let format = core::SubstitutionFormatString { format: Some(Format::TextFormatSource(text)), ..Default::default() };
    let output = StdoutAccessLog { access_log_format: Some(stdout_access_log::AccessLogFormat::LogFormat(format)) };
    log::AccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        filter,
        config_type: Some(log::access_log::ConfigType::TypedConfig(pack_any(output))),
    }
}

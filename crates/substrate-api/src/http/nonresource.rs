//! Paths that are no resources: health, version, token keys, discovery and OpenAPI.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{ApiRequest, Reply, discovery, openapi, text_response};
use crate::server::ApiServer;
use crate::status::ApiError;

/// The Kubernetes version whose API this server follows.
pub(crate) const VERSION: (&str, &str) = ("1", "33");

pub(super) fn serve(server: &Arc<ApiServer>, request: &ApiRequest) -> Result<Response<Body>, ApiError> {
    let path = request.info.path.trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if !matches!(request.info.verb.as_str(), "get" | "head") {
        return Err(ApiError::unknown_path());
    }
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Ok(health(segments[0], request.query.flag("verbose"))),
        ["version"] => Ok(Reply::value(&version()).into_response()),
        [".well-known", "openid-configuration"] => {
            Ok(Reply::value(&server.tokens.openid_configuration()).into_response())
        }
        ["openid", "v1", "jwks"] => Ok(Reply::value(&server.tokens.key_set()).into_response()),
        ["api"] => Ok(discovery::core_versions(server, request)),
        ["apis"] => Ok(discovery::groups(server, request)),
        ["api", "v1"] => discovery::resources(server, "", "v1"),
        ["apis", group] => discovery::group(server, group),
        ["apis", group, version] => discovery::resources(server, group, version),
        ["openapi", "v2"] => Ok(openapi::v2(server, &request.headers)),
        ["openapi", "v3"] => Ok(openapi::v3_index(server)),
        ["openapi", "v3", rest @ ..] => openapi::v3(server, &rest.join("/")),
        [] => Ok(Reply::value(&json!({"paths": root_paths(server)})).into_response()),
        _ => Ok(text_response(StatusCode::NOT_FOUND, Bytes::from_static(b"404 page not found\n"))),
    }
}

fn health(check: &str, verbose: bool) -> Response<Body> {
    let text = if verbose { format!("[+]ping ok\n{check} check passed\n") } else { "ok".to_owned() };
    text_response(StatusCode::OK, text)
}

/// The Kubernetes version that this server follows, as `v1.33.0`; the nodes of its cluster are of the same.
pub fn kubernetes_version() -> String {
    let (major, minor) = VERSION;
    format!("v{major}.{minor}.0")
}

fn version() -> serde_json::Value {
    let (major, minor) = VERSION;
    json!({
        "major": major, "minor": minor, "gitVersion": format!("{}+meshproof", kubernetes_version()), "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform()),
    })
}

fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn root_paths(server: &Arc<ApiServer>) -> Vec<String> {
    let registry = server.registry();
    let groups = registry.groups().into_iter().filter(|(group, _)| !group.is_empty()).flat_map(|(group, versions)| {
        let version_paths: Vec<String> = versions.iter().map(|version| format!("/apis/{group}/{version}")).collect();
        std::iter::once(format!("/apis/{group}")).chain(version_paths)
    });
    let fixed = ["/api", "/api/v1", "/apis"].map(str::to_owned);
    let rest = ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned);
    fixed.into_iter().chain(groups).chain(rest).collect()
}

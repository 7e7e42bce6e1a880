//! Reading request bodies: size limit, JSON, YAML or Kubernetes' protobuf.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::protobuf::{self, ProtobufError};
use crate::status::ApiError;

/// The largest body that is read, in bytes; etcd's limit rounded as Kubernetes does.
const LIMIT: usize = 3 * 1024 * 1024;

/// Reads a whole body.
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large_body(LIMIT)),
        Err(error) => Err(ApiError::bad_request(format!("cannot read the request body: {error}"))),
    }
}

/// The media type of the body without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let header = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim()
}

/// Reads an object from a JSON or YAML body. YAML is also accepted where the client names no type.
pub(crate) fn decode_object(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    let value = match media_type(headers) {
        "" | "application/json" => decode_json(body)?,
        "application/yaml" | "text/yaml" | "application/x-yaml" => decode_yaml(body)?,
        protobuf::MEDIA_TYPE => decode_protobuf(body)?,
        _ => return Err(ApiError::unsupported_media_type(ACCEPTED)),
    };
    if !value.is_object() {
        return Err(ApiError::bad_request("the object provided is unrecognized (must be of type object)"));
    }
    Ok(value)
}

const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Reads Kubernetes' protobuf; kinds without a definition count as an unknown format.
fn decode_protobuf(body: &[u8]) -> Result<Value, ApiError> {
    protobuf::decode(body).map_err(|error| match error {
        ProtobufError::Unknown { .. } => ApiError::unsupported_media_type("application/json, application/yaml"),
        other => ApiError::bad_request(other.to_string()),
    })
}

/// Reads JSON.
pub(crate) fn decode_json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the object provided is not valid JSON: {error}")))
}

/// Reads one YAML document, with octal file modes as Kubernetes reads them.
pub(crate) fn decode_yaml(body: &[u8]) -> Result<Value, ApiError> {
    let text =
        std::str::from_utf8(body).map_err(|error| ApiError::bad_request(format!("error parsing YAML: {error}")))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ApiError::bad_request(format!("error parsing YAML: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_modes_are_octal() {
        let value = decode_yaml(b"mode: 0644\nname: x\n").unwrap();
        assert_eq!(value["mode"], 420);
    }

    #[test]
    fn a_body_must_be_an_object() {
        assert!(decode_object(&HeaderMap::new(), b"[]").is_err());
        assert!(decode_object(&HeaderMap::new(), b"{\"a\": 1}").is_ok());
    }
}

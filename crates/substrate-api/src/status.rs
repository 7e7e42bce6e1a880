//! Kubernetes' `Status` errors: one value per failure, shaped exactly as clients expect (code, reason, message, details).
//! Does not decide when something is an error, and does not log.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::validation::FieldError;

/// An answer of kind `Status` with `status: Failure`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub(crate) code: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    details: Map<String, Value>,
}

/// The names by which an error refers to a kind of objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) group: &'a str,
    /// Plural resource name, as in `pods`.
    pub(crate) resource: &'a str,
    pub(crate) kind: &'a str,
}

impl Subject<'_> {
    /// `deployments.apps`, or `pods` for the core group.
    pub(crate) fn qualified(&self) -> String {
        qualify(self.resource, self.group)
    }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { code, reason, message: message.into(), details: Map::new() }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> ApiError {
        for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
            if !value.is_empty() {
                self.details.insert(key.to_owned(), Value::from(value));
            }
        }
        self
    }

    fn with_causes(mut self, causes: Vec<Value>) -> ApiError {
        if !causes.is_empty() {
            self.details.insert("causes".to_owned(), Value::from(causes));
        }
        self
    }

    fn with_retry_after(mut self, seconds: u32) -> ApiError {
        self.details.insert("retryAfterSeconds".to_owned(), Value::from(seconds));
        self
    }

    pub(crate) fn not_found(subject: Subject<'_>, name: &str) -> ApiError {
        let message = format!("{} \"{name}\" not found", subject.qualified());
        ApiError::new(StatusCode::NOT_FOUND, "NotFound", message).about(subject.group, subject.resource, name)
    }

    /// A 404 in the node's own words.
    pub(crate) fn gone_missing(message: String) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(crate) fn unknown_path() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn already_exists(subject: Subject<'_>, name: &str) -> ApiError {
        let message = format!("{} \"{name}\" already exists", subject.qualified());
        ApiError::new(StatusCode::CONFLICT, "AlreadyExists", message).about(subject.group, subject.resource, name)
    }

    pub(crate) fn conflict(subject: Subject<'_>, name: &str, why: &str) -> ApiError {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", subject.qualified());
        ApiError::new(StatusCode::CONFLICT, "Conflict", message).about(subject.group, subject.resource, name)
    }

    /// The 409 of a write that carried an outdated resourceVersion.
    pub(crate) fn modified(subject: Subject<'_>, name: &str) -> ApiError {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        ApiError::conflict(subject, name, why)
    }

    /// The 409 of a server-side apply; `causes` are (field, message) pairs.
    pub(crate) fn apply_conflict(message: String, causes: Vec<(String, String)>) -> ApiError {
        let causes = causes
            .into_iter()
            .map(|(field, message)| json!({"reason": "FieldManagerConflict", "message": message, "field": field}))
            .collect();
        ApiError::new(StatusCode::CONFLICT, "Conflict", message).with_causes(causes)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// A refusal of one object: `pods "a" is forbidden: why`.
    pub(crate) fn forbidden(subject: Subject<'_>, name: &str, why: &str) -> ApiError {
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let message = format!("{}{named} is forbidden: {why}", subject.qualified());
        ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message).about(subject.group, subject.resource, name)
    }

    pub(crate) fn forbidden_path(message: String) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(crate) fn namespace_terminating(subject: Subject<'_>, name: &str, namespace: &str) -> ApiError {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = json!({"reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {namespace} is being terminated")});
        ApiError::forbidden(subject, name, &why).with_causes(vec![cause])
    }

    /// The 422 of a failed validation.
    pub(crate) fn invalid(subject: Subject<'_>, name: &str, errors: &[FieldError]) -> ApiError {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{} \"{name}\" is invalid: {list}", qualify(subject.kind, subject.group));
        let causes = errors.iter().map(FieldError::cause).collect();
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
            .about(subject.group, subject.kind, name)
            .with_causes(causes)
    }

    /// A 422 that concerns no single object, as for a patch that does not fit.
    pub(crate) fn unprocessable(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    pub(crate) fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::GONE, "Expired", message)
    }

    /// The 504 for a resourceVersion that this server has not reached.
    pub(crate) fn too_large_resource_version(wanted: u64, current: u64) -> ApiError {
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).with_causes(vec![cause]).with_retry_after(1)
    }

    pub(crate) fn method_not_allowed(resource: &str, verb: &str) -> ApiError {
        let message = format!("{verb} is not supported on resources of kind \"{resource}\"");
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> ApiError {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub(crate) fn not_acceptable() -> ApiError {
        let message = "only the following media types are accepted: application/json";
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(crate) fn too_large_body(limit: usize) -> ApiError {
        let message = format!("Request entity too large: limit is {limit}");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub(crate) fn internal(message: impl std::fmt::Display) -> ApiError {
        let text = message.to_string();
        let mut error = ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("Internal error occurred: {text}"),
        );
        error.details.insert("causes".to_owned(), json!([{ "message": text }]));
        error
    }

    /// A refusal by an admission webhook, with the code and reason it chose (400 and none where it chose nothing).
    pub(crate) fn admission_denied(message: String, code: Option<u16>, reason: Option<&str>) -> ApiError {
        let code = code
            .and_then(|code| StatusCode::from_u16(code).ok())
            .filter(|code| code.as_u16() >= 400)
            .unwrap_or(StatusCode::BAD_REQUEST);
        let known = ["Forbidden", "Invalid", "BadRequest", "Conflict", "NotFound", "InternalError", "AlreadyExists"];
        let reason = reason.and_then(|reason| known.into_iter().find(|known| *known == reason)).unwrap_or("");
        ApiError::new(code, reason, message)
    }

    /// The Status object that is sent.
    pub(crate) fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = Value::from(self.reason);
        }
        if !self.details.is_empty() || self.code == StatusCode::NOT_FOUND {
            status["details"] = Value::Object(self.details.clone());
        }
        status["code"] = Value::from(self.code.as_u16());
        status
    }
}

/// The `Status` that answers a finished deletion.
pub(crate) fn deleted(subject: Subject<'_>, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": subject.resource, "uid": uid});
    if !subject.group.is_empty() {
        details["group"] = Value::from(subject.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

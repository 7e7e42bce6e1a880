//! AdmissionReview (`admission.k8s.io/v1`): making the request and reading the answer. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Operation;
use super::webhook::Subjects;
use crate::object;
use crate::registry::group_version;
use crate::status::ApiError;

/// What a webhook answered.
#[derive(Debug)]
pub(super) struct Verdict {
    allowed: bool,
    /// A JSON patch, already decoded.
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
    status: Value,
}

impl Default for Verdict {
    /// Consent without anything else.
    fn default() -> Verdict {
        Verdict { allowed: true, patch: None, warnings: Vec::new(), status: Value::Null }
    }
}

impl Verdict {
    /// The error with which a refusal ends the write.
    pub(super) fn refusal(&self, webhook: &str) -> Result<(), ApiError> {
        if self.allowed {
            return Ok(());
        }
        let denied = format!("admission webhook \"{webhook}\" denied the request");
        let text = |key: &str| self.status[key].as_str().filter(|text| !text.is_empty());
        let message = match text("message").or(text("reason")) {
            Some(why) => format!("{denied}: {why}"),
            None => format!("{denied} without explanation"),
        };
        let code = self.status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        Err(ApiError::admission_denied(message, code, text("reason")))
    }
}

/// The request's uid and its body, with objects in the given version.
pub(super) fn request(operation: &Operation<'_>, version: &str, subjects: Subjects<'_>) -> (String, String) {
    let uid = uuid::Uuid::new_v4().to_string();
    let resource = operation.resource;
    let kind = |version: &str| json!({"group": resource.group, "version": version, "kind": resource.kind});
    let names = |version: &str| json!({"group": resource.group, "version": version, "resource": resource.plural});
    let shown = |object: Option<&Value>| {
        object.map(|object| {
            let mut object = object.clone();
            object["apiVersion"] = Value::from(group_version(&resource.group, version));
            object
        })
    };
    let name = match operation.name {
        "" => subjects.object.map(object::name).unwrap_or_default(),
        name => name,
    };
    let mut request = json!({
        "uid": uid, "kind": kind(version), "resource": names(version),
        "requestKind": kind(&resource.version), "requestResource": names(&resource.version),
        "operation": operation.kind, "userInfo": operation.user.to_value(),
        "object": shown(subjects.object), "oldObject": shown(subjects.old),
        "dryRun": operation.dry_run, "options": options(operation),
    });
    let optional = [
        ("name", name),
        ("namespace", operation.namespace),
        ("subResource", operation.subresource),
        ("requestSubResource", operation.subresource),
    ];
    for (key, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
        request[key] = json!(value);
    }
    let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request});
    (uid, review.to_string())
}

fn options(operation: &Operation<'_>) -> Value {
    let kind = match operation.kind {
        "CREATE" => "CreateOptions",
        "UPDATE" => "UpdateOptions",
        _ => "DeleteOptions",
    };
    json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"})
}

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {0}")]
    Kind(String),
    #[error("expected response.uid={wanted:?}, got {given:?}")]
    Uid { wanted: String, given: String },
    #[error("response is malformed: {0}")]
    Malformed(String),
}

/// Reads an answer to the request with the given uid.
pub(super) fn read(uid: &str, body: &[u8]) -> Result<Verdict, ReviewError> {
    let review: Value = serde_json::from_slice(body).map_err(|error| ReviewError::Malformed(error.to_string()))?;
    if review["apiVersion"] != "admission.k8s.io/v1" || review["kind"] != "AdmissionReview" {
        return Err(ReviewError::Kind(format!("{}, Kind={}", review["apiVersion"], review["kind"])));
    }
    let response = &review["response"];
    let given = response["uid"].as_str().unwrap_or_default();
    if given != uid {
        return Err(ReviewError::Uid { wanted: uid.to_owned(), given: given.to_owned() });
    }
    let warnings = response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Verdict {
        allowed: response["allowed"] == true,
        patch: patch(response)?,
        warnings: warnings.map(str::to_owned).collect(),
        status: response["status"].clone(),
    })
}

fn patch(response: &Value) -> Result<Option<Value>, ReviewError> {
    let Some(text) = response["patch"].as_str().filter(|text| !text.is_empty()) else { return Ok(None) };
    if response["patchType"] != "JSONPatch" {
        return Err(ReviewError::Malformed("patchType must be JSONPatch where a patch is given".to_owned()));
    }
    let bytes = STANDARD.decode(text).map_err(|error| ReviewError::Malformed(format!("patch: {error}")))?;
    let patch = serde_json::from_slice(&bytes).map_err(|error| ReviewError::Malformed(format!("patch: {error}")))?;
    Ok(Some(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(response: Value) -> Vec<u8> {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_refusal_carries_the_webhooks_words() {
        let body = answer(
            json!({"uid": "u", "allowed": false, "status": {"message": "no", "code": 403, "reason": "Forbidden"}}),
        );
        let error = read("u", &body).unwrap().refusal("a.b.c").unwrap_err();
        assert_eq!(error.message, "admission webhook \"a.b.c\" denied the request: no");
        assert_eq!((error.code.as_u16(), error.reason), (403, "Forbidden"));
        let body = answer(json!({"uid": "u", "allowed": false}));
        let error = read("u", &body).unwrap().refusal("a.b.c").unwrap_err();
        assert!(error.message.ends_with("without explanation"));
        assert_eq!(error.code.as_u16(), 400);
    }

    #[test]
    fn a_patch_is_decoded_and_wrong_answers_are_named() {
        let patch = STANDARD.encode(r#"[{"op":"add","path":"/a","value":1}]"#);
        let body = answer(json!({"uid": "u", "allowed": true, "patchType": "JSONPatch", "patch": patch}));
        assert_eq!(read("u", &body).unwrap().patch.unwrap()[0]["op"], "add");
        assert!(matches!(read("v", &body), Err(ReviewError::Uid { .. })));
        assert!(matches!(read("u", b"{}"), Err(ReviewError::Kind(_))));
        let body = answer(json!({"uid": "u", "allowed": true, "patch": patch}));
        assert!(matches!(read("u", &body), Err(ReviewError::Malformed(_))));
    }
}

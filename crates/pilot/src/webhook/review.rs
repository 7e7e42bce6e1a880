//! Answers to `AdmissionReview`s as pure functions.

use serde_json::{Map, Value, json};

use crate::inject::{self, MeshSettings, NamespaceContext, Outcome, Workload};
use crate::validation;

/// Answers a review of a pod with the patch that injects it.
///
/// # Errors
/// A sentence, where the body is no review.
pub fn answer_inject(review: &Value, settings: &MeshSettings) -> Result<Value, String> {
    let request = request(review)?;
    let mut pod = request.get("object").cloned().unwrap_or_default();
    let namespace = request.get("namespace").and_then(Value::as_str).unwrap_or("default");
    if pod["kind"].as_str().is_some_and(|kind| kind != "Pod") {
        return Ok(allowed(review, request, Map::new()));
    }
    // A pod that a controller makes has its namespace only in the request at this point.
    let workload = Workload::of_pod(&pod);
    let context = NamespaceContext { name: namespace, labels: None };
    match inject::inject(&pod, context, &workload, settings) {
        Ok(Outcome::Skipped(reason)) => {
            tracing::info!(namespace, workload = workload.name, %reason, "not injected");
            Ok(allowed(review, request, Map::new()))
        }
        Ok(Outcome::Injected(injected)) => {
            let patch = patch(&mut pod, &injected.pod);
            let mut extra = Map::new();
            extra.insert("patchType".to_owned(), "JSONPatch".into());
            extra.insert("patch".to_owned(), encode(&patch).into());
            if !injected.warnings.is_empty() {
                extra.insert("warnings".to_owned(), injected.warnings.into());
            }
            tracing::info!(namespace, workload = workload.name, "injected");
            Ok(allowed(review, request, extra))
        }
        Err(error) => Ok(refused(review, request, &error.to_string(), Vec::new())),
    }
}

/// Answers a review of a mesh resource.
///
/// # Errors
/// A sentence, where the body is no review.
pub fn answer_validate(review: &Value) -> Result<Value, String> {
    let request = request(review)?;
    let object = request.get("object").filter(|object| object.is_object());
    let deletes = request.get("operation").and_then(Value::as_str) == Some("DELETE");
    let Some(object) = object.filter(|_| !deletes) else { return Ok(allowed(review, request, Map::new())) };
    let verdict = validation::judge(object);
    let warnings: Vec<Value> = verdict.warnings.iter().map(|warning| warning.as_str().into()).collect();
    if let Some(refusal) = verdict.refusal() {
        return Ok(refused(review, request, &refusal, warnings));
    }
    let mut extra = Map::new();
    if !warnings.is_empty() {
        extra.insert("warnings".to_owned(), warnings.into());
    }
    Ok(allowed(review, request, extra))
}

fn request(review: &Value) -> Result<&Value, String> {
    if review["kind"] != "AdmissionReview" {
        return Err("the body is not an AdmissionReview".to_owned());
    }
    let request = review.get("request").filter(|request| request["uid"].is_string());
    request.ok_or_else(|| "the AdmissionReview has no request with a uid".to_owned())
}

fn response(review: &Value, response: Value) -> Value {
    let version = review["apiVersion"].as_str().unwrap_or("admission.k8s.io/v1");
    json!({"apiVersion": version, "kind": "AdmissionReview", "response": response})
}

fn allowed(review: &Value, request: &Value, extra: Map<String, Value>) -> Value {
    let mut answer = json!({"uid": request["uid"], "allowed": true});
    answer.as_object_mut().expect("invariant: written as an object").extend(extra);
    response(review, answer)
}

fn refused(review: &Value, request: &Value, message: &str, warnings: Vec<Value>) -> Value {
    let mut answer = json!({"uid": request["uid"], "allowed": false,
        "status": {"status": "Failure", "message": message, "reason": "Invalid", "code": 422}});
    if !warnings.is_empty() {
        answer["warnings"] = warnings.into();
    }
    response(review, answer)
}

fn encode(patch: &Value) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(patch.to_string())
}

/// A JSON patch from `before` to `after` that replaces whole members of `metadata` and `spec`, which is where injection
/// works. `add` on a member that exists replaces it.
fn patch(before: &mut Value, after: &Value) -> Value {
    let mut operations = Vec::new();
    for section in ["metadata", "spec"] {
        if !before[section].is_object() {
            operations.push(json!({"op": "add", "path": format!("/{section}"), "value": {}}));
            before[section] = json!({});
        }
        for (field, value) in after[section].as_object().into_iter().flatten() {
            if before[section].get(field) != Some(value) {
                operations.push(json!({"op": "add", "path": format!("/{section}/{field}"), "value": value}));
            }
        }
    }
    operations.into()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn review(object: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u1", "namespace": "bookinfo", "operation": "CREATE", "object": object}})
    }

    fn decode(answer: &Value) -> Vec<Value> {
        let text = answer["response"]["patch"].as_str().unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn a_pod_gets_a_patch_that_turns_it_into_the_injected_one() {
        let pod = json!({"kind": "Pod", "metadata": {"name": "a", "labels": {"app": "a"}}, "spec": {"containers": [{"name": "a"}]}});
        let settings = MeshSettings::default();
        let answer = answer_inject(&review(pod.clone()), &settings).unwrap();
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u1"), &json!(true)));
        let mut patched = pod.clone();
        for operation in decode(&answer) {
            let (parent, field) = operation["path"].as_str().unwrap().rsplit_once('/').unwrap();
            patched.pointer_mut(parent).unwrap()[field] = operation["value"].clone();
        }
        let context = NamespaceContext { name: "bookinfo", labels: None };
        let expected = inject::inject(&pod, context, &Workload::of_pod(&pod), &settings).unwrap();
        let Outcome::Injected(expected) = expected else { panic!("not injected") };
        assert_eq!(patched, expected.pod);
        let again = answer_inject(&review(patched), &settings).unwrap();
        assert_eq!(again["response"], json!({"uid": "u1", "allowed": true}), "a second time changes nothing");
    }

    #[test]
    fn a_pod_that_cannot_be_injected_is_refused_with_the_reason() {
        let pod = json!({"kind": "Pod", "metadata": {"annotations": {"inject.istio.io/templates": "nope"}}, "spec": {"containers": []}});
        let answer = answer_inject(&review(pod), &MeshSettings::default()).unwrap();
        assert_eq!(answer["response"]["allowed"], false);
        assert!(answer["response"]["status"]["message"].as_str().unwrap().contains("inject.istio.io/templates"));
    }

    #[test]
    fn resources_are_refused_or_warned_about() {
        let bad = json!({"kind": "VirtualService", "spec": {"hosts": ["a"], "http": [{"timeout": "soon", "route": [{"destination": {"host": "a"}}]}]}});
        let answer = answer_validate(&review(bad.clone())).unwrap();
        assert_eq!(answer["response"]["allowed"], false);
        assert!(answer["response"]["status"]["message"].as_str().unwrap().contains("spec.http[0].timeout"));
        let mut deletion = review(bad);
        deletion["request"]["operation"] = "DELETE".into();
        assert_eq!(answer_validate(&deletion).unwrap()["response"]["allowed"], true);
        let odd = json!({"kind": "VirtualService", "spec": {"hosts": ["a"], "tcp": [], "http": [{"route": [{"destination": {"host": "a"}}]}]}});
        let answer = answer_validate(&review(odd)).unwrap();
        assert_eq!(answer["response"]["allowed"], true);
        assert!(answer["response"]["warnings"][0].as_str().unwrap().starts_with("spec.tcp"), "{answer}");
    }

    #[test]
    fn what_is_no_review_is_an_error() {
        for body in [json!({}), json!({"kind": "AdmissionReview"}), json!({"kind": "AdmissionReview", "request": {}})] {
            assert!(answer_validate(&body).is_err());
            assert!(answer_inject(&body, &MeshSettings::default()).is_err());
        }
    }
}

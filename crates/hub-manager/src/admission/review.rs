//! Answers to `AdmissionReview`s. Pure.

use hub::state::{Change, Input, State, Subject};
use hub::status::Status;
use mesh_types::hub::{Kind, Object};
use serde_json::{Value, json};

/// Destinations of a state that is tried out at most. Trying takes a copy, which costs more the more there is.
const MOST_DESTINATIONS: usize = 5_000;

/// What an object is asked about.
#[derive(Debug)]
pub struct Request<'a> {
    review: &'a Value,
    uid: &'a Value,
    object: Option<&'a Value>,
}

impl<'a> Request<'a> {
    /// Reads a review.
    ///
    /// # Errors
    /// A sentence, where the body is no review.
    pub fn read(review: &'a Value) -> Result<Self, String> {
        if review["kind"] != "AdmissionReview" {
            return Err("the body is not an AdmissionReview".to_owned());
        }
        let request = &review["request"];
        if !request["uid"].is_string() {
            return Err("the AdmissionReview has no request with a uid".to_owned());
        }
        // What is deleted need not be valid, and a status is the manager's own.
        let judged = request["operation"] != "DELETE" && request["subResource"].as_str().is_none_or(str::is_empty);
        let object = request.get("object").filter(|object| judged && object.is_object());
        Ok(Self { review, uid: &request["uid"], object })
    }

    /// Why the object is refused by a hub in a namespace, field by field; `None` where it stands alone as it should.
    pub fn refusal(&self, hub_namespace: &str) -> Option<String> {
        let errors = mesh_types::hub::validate_in(self.object?, hub_namespace).err()?;
        Some(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// The object as an input of the core, where it has an effect on others.
    pub fn input(&self) -> Option<Input> {
        let object = self.object?;
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let value = || object.clone();
        match Kind::of(text("apiVersion"), text("kind"))? {
            Kind::VirtualMesh => Object::from_value(value()).ok().map(Input::VirtualMesh),
            Kind::TrafficPolicy => Object::from_value(value()).ok().map(Input::TrafficPolicy),
            Kind::VirtualDestination => Object::from_value(value()).ok().map(Input::VirtualDestination),
            Kind::AccessPolicy => Object::from_value(value()).ok().map(Input::AccessPolicy),
            _ => None,
        }
    }

    /// The answer.
    pub fn answer(&self, refusal: Option<String>, warnings: &[String]) -> Value {
        let mut response = json!({ "uid": self.uid, "allowed": refusal.is_none() });
        if let Some(message) = refusal {
            response["status"] = json!({ "status": "Failure", "message": message, "reason": "Invalid", "code": 422 });
        }
        if !warnings.is_empty() {
            response["warnings"] = json!(warnings);
        }
        let version = self.review["apiVersion"].as_str().unwrap_or("admission.k8s.io/v1");
        json!({ "apiVersion": version, "kind": "AdmissionReview", "response": response })
    }
}

/// A copy of a state to try something out on; `None` where it is too large for that.
pub fn copy(state: &State) -> Option<State> {
    (state.world().inputs.destinations.len() <= MOST_DESTINATIONS).then(|| state.clone())
}

/// What the status of an input would say, if it were there: what only the others tell, such as a target that is not known or
/// another policy that came first.
pub fn warnings(mut state: State, input: Input) -> Vec<String> {
    let subject = match &input {
        Input::VirtualMesh(object) => Subject::VirtualMesh(object.reference()),
        Input::TrafficPolicy(object) => Subject::TrafficPolicy(object.reference()),
        Input::VirtualDestination(object) => Subject::VirtualDestination(object.reference()),
        Input::AccessPolicy(object) => Subject::AccessPolicy(object.reference()),
        _ => return Vec::new(),
    };
    state.apply([Change::put(input)]);
    match state.status(&subject) {
        Some(Status::Policy(status)) => [status.errors, status.warnings].concat(),
        Some(Status::VirtualDestination(status)) => [status.errors, status.warnings].concat(),
        Some(Status::VirtualMesh(status)) => {
            let of_members = status.meshes.into_values().flat_map(|one| [one.errors, one.warnings].concat());
            status.errors.into_iter().chain(of_members).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use hub::world::Settings;

    use super::*;

    fn review(operation: &str, object: Value) -> Value {
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": { "uid": "u1", "operation": operation, "object": object } })
    }

    fn shift(weight: u32) -> Value {
        json!({ "apiVersion": "networking.meshproof.dev/v1", "kind": "TrafficPolicy", "metadata": { "name": "p", "namespace": "ns" },
            "spec": { "destinationSelector": [{ "kubeServiceRefs": { "services": [
                { "name": "reviews", "namespace": "ns", "clusterName": "c1" }] } }],
                "policy": { "trafficShift": { "destinations": [{ "weight": weight,
                    "kubeService": { "name": "reviews", "namespace": "ns", "clusterName": "c2" } }] } } } })
    }

    #[test]
    fn a_refusal_names_the_field() {
        let bad = review("CREATE", shift(90));
        let request = Request::read(&bad).unwrap();
        let refusal = request.refusal("hub").unwrap();
        assert!(refusal.contains("spec.policy.trafficShift.destinations"), "{refusal}");
        let answer = request.answer(Some(refusal), &[]);
        assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u1"), &json!(false)));
        let deleted = review("DELETE", shift(90));
        assert_eq!(Request::read(&deleted).unwrap().refusal("hub"), None);
    }

    #[test]
    fn what_only_others_tell_is_a_warning() {
        let good = review("CREATE", shift(100));
        let request = Request::read(&good).unwrap();
        assert_eq!(request.refusal("hub"), None);
        let state = State::new(Settings::default());
        let warnings = warnings(copy(&state).unwrap(), request.input().unwrap());
        assert_eq!(warnings, ["no destination is selected"]);
        let answer = request.answer(None, &warnings);
        assert_eq!(answer["response"]["warnings"], json!(["no destination is selected"]));
        assert_eq!(state.world().inputs.traffic_policies.len(), 0, "the state itself is as it was");
    }

    #[test]
    fn what_is_no_review_is_an_error() {
        for body in [json!({}), json!({ "kind": "AdmissionReview" })] {
            assert!(Request::read(&body).is_err());
        }
    }
}

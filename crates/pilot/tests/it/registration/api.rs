//! An API server that keeps objects and checks resource versions, as far as registration needs one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::Method;
use kube::client::Body;
use serde_json::{Value, json};

#[derive(Default)]
struct Objects {
    /// By `plural/namespace/name`.
    objects: BTreeMap<String, Value>,
    version: u64,
    refused: usize,
}

#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<Objects>>);

impl ApiServer {
    pub(crate) fn with(objects: &[Value]) -> Self {
        let server = Self::default();
        for object in objects {
            let plural = if object["kind"] == "WorkloadGroup" { "workloadgroups" } else { "workloadentries" };
            let text = |pointer: &str| object.pointer(pointer).unwrap().as_str().unwrap();
            let path = format!("{plural}/{}/{}", text("/metadata/namespace"), text("/metadata/name"));
            server.0.lock().unwrap().put(&path, object.clone());
        }
        server
    }

    pub(crate) fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = server.0.lock().unwrap().answer(&parts.method, parts.uri.path(), &body);
                let response = http::Response::builder().status(code).header("content-type", "application/json");
                Ok::<_, Infallible>(response.body(Body::from(answer.to_string().into_bytes())).unwrap())
            }
        });
        kube::Client::new(service, "default")
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().objects.keys().cloned().collect()
    }

    /// Writes an object as it is, as somebody else would.
    pub(crate) fn touch(&self, path: &str) {
        let mut objects = self.0.lock().unwrap();
        let object = objects.objects[path].clone();
        objects.put(path, object);
    }

    /// How many requests came with an outdated resource version.
    pub(crate) fn refused(&self) -> usize {
        self.0.lock().unwrap().refused
    }
}

impl Objects {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn answer(&mut self, method: &Method, uri: &str, body: &Value) -> (u16, Value) {
        // /apis/networking.istio.io/v1/namespaces/NAMESPACE/PLURAL[/NAME[/status]]
        let parts: Vec<&str> = uri.trim_matches('/').split('/').collect();
        assert_eq!(parts[..4], ["apis", "networking.istio.io", "v1", "namespaces"], "{uri}");
        let (namespace, plural) = (parts[4], parts[5]);
        let name = parts.get(6).copied().or_else(|| body.pointer("/metadata/name")?.as_str()).unwrap_or_default();
        let path = format!("{plural}/{namespace}/{name}");
        let Some(current) = self.objects.get(&path).cloned() else {
            return if *method == Method::POST {
                (201, self.put(&path, body.clone()))
            } else {
                failure(404, "NotFound")
            };
        };
        let expected = match *method {
            Method::PATCH => body.pointer("/metadata/resourceVersion"),
            Method::DELETE => body.pointer("/preconditions/resourceVersion"),
            _ => None,
        };
        if expected.is_some_and(|version| *version != current["metadata"]["resourceVersion"]) {
            self.refused += 1;
            return failure(409, "Conflict");
        }
        match *method {
            Method::GET => (200, current),
            Method::POST => failure(409, "AlreadyExists"),
            Method::PATCH => {
                // The status is written by its own path, and only there.
                let of_status = parts.get(7) == Some(&"status");
                assert_eq!(of_status, body.get("status").is_some(), "{uri} {body}");
                let mut object = current;
                merge(&mut object, body);
                (200, self.put(&path, object))
            }
            Method::DELETE => {
                self.objects.remove(&path);
                (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            _ => panic!("{method} {uri}"),
        }
    }
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code});
    (code, status)
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}
